"""Simulations and the equations of motion from the same weights: claims T1.1 to T1.4.

A case is a hidden manifold x = f(cF/√D) − a with a teacher on the latent coordinates, w̃ ~ N(0, 1) and ṽ = 1, and one
or more students with w ~ N(0, 1), which all see one stream of fresh samples. The simulations of a draw start from the
same weights and differ in their samples; draws differ in F (``equivalence.unit_features``) and all weights.

With ē(t) the mean of ε_g over simulations and e(t) the theory's, the deviations at log-spaced times are ::

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
from hmm_utils.model import observables, parameters
from hmm_utils.model.networks import LAYERS, Network, random_network
from hmm_utils.model.nonlinearities import NONLINEARITIES, constants
from hmm_utils.runs import seeds
from hmm_utils.sgd import online
from hmm_utils.theory.online import equivalence, motion, predictions

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
    """One stream and its students; impossible values raise ValueError.

    Attributes
    ----------
    f : str
        Non-linearity.
    n_inputs, n_latent : int
        N and D.
    time : float
        End of the run in steps/N.
    students : tuple of (int, str, float)
        K, trained layers, η; v_k = 1 if only the first layer is trained, else v_k ~ N(0, 1).
    n_draws : int
        Independent draws of F and all weights.
    scaling : bool
        Whether the case is one of those that differ in N alone.
    n_simulations : int, optional
        Of each draw; default: the configuration's.
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
        parameters.choice("f", self.f, NONLINEARITIES)
        for name in ("n_inputs", "n_latent", "n_draws"):
            parameters.whole(name, getattr(self, name))
        if not parameters.time(self.time) > FIRST_TIME:
            raise ValueError(f"time = {self.time}: give more than {FIRST_TIME}, the first time that is evaluated.")
        if self.n_simulations is not None:
            parameters.whole("n_simulations", self.n_simulations, 2)
        if not self.students:
            raise ValueError("students = []: give at least one as (K, layers, η).")
        for K, layers, lr in self.students:
            parameters.whole("width", K)
            parameters.choice("layers", layers, LAYERS)
            parameters.learning_rate(lr)

    @property
    def name(self) -> str:
        """Name of the part that holds its results."""
        return f"{'scaling' if self.scaling else 'simulation'}/{self.f}_N{self.n_inputs}_D{self.n_latent}"


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Values that decide the numbers; impossible ones raise ValueError.

    Attributes
    ----------
    cases : tuple of Case
        Compared with theory.
    teacher_width : int
        Width M of the teacher.
    n_simulations, n_times : int
        Simulations of each draw of a case, and log-spaced times at which they are evaluated.
    n_predicted, n_plateaus : int
        Draws of the predictions without simulations, and of plateaus, which have their own number.
    seed : int
        Of all random numbers.
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
            parameters.whole(name, getattr(self, name), least)


def configure(*, cases: Iterable[Mapping[str, Any]], **values: Any) -> Configuration:
    """Make a configuration of cases that are given as keywords of :class:`Case`."""
    made = (Case(**{**case, "students": tuple(map(tuple, case["students"]))}) for case in cases)
    return Configuration(cases=tuple(made), **values)


# ---- simulation and theory ---------------------------------------------------------------------------------------


def _single(network: Network) -> Network:
    """Round weights to single precision, so that theory and simulation start from equal ones."""
    W, v = (a.astype(np.float32).astype(float) for a in (network.W, network.v))
    return Network(W, v, network.activation)


def compare(case: Case, *, teacher_width: int, n_simulations: int, n_times: int, seed: int) -> xr.Dataset:
    """Simulate all draws of a case and solve the equations of motion from the same weights.

    Parameters
    ----------
    case : Case
        Stream and students.
    teacher_width, n_simulations, n_times, seed : int
        As in :class:`Configuration`.

    Returns
    -------
    compared : Dataset
        eps_g (draw, simulation, student, time), Q (…, k, l), R (…, k, m) of simulations, from the order parameters;
        eps_g_theory (draw, student, time), Q_theory, R_theory of the equations with every mode's own overlaps;
        eps_g_averaged with the teacher's overlaps replaced by their average, ``motion.averaged_teacher``.
        NaN for hidden units k, l ≥ K. Times are log-spaced, in steps/N.
    """
    start = time.perf_counter()
    # all that names a case, so that adding one leaves the others as they are
    key = [seed, case.n_inputs, case.n_latent, seeds.word(case.f, seeds.NONLINEARITIES), int(case.scaling)]
    draws = [
        _draw(case, teacher_width, n_simulations, n_times, rng)
        for rng in np.random.default_rng(key).spawn(case.n_draws)
    ]
    K, layers, lr = zip(*case.students, strict=True)
    compared = xr.concat(draws, dim="draw").assign_coords(
        width=("student", list(K)), layers=("student", list(layers)), lr=("student", list(lr))
    )
    return compared.assign_attrs(
        f=case.f,
        n_inputs=case.n_inputs,
        n_latent=case.n_latent,
        teacher_width=teacher_width,
        seconds=round(time.perf_counter() - start, 1),
    )


def _draw(case: Case, M: int, n_simulations: int, n_times: int, rng: np.random.Generator) -> xr.Dataset:
    of_f, N, D = constants(case.f), case.n_inputs, case.n_latent
    F = equivalence.unit_features(D, N, rng)
    teacher = _single(random_network(D, M, rng=rng, layers="first"))
    networks = [_single(random_network(N, K, rng=rng, layers=layers)) for K, layers, _ in case.students]
    simulated = online.train(
        streams.latent_task(streams.structured(F, case.f, of_f.a), teacher),
        [
            online.Student(network=network, lr=lr, layers=layers)
            for network, (_, layers, lr) in zip(networks, case.students, strict=True)
        ],
        time=case.time,
        evaluate_at=np.geomspace(FIRST_TIME, case.time, n_times),
        overlaps=partial(observables.hidden_manifold_overlaps, F=F, wt=teacher.W, b=of_f.b, zeta=of_f.zeta),
        rngs=rng.spawn(n_simulations),
        progress=None,
    )
    times = simulated["time"].values
    # the indices that a simulation numbers are dimensions enough
    compared = simulated[["Q", "R"]].assign(eps_g=simulated["eps_g_mse"])
    compared = compared.drop_vars(set(compared.coords) - {"time"})
    theory = []
    for network, (_, layers, lr) in zip(networks, case.students, strict=True):
        first = motion.hidden_manifold(network, teacher, F, of_f)
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
            ).pad(k=(0, compared.sizes["k"] - network.width), l=(0, compared.sizes["l"] - network.width))
        )
    return compared.merge(xr.concat(theory, dim="student"))


# ---- deviations --------------------------------------------------------------------------------------------------


def deviations(compared: xr.Dataset) -> xr.Dataset:
    """Deviation of the mean over simulations from theory; NaN where a simulation diverged.

    Parameters
    ----------
    compared : Dataset
        As :func:`compare` returns it.

    Returns
    -------
    deviations : Dataset
        For each (draw, student): mean and largest of ``|ē − e|/ē`` over time; mean_averaged and largest_averaged, the
        same for the averaged teacher; Q and R, the largest ``|Q̄ − Q|`` and ``|R̄ − R|`` over entries and time.
    """
    mean = compared[["eps_g", "Q", "R"]].mean("simulation", skipna=False)
    measured: dict[str, xr.DataArray] = {}
    for label, theory in {"": "eps_g_theory", "_averaged": "eps_g_averaged"}.items():
        relative = abs(mean["eps_g"] - compared[theory]) / mean["eps_g"]
        measured |= {f"mean{label}": relative.mean("time", skipna=False)}
        measured |= {f"largest{label}": relative.max("time", skipna=False)}
    for name, entries in {"Q": ("k", "l"), "R": ("k", "m")}.items():
        off = abs(mean[name] - compared[f"{name}_theory"])
        # entries that only wider students have are NaN at all times, others if a simulation diverged
        measured[name] = off.max(entries).max("time", skipna=False)
    return xr.Dataset(measured)


def jackknife(compared: xr.Dataset, measure: Callable[[xr.Dataset], xr.Dataset] = deviations) -> xr.Dataset:
    """Estimate the standard error s that n simulations leave, with θ_i measured without simulation i.

    ::

        s² = (n − 1)/n Σ_i (θ_i − θ̄)²
    """
    n = compared.sizes["simulation"]
    without = [measure(compared.isel(simulation=[j for j in range(n) if j != i])) for i in range(n)]
    return xr.concat(without, dim="left_out").std("left_out") * np.sqrt(n - 1)


def simulations(results: Mapping[str, xr.Dataset], *, scaling: bool = False) -> dict[str, xr.Dataset]:
    """Select the parts that hold simulations, those that differ in N alone (``scaling``) or the others."""
    prefix = f"{NAME}/{'scaling' if scaling else 'simulation'}/"
    return {name: results[name] for name in results if name.startswith(prefix)}


def exponent(results: Mapping[str, xr.Dataset], of: str = "mean") -> tuple[float, float, int]:
    """Fit deviation ∝ N^−α by least squares in ln N over the draws of all cases that differ in N alone.

    Parameters
    ----------
    results : mapping
        Parts by name.
    of : str
        Which of :func:`deviations`.

    Returns
    -------
    alpha, error, n : float, float, int
        α, its standard error, and the number of draws.

    Raises
    ------
    ValueError
        For fewer than two sizes or three draws.
    """
    log_N, log_d = [], []
    for compared in simulations(results, scaling=True).values():
        deviation = np.log(deviations(compared)[of].mean("student").values)
        log_d.extend(deviation)
        log_N.extend([np.log(compared.attrs["n_inputs"])] * len(deviation))
    if len(set(log_N)) < 2 or len(log_N) < 3:
        raise ValueError(f"{len(log_N)} draws of {len(set(log_N))} sizes N: a fit needs two sizes and three draws.")
    x, y = np.array(log_N) - np.mean(log_N), np.array(log_d) - np.mean(log_d)
    slope = x @ y / (x @ x)
    return -slope, float(np.sqrt(((y - slope * x) ** 2).sum() / (len(x) - 2) / (x @ x))), len(x)


# ---- parts -------------------------------------------------------------------------------------------------------


def parts(c: Configuration) -> dict[str, tuple[dict[str, object], Callable[[], xr.Dataset]]]:
    """List predictions and cases: name → (all that decides its numbers, how to compute it)."""
    planned: dict[str, tuple[dict[str, object], Callable[[], xr.Dataset]]] = {}
    for name, compute in predictions.PREDICTIONS.items():
        draws = {"n_draws": c.n_plateaus if name == "plateaus" else c.n_predicted, "seed": c.seed}
        planned[name] = dict(draws), partial(compute, **draws)
    for case in c.cases:
        how = {
            "teacher_width": c.teacher_width,
            "n_simulations": case.n_simulations or c.n_simulations,
            "n_times": c.n_times,
            "seed": c.seed,
        }
        planned[case.name] = asdict(case) | how, partial(compare, case, **how)
    return planned


def note(result: xr.Dataset) -> str:
    """One line on how much was computed."""
    at, draws = result.attrs, result.sizes.get("draw", 0)
    if "simulation" not in result.dims:
        return f"equations of motion, {draws} draws" if draws else "equations of motion"
    of_draws = f"{draws} draws × " if draws > 1 else ""
    return f"{at['f']}, N = {at['n_inputs']}, D = {at['n_latent']}: {of_draws}{result.sizes['simulation']} simulations"
