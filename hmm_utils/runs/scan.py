"""Points of the scan of what the captions of Figs. 3 and 9 leave open: P/N, labels, trained layers, N and D.

A point is one setting, an :class:`~hmm_utils.runs.experiments.Experiment` of structured inputs with f = sgn and latent
labels, M = 1. Which points there are is data: ``[scan]`` in setups.toml.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import xarray as xr

from hmm_utils.model import parameters
from hmm_utils.runs import archive, experiments
from hmm_utils.runs.experiments import Experiment

__all__ = ["load", "points"]



def points(profile: str = "quick", *, seed: int | None = None) -> dict[str, Experiment]:
    """List every point of the scan by name, that of the caption of Fig. 3 first; nothing is computed.

    Parameters
    ----------
    seed : int, optional
        None keeps the profile's.

    Raises
    ------
    ValueError
        For an unknown profile.
    """
    parameters.known("profile", profile, experiments.PROFILES)
    table = dict(experiments.settings()["scan"][profile])
    found: dict[str, Experiment] = {}
    for block in table.pop("blocks"):
        axes = (block[axis] for axis in ("alpha", "labels", "layers", "n_inputs", "n_latent"))
        for alpha, labels, layers, N, D in product(*axes):
            e = experiments.experiment(
                block["setup"], profile, **table, seed=seed,
                n_train=alpha * N, labels=labels, layers=layers, n_inputs=N, n_latent=D,
            )  # fmt: skip
            name = f"scan/P={'' if alpha == 1 else alpha}N, {labels}, {layers}, D={D}, N={N}"
            found.setdefault(name, replace(e, figure=e.figure + archive.SCANNED))
    return found


def load(folder: Path) -> dict[str, xr.Dataset]:
    """Read the stored points of the paper's profile by name, from the archive in ``folder``."""
    stored = {name: archive.load(folder, name, e) for name, e in points("paper").items()}
    return {name: result for name, result in stored.items() if result is not None}
