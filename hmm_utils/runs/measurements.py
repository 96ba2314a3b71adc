"""Measurements beside the training runs of the figures: what they are, how they are computed, stored and read.

A measurement is named as its tables in setups.toml, which hold its values for every profile. It has one or several
parts, each a labelled result. Those of a profile whose results are stored go to one file, results/NAME.nc, a group for
each part. With a part is stored, as the attribute `configuration`, a text of all that decides its numbers; a stored
part counts only as long as this is the text of the configuration that is asked for.

Results are dictionaries: "NAME/PART" → labelled result, or "NAME" for a measurement that is a single part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import xarray as xr

from hmm_utils.files import write_datasets
from hmm_utils.model import parameters
from hmm_utils.runs import cache, comparison, deep, dimension, experiments

__all__ = ["MEASUREMENTS", "Measurement", "configuration", "load", "measure", "missing", "note"]


Part = tuple[Mapping[str, object], Callable[[], xr.Dataset]]
"""What decides the numbers of a part, in types that JSON knows, and how to compute it."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Description of a measurement.

    Attributes
    ----------
    configure : callable
        Values of a profile, as keywords → configuration. Raises ValueError for impossible values.
    parts : callable
        (configuration, whether to show progress) → the parts by the names of their groups; one without a name is
        stored as the file itself.
    note : callable
        Result of a part → one line on how much was measured.
    version : int
        Of what decides the numbers beside the configuration; a stored part of another version is computed again.
    defaults : tuple of str
        Values that are those of all experiments unless the profile says otherwise.
    outdated : callable
        (configuration, stored result) → whether it has to be computed again although its configuration is the same.
    """

    configure: Callable[..., Any]
    parts: Callable[[Any, bool], Mapping[str, Part]]
    note: Callable[[xr.Dataset], str]
    version: int
    defaults: tuple[str, ...] = ("seed",)
    outdated: Callable[[Any, xr.Dataset], bool] = lambda configuration, result: False


MEASUREMENTS: Mapping[str, Measurement] = MappingProxyType(
    {
        dimension.NAME: Measurement(
            configure=dimension.Configuration,
            parts=lambda c, progress: {"": (asdict(c), partial(dimension.measure, c, progress=progress))},
            note=dimension.note,
            version=dimension.VERSION,
            defaults=("data", "seed"),
            outdated=dimension.outdated,
        ),
        comparison.NAME: Measurement(
            configure=comparison.configure,
            parts=lambda c, progress: comparison.parts(c),
            note=comparison.note,
            version=comparison.VERSION,
        ),
        deep.NAME: Measurement(
            configure=deep.Configuration,
            parts=lambda c, progress: {"": (asdict(c), partial(deep.measure, c, progress=progress))},
            note=deep.note,
            version=deep.VERSION,
        ),
    }
)


def configuration(name: str, profile: str, **overrides: object) -> Any:
    """Configure a measurement at a profile's scale, with some values replaced; None keeps the profile's.

    Raises
    ------
    ValueError
        For an unknown profile, a value that the measurement does not have, and impossible values.
    """
    parameters.known("profile", profile, experiments.PROFILES)
    about, table = MEASUREMENTS[parameters.known("measurement", name, MEASUREMENTS)], experiments.settings()
    values = {key: table["defaults"][key] for key in about.defaults} | table["profiles"][profile][name]
    for key in overrides:
        parameters.known("parameter", key, sorted(values))
    values |= {key: value for key, value in overrides.items() if value is not None}
    return about.configure(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})


@dataclass(frozen=True)
class _Planned:
    """A part with the group that it is stored in (None: the file itself) and the text of what decides its numbers."""

    group: str | None
    text: str
    compute: Callable[[], xr.Dataset]


def _planned(name: str, c: object, progress: bool = False) -> dict[str, _Planned]:
    about = MEASUREMENTS[name]
    return {
        f"{name}/{group}" if group else name: _Planned(
            group or None, json.dumps(dict(decides) | {"version": about.version}, sort_keys=True), compute
        )
        for group, (decides, compute) in about.parts(c, progress).items()
    }


def measure(
    name: str, profile: str, folder: Path, *, progress: bool = True, **overrides: object
) -> dict[str, xr.Dataset]:
    """Read or compute the results of all parts of a measurement.

    Those of a profile whose results are stored are read from ``folder``; what is missing there is computed and written
    part by part, so that a run that was stopped continues there. Results with other values than the profile's are
    neither read nor written.

    Parameters
    ----------
    name, profile : str
        Measurement, and scale.
    folder : Path
        Where the file NAME.nc is.
    progress : bool
        Whether to show bars.
    **overrides
        Values that replace the profile's.

    Returns
    -------
    results : dict
        Name of the part → labelled result.

    Raises
    ------
    ValueError
        As :func:`configuration`.
    OSError
        If the file cannot be written.
    """
    c = configuration(name, profile, **overrides)
    is_stored = experiments.is_archived(profile) and c == configuration(name, profile)
    found = load(name, profile, folder) if is_stored else {}
    parts = _planned(name, c, progress)
    for key, part in parts.items():
        if key in found:
            continue
        found[key] = part.compute().assign_attrs(configuration=part.text)
        if is_stored:
            found[key].attrs |= cache.provenance()
            write_datasets(folder / f"{name}.nc", {parts[of].group: result for of, result in found.items()})
    return {key: found[key] for key in parts}


def load(name: str, profile: str, folder: Path) -> dict[str, xr.Dataset]:
    """Read the results of those parts of a profile that are stored in ``folder``.

    A file that cannot be read is set aside with a warning and holds none.
    """
    c, found = configuration(name, profile), {}
    for key, part in _planned(name, c).items():
        result = cache.configured(folder / f"{name}.nc", part.text, part.group)
        if result is not None and not MEASUREMENTS[name].outdated(c, result):
            found[key] = result
    return found


def missing(name: str, profile: str, folder: Path) -> list[str]:
    """List the parts of a profile that are not stored in ``folder``."""
    stored = load(name, profile, folder)
    return [key for key in _planned(name, configuration(name, profile)) if key not in stored]


def note(name: str, result: xr.Dataset) -> str:
    """One line on how much was measured for a result, by its name."""
    return MEASUREMENTS[name.partition("/")[0]].note(result)
