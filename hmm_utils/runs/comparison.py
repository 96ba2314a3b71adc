"""The equations of motion against simulations from the very same weights, as data: claims T1.1 to T1.4.

A case is a hidden manifold x = f(cF/√D) − a with a teacher on the latent coordinates, w̃ ~ N(0, 1) and ṽ = 1, and one
or more students with w ~ N(0, 1), which all see one stream of fresh samples. The simulations of a draw start from the
same weights and differ in their samples; draws differ in F and all weights. F ~ N(0, 1) has columns of length √D: every
u_i is then N(0, 1). Where it is only nearly so, a folding with a ≠ 0 leaves each input a mean ~ a/√(2D) of its own, and
all of them together a direction of size a²N/(2D) in E xxᵀ that does not shrink with N and is not in the equations.

With ē(t) the mean over simulations of ε_g and e(t) the theory's, at log-spaced times the deviations are

    |ē − e|/ē, its mean and its largest value over the run,      max |Q̄ − Q| and max |R̄ − R| over times and entries.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from hmm_utils.data import streams
from hmm_utils.model import observables
from hmm_utils.model.networks import LAYERS, Network, random_network
from hmm_utils.model.nonlinearities import NONLINEARITIES, constants
from hmm_utils.runs import seeds
from hmm_utils.sgd import online
from hmm_utils.theory.online import motion, predictions

__all__ = [
    "NAME", "VERSION", "Case", "Configuration", "compare", "configure", "deviations", "exponent", "jackknife", "note",
    "parts", "simulations",
]  # fmt: skip

NAME = "t1"
VERSION = 1
"""Of what decides the numbers here; a stored part of another version is computed again."""

FIRST_TIME = 0.05
# six digits of ε_g at D/N = 0.5
_NODES = 20


@dataclass(frozen=True, kw_only=True)
class Case:
    """One stream and its students.

    f, n_inputs, n_latent  folding, N and D
    time                   end of the run in steps/N
    students               (K, layers, η) each; v_k = 1 if the first layer alone is trained, else v_k ~ N(0, 1)
    n_draws                independent draws of F and all weights
    scaling                whether it is one of those that differ in N alone
    n_simulations          of each draw, where they are not as many as the configuration says

    Raises ValueError for impossible values.
    """

    f: str
    n_inputs: int
    n_latent: int
    time: float
    students: tuple[tuple[int, str, float], ...]
    n_draws: int = 1
    scaling: bool = False
    n_simulations: int | None = None

    def __post_init__(self) -> None:
        if self.f not in NONLINEARITIES:
            raise ValueError(f"f = {self.f!r}: choose one of {', '.join(NONLINEARITIES)}.")
        if min(self.n_inputs, self.n_latent, self.n_draws) < 1 or not self.time > FIRST_TIME or not self.students:
            raise ValueError(
                f"n_inputs = {self.n_inputs}, n_latent = {self.n_latent}, n_draws = {self.n_draws}, "
                f"time = {self.time} and {len(self.students)} students: give at least 1 of each and a time above "
                f"{FIRST_TIME}."
            )
        if self.n_simulations is not None and self.n_simulations < 2:
            raise ValueError(f"n_simulations = {self.n_simulations} of a case: give at least 2.")
        if any(layers not in LAYERS for _, layers, _ in self.students):
            raise ValueError(f"students = {self.students}: give (K, layers, η) with layers {' or '.join(LAYERS)}.")

    @property
    def name(self) -> str:
        return f"{'scaling' if self.scaling else 'simulation'}/{self.f}_N{self.n_inputs}_D{self.n_latent}"


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """All cases, each of which is simulated `n_simulations` times a draw and looked at `n_times` times, with teachers
    of width M; and how many draws the predictions without a simulation have (`predictions`), those of plateaus apart.
    """

    cases: tuple[Case, ...]
    teacher_width: int
    n_simulations: int
    n_times: int
    n_predicted: int
    n_plateaus: int
    seed: int

    def __post_init__(self) -> None:
        least_of = {"teacher_width": 1, "n_simulations": 2, "n_times": 3, "n_predicted": 2, "n_plateaus": 2}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)}: give at least {least}.")


def configure(*, cases: Iterable[Mapping[str, Any]], **values: Any) -> Configuration:
    """The configuration with these cases, each given as the keywords of `Case`.

    Raises ValueError for impossible values.
    """
    made = (Case(**{**case, "students": tuple(map(tuple, case["students"]))}) for case in cases)
    return Configuration(cases=tuple(made), **values)


# ---- simulation and theory ---------------------------------------------------------------------------------------


def _single(network: Network) -> Network:
    """The network with weights that single precision holds exactly, so that theory and simulation start equal."""
    W, v = (a.astype(np.float32).astype(float) for a in (network.W, network.v))
    return Network(W, v, network.activation)


def compare(case: Case, *, teacher_width: int, n_simulations: int, n_times: int, seed: int) -> xr.Dataset:
    """Simulations of all draws of a case, and the equations of motion from the same weights.

    eps_g (draw, simulation, student, time), Q (…, k, l), R (…, k, m): simulations, from the order parameters
    eps_g_theory (draw, student, time), Q_theory, R_theory: the equations with every mode's own overlaps
    eps_g_averaged: the same with the teacher's overlaps replaced by their average, `motion.averaged_teacher`

    NaN for hidden units k, l ≥ K. The times are log-spaced, in steps/N.
    """
    start = time.perf_counter()
    # of all that names a case, so that adding one leaves the others as they are
    key = [seed, case.n_inputs, case.n_latent, seeds.word(case.f, seeds.NONLINEARITIES), int(case.scaling)]
    draws = [
        _draw(case, teacher_width, n_simulations, n_times, rng)
        for rng in np.random.default_rng(key).spawn(case.n_draws)
    ]
    K, layers, lr = zip(*case.students, strict=True)
    found = xr.concat(draws, dim="draw").assign_coords(
        width=("student", list(K)), layers=("student", list(layers)), lr=("student", list(lr))
    )
    return found.assign_attrs(
        f=case.f,
        n_inputs=case.n_inputs,
        n_latent=case.n_latent,
        teacher_width=teacher_width,
        seconds=round(time.perf_counter() - start, 1),
    )


def _draw(case: Case, M: int, n_simulations: int, n_times: int, rng: np.random.Generator) -> xr.Dataset:
    folding, N, D = constants(case.f), case.n_inputs, case.n_latent
    F = rng.standard_normal((N, D), dtype=np.float32).T
    F *= np.sqrt(D / (F**2).sum(axis=0))
    teacher = _single(random_network(D, M, rng=rng, layers="first"))
    networks = [_single(random_network(N, K, rng=rng, layers=layers)) for K, layers, _ in case.students]
    simulated = online.train(
        streams.latent_task(streams.structured(F, case.f, folding.a), teacher),
        [
            online.Student(network=network, lr=lr, layers=layers)
            for network, (_, layers, lr) in zip(networks, case.students, strict=True)
        ],
        time=case.time,
        evaluate_at=np.geomspace(FIRST_TIME, case.time, n_times),
        overlaps=partial(observables.hidden_manifold_overlaps, F=F, wt=teacher.W, b=folding.b, zeta=folding.zeta),
        rngs=rng.spawn(n_simulations),
        progress=None,
    )
    times = simulated["time"].values
    found = simulated[["Q", "R"]].assign(eps_g=simulated["eps_g_mse"])
    theory = []
    for network, (_, layers, lr) in zip(networks, case.students, strict=True):
        first = motion.hidden_manifold(network, teacher, F, folding)
        solve = partial(motion.integrate, times=times, lr=lr, lr_v=lr if layers == "both" else 0)
        whole, averaged = (solve(motion.quadrature(s, _NODES)) for s in (first, motion.averaged_teacher(first)))
        whole = whole.rename(i="k", j="l").reset_coords(drop=True)
        theory.append(
            xr.Dataset(
                {
                    "eps_g_theory": whole["eps_g_mse"],
                    "Q_theory": whole["Q"],
                    "R_theory": whole["R"],
                    "eps_g_averaged": averaged["eps_g_mse"],
                }
            ).pad(k=(0, found.sizes["k"] - network.width), l=(0, found.sizes["l"] - network.width))
        )
    # the indices that a simulation numbers are dimensions enough
    found = found.drop_vars([name for name in found.coords if name != "time"])
    return found.merge(xr.concat(theory, dim="student"))


# ---- deviations --------------------------------------------------------------------------------------------------


def deviations(found: xr.Dataset) -> xr.Dataset:
    """How far the mean over the simulations of each draw is from theory, (draw, student):

    mean, largest            of |ē − e|/ē over time
    mean_averaged, largest_averaged   the same of the theory with the averaged teacher
    Q, R                     the largest |Q̄ − Q|, |R̄ − R| over entries and time

    NaN where a simulation diverged.
    """
    mean = found[["eps_g", "Q", "R"]].mean("simulation", skipna=False)
    measured = {}
    for label, theory in {"": "eps_g_theory", "_averaged": "eps_g_averaged"}.items():
        relative = abs(mean["eps_g"] - found[theory]) / mean["eps_g"]
        measured |= {f"mean{label}": relative.mean("time", skipna=False)}
        measured |= {f"largest{label}": relative.max("time", skipna=False)}
    for name, entries in {"Q": ("k", "l"), "R": ("k", "m")}.items():
        off = abs(mean[name] - found[f"{name}_theory"])
        # entries of hidden units that there are not are NaN at all times, others if a simulation diverged
        measured[name] = off.max(entries).max("time", skipna=False)
    return xr.Dataset(measured)


def jackknife(found: xr.Dataset, measure: Callable[[xr.Dataset], xr.Dataset] = deviations) -> xr.Dataset:
    """The standard error that the number n of simulations leaves: s² = (n − 1)/n Σ_i (θ_i − θ̄)², with θ_i what is
    measured without simulation i."""
    n = found.sizes["simulation"]
    without = [measure(found.isel(simulation=[j for j in range(n) if j != i])) for i in range(n)]
    return xr.concat(without, dim="left_out").std("left_out") * np.sqrt(n - 1)


def simulations(results: Mapping[str, xr.Dataset], *, scaling: bool = False) -> dict[str, xr.Dataset]:
    """The parts that hold simulations, by their names in `results`: those that are compared, or those that differ in N
    alone."""
    prefix = f"{NAME}/{'scaling' if scaling else 'simulation'}/"
    return {name: results[name] for name in results if name.startswith(prefix)}


def exponent(results: Mapping[str, xr.Dataset], of: str = "mean") -> tuple[float, float, int]:
    """α of deviation ∝ N^−α with its standard error, and from how many draws: least squares in ln N over the draws of
    all cases that differ in N alone. Raises ValueError for fewer than two sizes or three draws."""
    log_N, log_d = [], []
    for found in simulations(results, scaling=True).values():
        deviation = np.log(deviations(found)[of].mean("student").values)
        log_d.extend(deviation)
        log_N.extend([np.log(found.attrs["n_inputs"])] * len(deviation))
    if len(set(log_N)) < 2 or len(log_N) < 3:
        raise ValueError(f"{len(log_N)} draws of {len(set(log_N))} sizes N: a fit needs two sizes and three draws.")
    x, y = np.array(log_N) - np.mean(log_N), np.array(log_d) - np.mean(log_d)
    slope = x @ y / (x @ x)
    return -slope, float(np.sqrt(((y - slope * x) ** 2).sum() / (len(x) - 2) / (x @ x))), len(x)


# ---- parts -------------------------------------------------------------------------------------------------------


def parts(c: Configuration) -> dict[str, tuple[dict[str, object], Callable[[], xr.Dataset]]]:
    """What is computed one after the other: name → (all that decides its numbers, how to compute it)."""
    about = {"teacher_width": c.teacher_width, "n_simulations": c.n_simulations, "n_times": c.n_times, "seed": c.seed}
    found: dict[str, tuple[dict[str, object], Callable[[], xr.Dataset]]] = {}
    for name, compute in predictions.PREDICTIONS.items():
        draws = {"n_draws": c.n_plateaus if compute is predictions.plateaus else c.n_predicted, "seed": c.seed}
        found[name] = dict(draws), partial(compute, **draws)
    for case in c.cases:
        own = about | ({"n_simulations": case.n_simulations} if case.n_simulations else {})
        found[case.name] = asdict(case) | own, partial(compare, case, **own)
    return found


def note(result: xr.Dataset) -> str:
    """One line on how much was computed."""
    at = result.attrs
    if "simulation" not in result.dims:
        draws = result.sizes.get("draw", 0)
        return f"equations of motion, {draws} draws" if draws else "equations of motion"
    draws = f"{result.sizes['draw']} draws × " if result.sizes["draw"] > 1 else ""
    return f"{at['f']}, N = {at['n_inputs']}, D = {at['n_latent']}: {draws}{result.sizes['simulation']} simulations"
