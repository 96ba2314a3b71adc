"""The paper's set-ups as frozen records, and how they are run.

Which runs there are is data: ``setups.toml`` beside this file. :func:`plan` turns set-ups and the values of a
notebook's parameters cell into one :class:`Experiment` per run, :func:`run_experiment` turns an :class:`Experiment`
into a labelled result.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hmm_utils.data import digits
from hmm_utils.model import activations, datasets, networks, parameters
from hmm_utils.model.nonlinearities import NONLINEARITIES
from hmm_utils.sgd import hardware, training

__all__ = [
    "PROFILES",
    "Experiment",
    "combine",
    "dataset",
    "experiment",
    "figure_setups",
    "groups_of_draws",
    "is_archived",
    "longer",
    "plan",
    "rngs_of_draw",
    "run_draws",
    "run_experiment",
    "run_plan",
    "scale_note",
    "settings",
    "start",
    "train_inputs",
    "whole_plan",
    "without_meaning",
]

PROFILES: tuple[str, ...] = ("quick", "paper")
INPUTS = ("gaussian", "structured", "digits")
TASKS = ("teacher", "latent", "own", "pretrained")
TEACHER_V = ("drawn", "ones")

# Data sets of the paper's size fill half a GB each while they are prepared.
_MOST_DRAWS = 10

_CHOICES: Mapping[str, Collection[str | None]] = {
    "inputs": INPUTS,
    "task": TASKS,
    "activation": tuple(activations.ACTIVATIONS),
    "teacher_activation": (None, *activations.ACTIVATIONS),
    "layers": networks.LAYERS,
    "labels": datasets.LABELS,
    "f": NONLINEARITIES,
    "teacher_v": TEACHER_V,
    "data": digits.DATA,
}
_LEAST = {
    "n_pairs": 1, "n_draws": 1, "n_inputs": 2, "n_latent": 1, "teacher_width": 1, "n_test": 2, "n_times": 3, "seed": 0,
    "n_train": 1, "n_test_along": 2,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One run: inputs, task, and a fleet of students of several widths.

    The values are checked by the rules of :mod:`hmm_utils.model.parameters`. Numbers have one type each, so that
    ``time=10`` and ``time=10.0`` are the same experiment.

    Attributes
    ----------
    name, figure, profile : str
        The set-up, its place in the paper, and the scale.
    inputs, task : str
        From ``INPUTS`` and ``TASKS``.
    activation, layers : str
        The students' g, and which layers they train: "first" or "both".
    labels : str
        "sign" (±1) or "real".
    f, n_latent : str, int
        The non-linearity f and the dimension D of structured inputs, Eq. (6).
    lr, time, init_scale : float
        η, the end of training in steps/N, and the standard deviation of the initial weights.
    widths, n_pairs : tuple of int, int
        The widths K, and how many pairs of students each.
    n_draws : int
        Independent draws of inputs, features and teacher.
    n_inputs : int
        N of synthetic inputs.
    teacher_width : int
        Width M of the teacher.
    teacher_v : str
        Second layer of a random teacher: "drawn" from N(0, 1) where both layers are trained (where only the first is,
        all second-layer weights are 1), or always "ones".
    teacher_activation : str, optional
        The teacher's g; None: the students'.
    n_train : int, optional
        P; None: 76N (digits: the whole training set).
    n_test : int
        P* of synthetic inputs at the end of training, and the number of Gaussian inputs for ε₁,₂.
    n_test_along : int, optional
        How many of them are used before the end; None: all.
    n_times : int
        Log-spaced evaluations up to ``time``.
    data : str
        Which handwritten digits: "auto", "mnist" or "digits".
    seed : int
        Decides everything that is random.

    Raises
    ------
    ValueError
        For impossible values, in one sentence.
    """

    name: str
    figure: str
    profile: str
    inputs: str
    task: str
    activation: str
    layers: str
    labels: str
    f: str
    lr: float
    time: float
    init_scale: float
    widths: tuple[int, ...]
    n_pairs: int
    n_draws: int
    n_inputs: int
    n_latent: int
    teacher_width: int
    teacher_v: str
    n_test: int
    n_times: int
    data: str
    seed: int
    n_train: int | None = field(default=None)
    n_test_along: int | None = field(default=None)
    teacher_activation: str | None = field(default=None)

    def __post_init__(self) -> None:
        """Check the values, and give numbers their types."""
        for name, choices in _CHOICES.items():
            parameters.choice(name, getattr(self, name), choices)
        checked: dict[str, object] = {
            "lr": float(parameters.learning_rate(self.lr)),
            "time": float(parameters.time(self.time)),
            "init_scale": float(parameters.positive("init_scale", self.init_scale)),
            "widths": parameters.widths(self.widths),
        }
        for name, least in _LEAST.items():
            if (value := getattr(self, name)) is not None or name not in ("n_train", "n_test_along"):
                checked[name] = parameters.whole(name, value, least)
        if self.inputs == "structured":
            parameters.manifold(self.n_latent, self.n_inputs)
        for name, value in checked.items():
            object.__setattr__(self, name, value)


@cache
def settings() -> dict[str, Any]:
    """Read ``setups.toml``."""
    return tomllib.loads(files("hmm_utils.runs").joinpath("setups.toml").read_text(encoding="utf-8"))


def without_meaning(setup: Mapping[str, object]) -> set[str]:
    """Return the parameters without meaning for a set-up: N, D and f of digits, for example."""
    names: set[str] = set()
    if setup["inputs"] == "digits":
        names |= {"n_inputs", "n_draws"}
    else:
        names |= {"data"} if setup["task"] != "pretrained" else {"n_inputs"}
    if setup["inputs"] != "structured":
        names |= {"f", "n_latent"}
    if setup["task"] == "own":
        names |= {"labels", "teacher_width"}
    if setup["task"] in ("own", "pretrained"):
        names |= {"teacher_v", "teacher_activation"}
    return names


def _check_names(names: Iterable[str]) -> None:
    settable = {f.name for f in fields(Experiment)} - {"name", "figure", "profile", "inputs", "task"}
    for name in names:
        if name not in settable:
            raise ValueError(f"unknown parameter {name!r}: choose from {', '.join(sorted(settable))}.")


def experiment(name: str, profile: str = "quick", **overrides: object) -> Experiment:
    """Return the set-up of that name at a profile's scale, with some values replaced.

    Parameters
    ----------
    name, profile : str
        From ``setups.toml``, and from ``PROFILES``.
    **overrides
        Values of an :class:`Experiment`. None keeps the profile's value, and so does a parameter without meaning for
        the set-up (``n_latent`` for Gaussian inputs, say). For Fig. 4, ``teacher_width`` is also the width of the
        network that is trained on the digits.

    Raises
    ------
    ValueError
        For unknown names and impossible values.

    Examples
    --------
    >>> experiment("fig3_left", "paper", n_latent=20).n_latent
    20
    """
    table = settings()
    parameters.known("profile", profile, PROFILES)
    parameters.known("set-up", name, table["setups"])
    _check_names(overrides)
    setup, scales = table["setups"][name], table["profiles"][profile]
    given = {k: v for k, v in overrides.items() if v is not None}
    values = table["defaults"] | setup | scales["defaults"] | scales.get(name, {})

    def record(chosen: Mapping[str, object]) -> Experiment:
        return Experiment(**(values | chosen | {"name": name, "profile": profile}))

    record(given)  # an impossible value is refused even where it would mean nothing
    used = {k: v for k, v in given.items() if k not in without_meaning(setup)}
    if name == "fig4_pretraining":
        used = {k: v for k, v in used.items() if k not in ("widths", "n_pairs", "time", "n_times")}
        if "teacher_width" in given:
            used["widths"] = [given["teacher_width"]]
    return record(used)


def plan(
    setups: Iterable[str],
    profile: str = "quick",
    overrides: Mapping[str, object] | None = None,
    extra_parameters: Collection[str] = (),
) -> dict[str, Experiment]:
    """List every run of some set-ups; nothing is computed.

    Parameters
    ----------
    setups : sequence of str
        Names from ``setups.toml``.
    profile : str
        From ``PROFILES``.
    overrides : mapping, optional
        As in :func:`experiment`; they reach every set-up. ``layers`` may be a list.
    extra_parameters : collection of str
        Names in ``overrides`` that are no parameters of an experiment.

    Returns
    -------
    dict
        The runs by name; where a figure has a curve for each, as "NAME/first" and "NAME/both".

    Raises
    ------
    ValueError
        For unknown names and impossible values, in one sentence.
    """
    parameters.known("profile", profile, PROFILES)
    if isinstance(setups, str):
        raise ValueError(f"setups = {setups!r}: give a list of set-ups.")
    given = {name: value for name, value in (overrides or {}).items() if name not in extra_parameters}
    _check_names(given)
    chosen = given.get("layers")
    modes = chosen if isinstance(chosen, list | tuple) else [chosen]
    if not modes or any(mode not in (*networks.LAYERS, None) for mode in modes):
        raise ValueError(f"layers = {chosen!r}: choose one of {', '.join(networks.LAYERS)}, or both as a list.")
    runs = {}
    for name in setups:
        own = _layers(name)
        if isinstance(own, str):
            # a list names the curves of a figure that has one per mode; it says nothing about the other figures
            layers = modes[0] if len(modes) == 1 and chosen is not modes else None
            runs[name] = experiment(name, profile, **given | {"layers": layers})
            continue
        for mode in own if chosen is None else modes:
            runs[f"{name}/{mode}"] = experiment(name, profile, **given | {"layers": mode})
    return runs


def _layers(name: str) -> str | list[str]:
    """Say which layers a set-up trains; a list for a curve each."""
    table = settings()
    parameters.known("set-up", name, table["setups"])
    return table["setups"][name].get("layers", table["defaults"]["layers"])


def is_archived(profile: str) -> bool:
    """Say whether results of a profile are stored on the disk."""
    return settings()["profiles"][profile].get("archived", False)


def figure_setups() -> list[str]:
    """List the set-ups of the paper's figures."""
    return [name for name, setup in settings()["setups"].items() if setup["figure"].startswith("Fig.")]


def whole_plan(profile: str) -> dict[str, Experiment]:
    """List every run of the paper's figures."""
    return plan(figure_setups(), profile)


def longer(profile: str) -> dict[str, Experiment]:
    """List the runs with a later end, named "NAME/longer"; none for a profile whose results are not archived."""
    table = settings()["longer"]
    values = {name: table[name] for name in ("time", "widths", "n_draws")}
    names = table["setups"] if is_archived(profile) else []
    return {f"{name}/longer": replace(experiment(name, profile), **values) for name in names}


def _check_teacher(e: Experiment, teacher: networks.Network | None) -> None:
    if (e.task == "pretrained") != (teacher is not None):
        raise ValueError(
            f"task {e.task!r}: a trained network is passed as teacher with task 'pretrained', and only then."
        )


def dataset(
    experiment: Experiment, *, rng: np.random.Generator, teacher: networks.Network | None = None
) -> datasets.Dataset:
    """Draw the experiment's data; ``teacher`` is the trained network of task "pretrained"."""
    e = experiment
    _check_teacher(e, teacher)
    if e.inputs == "digits":
        inputs = digits.load(e.data, n_train=e.n_train, rng=rng)
        return datasets.labelled_task(inputs, "odd against even")
    N = e.n_inputs if teacher is None else teacher.n_inputs
    P = 76 * N if e.n_train is None else e.n_train
    if e.inputs == "gaussian":
        inputs = datasets.gaussian(N, P, e.n_test, rng=rng)
    else:
        inputs = datasets.structured(e.f, N, e.n_latent, P, e.n_test, rng=rng)

    def random_teacher(n: int) -> networks.Network:
        # the students' g, so that a student with K ≥ M can be the teacher; layers="first" has v = 1
        g, layers = e.teacher_activation or e.activation, "first" if e.teacher_v == "ones" else e.layers
        return networks.random_network(n, e.teacher_width, rng=rng, activation=g, layers=layers)

    if e.task == "latent":
        return datasets.latent_task(inputs, random_teacher(e.n_latent), labels=e.labels)
    if teacher is None:
        teacher = random_teacher(N)
    return datasets.teacher_task(inputs, teacher, labels=e.labels)


def rngs_of_draw(seed: int, draw: int) -> tuple[np.random.Generator, np.random.Generator]:
    """Return the random generators of the data of a draw and of its training."""
    data, train = np.random.default_rng((seed, draw)).spawn(2)
    return data, train


def start(result: xr.Dataset, *, width: int, init: int = 0, student: int = 1) -> networks.Network:
    """Return a student before training, from one draw of a result, ``result.isel(draw=…)``."""
    _, rng = rngs_of_draw(result.attrs["seed"], int(result["draw"]))
    return training.initial_student(result, width=width, init=init, student=student, rng=rng)


def train_inputs(result: xr.Dataset) -> np.ndarray:
    """Generate the inputs (P, N) of training again, from one draw of a result, ``result.isel(draw=…)``.

    Those that a trained network labelled cannot be generated without it.
    """
    names = {f.name for f in fields(Experiment)}
    e = Experiment(**{name: value for name, value in result.attrs.items() if name in names})
    return dataset(e, rng=rngs_of_draw(e.seed, int(result["draw"]))[0]).x_train


def run_experiment(
    experiment: Experiment, *, teacher: networks.Network | None = None, device: str = "cpu", progress: bool = True
) -> xr.Dataset:
    """Train the experiment's fleet on each of its draws.

    Parameters
    ----------
    teacher : Network, optional
        As in :func:`dataset`.
    device : str
        As in :func:`hmm_utils.sgd.training.train`.

    Returns
    -------
    Dataset
        That of :func:`hmm_utils.sgd.training.train` with a dimension ``draw``. The attributes hold the experiment, and
        the data on which it was trained.
    """
    if teacher is not None:
        _check_teacher(experiment, teacher)
    return run_plan({experiment.name: experiment}, teacher=teacher, device=device, progress=progress)[experiment.name]


def run_plan(
    plan: Mapping[str, Experiment],
    *,
    teacher: networks.Network | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> dict[str, xr.Dataset]:
    """Train the experiments of a plan as :func:`run_experiment`; ``teacher`` is for those of task "pretrained".

    On a GPU, experiments of one size are trained in one fleet, with all their draws. On the processor they are trained
    one after the other, as many draws at a time as there are pairs of cores.
    """
    where = hardware.resolve(device)
    results: dict[str, list[xr.Dataset]] = {name: [] for name in plan}
    for jobs in groups_of_draws(plan, where):
        trained = run_draws(plan, jobs, teacher=teacher, where=where, progress=progress)
        for (name, _), result in zip(jobs, trained, strict=True):
            results[name].append(result)
    return {name: combine(draws) for name, draws in results.items()}


def run_draws(
    plan: Mapping[str, Experiment],
    jobs: Sequence[tuple[str, int]],
    *,
    teacher: networks.Network | None = None,
    where: str = "cpu",
    checkpoint: Path | None = None,
    progress: bool = True,
) -> list[xr.Dataset]:
    """Train some draws of a plan in one fleet.

    Parameters
    ----------
    jobs : sequence of (name, draw)
        Of experiments of one size, as in a group of :func:`groups_of_draws`.
    where : str
        "cpu" or "cuda".
    checkpoint : Path, optional
        As in :func:`hmm_utils.sgd.training.train`.

    Returns
    -------
    list of Dataset
        One for each job, with its draw as a coordinate.
    """
    runs, notices = [], []
    drawn: dict[tuple[Experiment, int], datasets.Dataset] = {}
    for name, draw in jobs:
        e = plan[name]
        data_rng, train_rng = rngs_of_draw(e.seed, draw)
        inputs = (_without_labels(e), draw)
        if inputs in drawn and e.task != "own":
            data = datasets.relabelled(drawn[inputs], e.labels)
        else:
            data = dataset(e, rng=data_rng, teacher=teacher if e.task == "pretrained" else None)
            drawn[inputs] = data
        notices.append(data.inputs.notice or "")
        runs.append(training.FleetPair(dataset=data, rng=train_rng, lr=e.lr, layers=e.layers, init_scale=e.init_scale))
    trained = training.train_fleets(
        runs,
        widths=e.widths,
        n_pairs=e.n_pairs,
        time=e.time,
        activation=e.activation,
        evaluate_at=[*training.evaluation_times(e.time, e.n_times)],
        n_test_along=e.n_test_along,
        n_gauss=e.n_test,
        device=where,
        checkpoint=checkpoint,
        progress=_label(plan, jobs) if progress else None,
    )
    results = []
    for (name, draw), notice, result in zip(jobs, notices, trained, strict=True):
        result.attrs |= {"notice": notice} | {
            f.name: list(value) if isinstance(value := getattr(plan[name], f.name), tuple) else value
            for f in fields(Experiment)
            if getattr(plan[name], f.name) is not None and f.name not in ("n_inputs", "n_train", "n_test")
        }
        results.append(result.assign_coords(draw=draw))
    return results


def combine(draws: Sequence[xr.Dataset]) -> xr.Dataset:
    """Join the draws of one experiment into one result with a dimension ``draw``."""
    return xr.concat(draws, dim="draw", combine_attrs="override")


def _without_labels(e: Experiment) -> Experiment:
    """Return what experiments have in common that differ in their labels alone, whatever they are called."""
    return replace(e, name="", figure="", labels="real")


def groups_of_draws(
    plan: Mapping[str, Experiment], where: str, at_once: int | None = None
) -> Iterator[list[tuple[str, int]]]:
    """Group the draws of all experiments, as (name, draw), that are trained together.

    On the processor, experiments that differ in their labels alone share inputs, initial weights and samples, and so a
    fleet; ``at_once`` such draws are trained side by side, by default one for every pair of cores.
    """
    if where == "cpu":
        readings: dict[Experiment, list[str]] = {}
        for name, e in plan.items():
            readings.setdefault(_without_labels(e), []).append(name)
        most = at_once or max(hardware.threads() // 2, 1)
        for names in readings.values():
            draws = range(plan[names[0]].n_draws)
            for first in draws[::most]:
                yield [(name, draw) for draw in draws[first : first + most] for name in names]
    else:
        alike: dict[tuple, list[str]] = {}
        for name, e in plan.items():
            images = e.data if e.inputs == "digits" else None
            size = (images, e.task == "pretrained", e.n_inputs, e.n_test, e.n_test_along)
            alike.setdefault((*size, e.widths, e.n_pairs, e.time, e.n_times, e.activation), []).append(name)
        for names in alike.values():
            jobs = [(name, draw) for name in names for draw in range(plan[name].n_draws)]
            yield from (jobs[first : first + _MOST_DRAWS] for first in range(0, len(jobs), _MOST_DRAWS))


def _label(plan: Mapping[str, Experiment], jobs: Sequence[tuple[str, int]]) -> str:
    """Return the text beside the progress bar."""
    name, draw = jobs[0]
    e = plan[name]
    others = len({name for name, _ in jobs}) - 1
    label = f"{e.name} {e.layers}" + (f" and {others} more" if others else "")
    return label + (f" {draw + 1}/{e.n_draws}" if e.n_draws > 1 and len(jobs) == 1 else "")


def scale_note(result: xr.Dataset) -> str:
    """Say in one line how a result's scale compares with the paper's, for figures and verdicts.

    Labels or layers other than the set-up's do not make the scale smaller, but are mentioned as well.
    """
    at = result.attrs
    paper = experiment(at["name"], "paper", layers=at["layers"])
    pairs = [
        ("N", at["n_inputs"], paper.n_inputs if at["inputs"] != "digits" else 784),
        ("time", at["time"], paper.time),
        ("initialisations", result.sizes["init"] * result.sizes["draw"], paper.n_pairs * paper.n_draws),
    ]
    if at["inputs"] == "structured":
        pairs.insert(1, ("D", at["n_latent"], paper.n_latent))
    smaller = [f"{name} = {value:g} ({papers:g})" for name, value, papers in pairs if value != papers]
    if at["n_train"] != 76 * at["n_inputs"]:
        smaller.append(f"P = {at['n_train']} (76N)")
    if at["labels"] != paper.labels:
        smaller.append(f"{at['labels']} labels ({paper.labels})")
    modes = _layers(at["name"])
    if at["layers"] not in ([modes] if isinstance(modes, str) else modes):
        smaller.append(f"layers trained: {at['layers']} ({modes})")
    images = "8×8 digits instead of MNIST; " if digits.kind_of(at) == "digits8x8" else ""
    return images + (f"{', '.join(smaller)}; the paper's in brackets" if smaller else "the paper's scale")
