"""The paper's set-ups as frozen records, and how one is run.

What is run is data: `setups.toml` beside this file. A notebook (and the command line, before it starts one) calls
`plan` with the values of its parameters cell and gets one `Experiment` per run; `run_experiment` turns an `Experiment`
into a labelled result.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.resources import files
from math import isfinite
from pathlib import Path
from types import MappingProxyType

import numpy as np
import xarray as xr

from hmm_utils.data import digits
from hmm_utils.model import activations, datasets, networks
from hmm_utils.model.nonlinearities import NONLINEARITIES
from hmm_utils.sgd import hardware, training

__all__ = [
    "NOTEBOOKS",
    "PROFILES",
    "Experiment",
    "Notebook",
    "combine",
    "dataset",
    "experiment",
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
    "whole_plan",
    "without_meaning",
]

INPUTS = ("gaussian", "structured", "digits")
TASKS = ("teacher", "latent", "own", "pretrained")
TEACHER_V = ("drawn", "ones")

# Data sets of the paper's size fill half a GB each while they are prepared.
_DRAWS_TOGETHER = 10


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One run: inputs × task × fleet of students.

    figure         where in the paper
    inputs, task   from INPUTS and TASKS
    f, n_latent    folding f and D of structured inputs
    labels         "sign" (±1) or "real"
    teacher_width  M
    teacher_v      second layer of a random teacher: "drawn" from N(0, 1) where both layers are trained (where only the
                   first is, all second-layer weights are 1), or always "ones"
    teacher_activation  its g; None: the students' g
    n_inputs       N of synthetic inputs
    n_train     P; None: 76N (digits: all that are for training)
    n_test         P* of synthetic inputs at the end of training, and the number of Gaussian inputs for ε₁,₂
    n_test_along   how many of them are used before the end; None: all
    time           end of training in steps/N; n_times log-spaced evaluations up to it
    n_draws        independent draws of inputs, features and teacher

    The rest is passed to `training.train`. Raises ValueError for impossible values.
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
        choices = {
            "inputs": INPUTS,
            "task": TASKS,
            "activation": tuple(activations.ACTIVATIONS),
            "teacher_activation": (None, *activations.ACTIVATIONS),
            "layers": networks.LAYERS,
            "labels": datasets.LABELS,
            "f": tuple(NONLINEARITIES),
            "teacher_v": TEACHER_V,
            "data": digits.DATA,
        }
        for name, accepted in choices.items():
            if getattr(self, name) not in accepted:
                raise ValueError(
                    f"{name} = {getattr(self, name)!r}: choose one of {', '.join(filter(None, accepted))}."
                )
        for name in ("lr", "time", "init_scale"):
            value = getattr(self, name)
            if not _is_number(value) or not isfinite(value) or value <= 0:
                raise ValueError(f"{name} = {value!r}: give a positive number.")
        if not self.widths:
            raise ValueError("widths = []: give at least one width.")
        smallest = {
            "n_pairs": 1, "n_draws": 1, "n_inputs": 2, "n_latent": 1, "teacher_width": 1, "n_test": 2, "n_times": 3,
            "seed": 0,
        }  # fmt: skip
        for name, least in smallest.items():
            _whole(name, getattr(self, name), least)
        for K in self.widths:
            _whole("widths", K, 1)
        if len(set(self.widths)) != len(self.widths):
            raise ValueError(f"widths = {list(self.widths)}: give every width once.")
        if self.n_train is not None:
            _whole("n_train", self.n_train, 1)
        if self.n_test_along is not None:
            _whole("n_test_along", self.n_test_along, 2)
        if self.inputs == "structured" and self.n_latent > self.n_inputs:
            raise ValueError(
                f"n_latent = {self.n_latent} exceeds n_inputs = {self.n_inputs}: a hidden manifold has D ≤ N."
            )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} = {value!r}: give a whole number of at least {least}.")


@dataclass(frozen=True)
class Notebook:
    """Where a notebook stands in the paper and which set-ups it runs; two notebooks may read off the same run.

    measurements  what else it does that a claim is judged on, without training anything
    parameters    what can be set in it besides parameters of an `Experiment`
    """

    title: str
    section: str
    figures: tuple[str, ...]
    setups: tuple[str, ...]
    measurements: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()


NOTEBOOKS: Mapping[str, Notebook] = MappingProxyType(
    {
        "00_setup": Notebook(
            "Setup: networks, SGD, errors, data", "2", (), ("vanilla",), measurements=("intrinsic_dimension",)
        ),
        "01_independent_students": Notebook(
            "Independent students", "3.1", ("Fig. 1",), ("fig1_left", "fig1_right", "fig1_right_signs")
        ),
        "02_plateaus": Notebook("Plateaus", "3.2", ("Fig. 2 left",), ("fig2_left_iid", "fig2_left_digits")),
        "03_hidden_manifold_model": Notebook(
            "The hidden manifold model",
            "4",
            ("Fig. 2 right", "Fig. 3", "Fig. 4"),
            (
                "fig2_right_teacher", "fig2_right_latent", "fig3_left", "fig3_right",
                "fig4_pretraining", "fig4", "fig4_inset",
            ),
        ),
        "A_data_generating_function": Notebook(
            "The data-generating function",
            "A",
            ("Fig. 5", "Fig. 6"),
            ("fig5_teacher", "fig5_latent", "fig6_latent", "fig6_teacher"),
        ),
        "B_plateau_and_asymptotic_error": Notebook(
            "Plateau and asymptotic error", "B", ("Fig. 7",), ("fig7_latent", "fig7_teacher")
        ),
        "C_early_stopping": Notebook("Early stopping", "C", ("Fig. 8",), ("fig1_left", "fig3_left", "fig3_right")),
        "D_extensive_features": Notebook(
            "As many features as inputs", "D", ("Fig. 9",), ("fig9_latent", "fig9_teacher")
        ),
        "E_relu_students": Notebook(
            "ReLU students", "E", ("Fig. 10",), ("fig10_left", "fig10_latent", "fig10_teacher")
        ),
        "T1_equations_of_motion": Notebook(
            "The equations of motion",
            "v4",
            (),
            (),
            measurements=(
                "t1/simulation", "t1/scaling", "t1/error_against_delta", "t1/error_against_width", "t1/plateaus",
            ),
        ),
        "T2_deep_generators": Notebook("Deep generators", "2006.14709", (), (), measurements=("t2",)),
        "index": Notebook("The paper on one page", "", (), ()),
        "playground": Notebook("A network to play with", "", (), (), parameters=("inputs", "task", "width")),
    }
)  # fmt: skip


@cache
def settings() -> dict:
    """setups.toml as it is written."""
    return tomllib.loads(files("hmm_utils.runs").joinpath("setups.toml").read_text(encoding="utf-8"))


PROFILES: tuple[str, ...] = ("quick", "paper")


def without_meaning(setup: Mapping[str, object]) -> set[str]:
    """Parameters that mean nothing to a set-up: N, D, f of digits, M and labels of a task that has neither, …"""
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


def _check_names(parameters: Iterable[str]) -> None:
    known = {f.name for f in fields(Experiment)} - {"name", "figure", "profile", "inputs", "task"}
    for key in parameters:
        if key not in known:
            raise ValueError(f"unknown parameter {key!r}: choose from {', '.join(sorted(known))}.")


def experiment(name: str, profile: str = "quick", **overrides: object) -> Experiment:
    """The set-up of that name at a profile's scale, with some values replaced; None keeps the profile's value, and so
    does a parameter without meaning for the set-up (n_latent for Gaussian inputs, say).

    The figures' names and values are in setups.toml. For Fig. 4 the width of the network that is trained on the
    digits is `teacher_width`. Raises ValueError for unknown names and impossible values.
    """
    table = settings()
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}: choose one of {', '.join(PROFILES)}.")
    if name not in table["setups"]:
        raise ValueError(f"unknown set-up {name!r}: choose one of {', '.join(table['setups'])}.")
    _check_names(overrides)
    setup, scales = table["setups"][name], table["profiles"][profile]
    given = {k: v for k, v in overrides.items() if v is not None}
    values = table["defaults"] | setup | scales["defaults"] | scales.get(name, {})

    def record(chosen: Mapping[str, object]) -> Experiment:
        all_values = values | chosen
        if not isinstance(all_values["widths"], list | tuple):
            raise ValueError(f"widths = {all_values['widths']!r}: give a list of widths, such as [1, 2, 4].")
        return Experiment(**(all_values | {"widths": tuple(all_values["widths"]), "name": name, "profile": profile}))

    record(given)  # an impossible value is refused even where it would mean nothing
    taken = {k: v for k, v in given.items() if k not in without_meaning(setup)}
    if name == "fig4_pretraining":
        taken = {k: v for k, v in taken.items() if k not in ("widths", "n_pairs", "time", "n_times")}
        if "teacher_width" in given:
            taken["widths"] = [given["teacher_width"]]
    return record(taken)


def plan(notebook: str, profile: str, overrides: Mapping[str, object]) -> dict[str, Experiment]:
    """Every run of a notebook by name; where both layer modes are run, as "NAME/first" and "NAME/both".

    Nothing is computed. Raises ValueError for unknown names and impossible values, in one sentence.
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}: choose one of {', '.join(PROFILES)}.")
    if notebook not in NOTEBOOKS:
        raise ValueError(f"unknown notebook {notebook!r}: choose one of {', '.join(NOTEBOOKS)}.")
    for key in {"name", "profile"} & set(overrides):
        raise ValueError(f"unknown parameter {key!r}: a plan takes it as an argument of its own or not at all.")
    table, runs = settings(), {}
    chosen = overrides.get("layers")
    several = chosen if isinstance(chosen, list | tuple) else [chosen]
    if not several or any(mode not in (*networks.LAYERS, None) for mode in several):
        raise ValueError(f"layers = {chosen!r}: choose one of {', '.join(networks.LAYERS)}, or both as a list.")
    _check_names(overrides.keys() - set(NOTEBOOKS[notebook].parameters))
    for name in NOTEBOOKS[notebook].setups:
        modes = table["setups"][name].get("layers", table["defaults"]["layers"])
        if isinstance(modes, str):
            # a list names the curves of a figure that has one per mode; it says nothing about the other figures
            one = {"layers": None} if len(several) > 1 or chosen is several else {}
            runs[name] = experiment(name, profile, **{**overrides, **one})
            continue
        for layers in modes if chosen is None else several:
            runs[f"{name}/{layers}"] = experiment(name, profile, **{**overrides, "layers": layers})
    return runs


def is_archived(profile: str) -> bool:
    """Whether results of a profile are stored on the disk."""
    return settings()["profiles"][profile].get("archived", False)


def whole_plan(profile: str) -> dict[str, Experiment]:
    """Every run of the notebooks that reproduce figures of the paper."""
    return {
        name: e
        for notebook, about in NOTEBOOKS.items()
        if about.figures
        for name, e in plan(notebook, profile, {}).items()
    }


def longer(profile: str) -> dict[str, Experiment]:
    """The runs that are trained on, named "NAME/longer"; none for a profile whose results are not archived."""
    table = settings()["longer"]
    how = {"time": float(table["time"]), "widths": tuple(table["widths"]), "n_draws": table["n_draws"]}
    runs = {name: experiment(name, profile) for name in table["setups"] if is_archived(profile)}
    return {f"{name}/longer": replace(e, **how) for name, e in runs.items()}


def _check_teacher(e: Experiment, teacher: networks.Network | None) -> None:
    if (e.task == "pretrained") != (teacher is not None):
        raise ValueError(
            f"task {e.task!r}: a trained network is passed as teacher with task 'pretrained', and only then."
        )


def dataset(
    experiment: Experiment, *, rng: np.random.Generator, teacher: networks.Network | None = None
) -> datasets.Dataset:
    """One draw of the experiment's data. `teacher` is the pre-trained network of task "pretrained"."""
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
    """Random generators of the data of a draw and of its training."""
    data, train = np.random.default_rng((seed, draw)).spawn(2)
    return data, train


def start(result: xr.Dataset, *, width: int, init: int = 0, student: int = 1) -> networks.Network:
    """A student of one draw of a result of `run_experiment`, `result.isel(draw=…)`, as it was before training."""
    _, rng = rngs_of_draw(result.attrs["seed"], int(result["draw"]))
    return training.initial_student(result, width=width, init=init, student=student, rng=rng)


def train_inputs(result: xr.Dataset) -> np.ndarray:
    """The inputs (P, N) that the students of one draw of a result of `run_experiment`, `result.isel(draw=…)`, were
    trained on, generated again; not those that a trained network labelled."""
    at = result.attrs
    names = {f.name for f in fields(Experiment)}
    e = Experiment(**{name: tuple(v) if name == "widths" else v for name, v in at.items() if name in names})
    return dataset(e, rng=rngs_of_draw(e.seed, int(result["draw"]))[0]).x_train


def run_experiment(
    experiment: Experiment, *, teacher: networks.Network | None = None, device: str = "cpu", progress: bool = True
) -> xr.Dataset:
    """Trains the experiment's fleet on each of its draws; the result of `training.train` with a dimension `draw`.

    The attributes hold the experiment, and what it was really run on. `teacher`: see `dataset`; `device`: see
    `training.train`.
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
    """The results of `run_experiment` for a whole plan, by name; `teacher` is for those of task "pretrained".

    On a GPU, experiments of one size are trained together, with all their draws. On the processor they are trained one
    after the other, as many draws at a time as there are pairs of cores.
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
    """Trains some draws of a plan together, given as (name, draw): a result for each, with its draw as a coordinate.

    where       "cpu" or "cuda"; the experiments must be of one size, as in a group of `groups_of_draws`
    checkpoint  see `training.train`
    """
    runs, notices = [], []
    for name, draw in jobs:
        e = plan[name]
        data_rng, train_rng = rngs_of_draw(e.seed, draw)
        data = dataset(e, rng=data_rng, teacher=teacher if e.task == "pretrained" else None)
        notices.append(data.inputs.notice or "")
        runs.append(training.FleetPair(dataset=data, rng=train_rng, lr=e.lr, layers=e.layers, init_scale=e.init_scale))
    trained = training.train_fleets(
        runs,
        widths=e.widths,
        n_pairs=e.n_pairs,
        time=e.time,
        activation=e.activation,
        evaluate_at=training.evaluation_times(e.time, e.n_times),
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
    """The draws of one experiment as one result with a dimension `draw`."""
    return xr.concat(draws, dim="draw", combine_attrs="override")


def groups_of_draws(plan: Mapping[str, Experiment], where: str) -> Iterator[list[tuple[str, int]]]:
    """The draws of all experiments, as (name, draw), in groups to be trained together."""
    if where == "cpu":
        groups, most = [[name] for name in plan], max(hardware.threads() // 2, 1)
    else:
        alike: dict[tuple, list[str]] = {}
        for name, e in plan.items():
            images = e.data if e.inputs == "digits" else None
            size = (images, e.task == "pretrained", e.n_inputs, e.n_test, e.n_test_along)
            alike.setdefault((*size, e.widths, e.n_pairs, e.time, e.n_times, e.activation), []).append(name)
        groups, most = alike.values(), _DRAWS_TOGETHER
    for names in groups:
        jobs = [(name, draw) for name in names for draw in range(plan[name].n_draws)]
        yield from (jobs[start : start + most] for start in range(0, len(jobs), most))


def _label(plan: Mapping[str, Experiment], jobs: Sequence[tuple[str, int]]) -> str:
    """What the progress bar shows."""
    name, draw = jobs[0]
    e = plan[name]
    others = len({name for name, _ in jobs}) - 1
    label = f"{e.name} {e.layers}" + (f" and {others} more" if others else "")
    return label + (f" {draw + 1}/{e.n_draws}" if e.n_draws > 1 and len(jobs) == 1 else "")


def scale_note(result: xr.Dataset) -> str:
    """One line on how a result's scale compares with the paper's, for figures and verdicts; other labels or layers than
    the set-up's are no smaller scale, but are said as well."""
    at = result.attrs
    paper = experiment(at["name"], "paper", layers=at["layers"])
    size = (paper.n_inputs, at["n_inputs"], "N") if at["inputs"] != "digits" else (784, at["n_inputs"], "N")
    pairs = [
        size,
        (paper.time, at["time"], "time"),
        (paper.n_pairs * paper.n_draws, result.sizes["init"] * result.sizes["draw"], "initialisations"),
    ]
    if at["inputs"] == "structured":
        pairs.insert(1, (paper.n_latent, at["n_latent"], "D"))
    smaller = [f"{name} = {here:g} ({there:g})" for there, here, name in pairs if here != there]
    if at["n_train"] != 76 * at["n_inputs"]:
        smaller.append(f"P = {at['n_train']} (76N)")
    if at["labels"] != paper.labels:
        smaller.append(f"{at['labels']} labels ({paper.labels})")
    modes = settings()["setups"][at["name"]].get("layers", settings()["defaults"]["layers"])
    if at["layers"] not in ([modes] if isinstance(modes, str) else modes):
        smaller.append(f"layers trained: {at['layers']} ({modes})")
    what = "8×8 digits instead of MNIST; " if digits.kind_of(at) == "digits8x8" else ""
    if not smaller:
        return f"{what}the paper's scale"
    return f"{what}{', '.join(smaller)}; the paper's in brackets"
