"""Students of deep generators: online SGD on x = G(c) against the equations of motion for a Gaussian of the same Ω, Φ.

By the Gaussian equivalence conjecture for generators (Goldt, Loureiro, Reeves, Krzakala, Mézard & Zdeborová,
arXiv:2006.14709) ε_g follows from the covariances alone. Both sides start from the same weights here. The deviation ::

    d(t) = |ε_g(t), mean over simulations / ε_g(t), theory − 1|

is compared with the distance of the local fields λ_k = w_k·x/√N from a Gaussian. With the skewness κ₃ and the excess
kurtosis κ₄ of a field, the relative entropy of its density and a Gaussian's is, to leading order in both, ::

    J = κ₃²/12 + κ₄²/48.

The root mean square of √J over fields is called their non-Gaussianity; n samples of a Gaussian leave √(1/n).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from math import sqrt
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr
from tqdm import tqdm

from hmm_utils import files
from hmm_utils.data import generators, streams
from hmm_utils.data.generators import Generator, Layer
from hmm_utils.model import observables, parameters
from hmm_utils.model.networks import Network, random_network
from hmm_utils.runs import seeds
from hmm_utils.sgd import online
from hmm_utils.theory.online import motion
from hmm_utils.theory.online.layers import are_odd, propagated

__all__ = [
    "CASES", "NAME", "RANDOM", "TRAINED", "VERSION", "Case", "Configuration", "compare", "deviation", "measure",
    "non_gaussianity", "note", "pictures", "summary", "with_moments",
]  # fmt: skip

NAME = "t2"
VERSION = 1
"""Of what decides the numbers here; a stored result of another version is computed again."""

RANDOM = ("sgn, one layer", "sgn, deep", "tanh, deep", "convolutional")
TRAINED = "decoder"

_EDGES = np.linspace(-5, 5, 51)
# stored eigenvalues, at ranks spaced evenly in the logarithm
_N_RANKS = 60


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Values that decide the numbers; impossible ones raise ValueError.

    Attributes
    ----------
    n_inputs, n_latent : int
        N and D of the fully connected generators.
    hidden : tuple of int
        Widths of the layers between, if deep.
    channels : tuple of int
        Of the convolutional generator, which makes 3 × side × side pixels, side = 4 · 2^(layers − 1).
    stride : int
        Of the 28 × 28 pixels of the trained decoder, every stride-th in each direction is an input.
    few : int
        Latent dimensions of the cases with too few of them.
    n_samples, n_fields, n_test : int
        Samples for Ω and Φ, for a histogram of local fields, and for ε_g on test inputs.
    n_starts, n_simulations : int
        Draws of teacher and student, and simulations from each of them.
    width, teacher_width, lr : int, int, float
        K, M and η.
    time, n_times : float, int
        Times are 0 and log-spaced from time/1000 to ``time``, in steps/N.
    seed : int
        Of all random numbers.
    """

    n_inputs: int
    n_latent: int
    hidden: tuple[int, ...]
    channels: tuple[int, ...]
    stride: int
    few: int
    n_samples: int
    n_fields: int
    n_test: int
    n_starts: int
    n_simulations: int
    width: int
    teacher_width: int
    lr: float
    time: float
    n_times: int
    seed: int

    def __post_init__(self) -> None:
        parameters.learning_rate(self.lr)
        parameters.time(self.time)
        for name, value in asdict(self).items():
            if name not in ("lr", "time"):
                for number in np.atleast_1d(np.array(value, object)):
                    parameters.whole(name, number, 0 if name == "seed" else 1)

    @property
    def times(self) -> np.ndarray:
        """When ε_g is evaluated, (n_times,)."""
        return np.concatenate([[0], np.geomspace(self.time / 1000, self.time, self.n_times - 1)])


# ---- Cases ----------------------------------------------------------------------------------------------------------


def _normal(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(shape)


def _aligned(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """w_k = √N e_k: a student whose every unit looks at one input."""
    return sqrt(shape[1]) * np.eye(*shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """A generator, and a student that starts on it.

    Attributes
    ----------
    generator : Generator
        x = G(c).
    condition : str
        Condition of the theorem that is violated; empty: none that is known.
    shape : tuple of int
        Of an input that is a picture, (rows, columns) or (colours, rows, columns); empty: it is none.
    layers : tuple of Layer
        Of a fully connected generator; empty for others.
    start : callable
        (K, N) and rng → w (K, N) to start from.
    """

    generator: Generator
    condition: str = ""
    shape: tuple[int, ...] = ()
    layers: tuple[Layer, ...] = ()
    start: Callable[[tuple[int, int], np.random.Generator], np.ndarray] = _normal


MakeCase = Callable[["Configuration", np.random.Generator], Case]


def _random(f: str, *, deep: bool = False, few: bool = False, condition: str = "", start: Any = _normal) -> MakeCase:
    def case(c: Configuration, rng: np.random.Generator) -> Case:
        sizes = (c.few if few else c.n_latent, *(c.hidden if deep else ()), c.n_inputs)
        layers = generators.random_layers(sizes, f, rng=rng)
        name = f"{len(layers)} random layers of f = {f}"
        generator = generators.fully_connected(layers, name)
        return Case(generator=generator, layers=layers, condition=condition, start=start)

    return case


def _convolutional(c: Configuration, rng: np.random.Generator) -> Case:
    side = 4 * 2 ** (len(c.channels) - 1)
    return Case(generator=generators.convolutional(c.n_latent, c.channels, rng=rng), shape=(3, side, side))


def _decoder(*, few: bool = False, condition: str) -> MakeCase:
    """Make the trained decoder on every stride-th pixel, with all latent units or those of largest weights alone."""

    def case(c: Configuration, rng: np.random.Generator) -> Case:
        (first, last), _ = generators.load_layers(generators.TRAINED)
        pixels = np.arange(last.F.shape[1]).reshape(28, 28)[:: c.stride, :: c.stride]
        latent = np.argsort(-np.linalg.norm(first.F, axis=1))[: c.few if few else None]
        layers = (
            Layer(first.F[latent], first.f, first.bias),
            Layer(last.F[:, pixels.ravel()], last.f, None if last.bias is None else last.bias[pixels.ravel()]),
        )
        generator = generators.fully_connected(layers, "decoder of digits")
        return Case(generator=generator, layers=layers, condition=condition, shape=pixels.shape)

    return case


CASES: Mapping[str, MakeCase] = MappingProxyType(
    {
        "sgn, one layer": _random("sgn"),
        "sgn, deep": _random("sgn", deep=True),
        "tanh, deep": _random("tanh", deep=True),
        "convolutional": _convolutional,
        "decoder": _decoder(condition="not random"),
        "decoder, few latents": _decoder(few=True, condition="not random, D small"),
        "sgn, few latents": _random("sgn", few=True, condition="D small"),
        "sgn, aligned student": _random("sgn", condition="student on single inputs", start=_aligned),
        "f even": _random("abs", condition="b = E u f(u) = 0"),
    }
)
"""Name → configuration and rng → the case."""


def with_moments(c: Configuration, name: str, folder: Path | None = None) -> tuple[Case, xr.Dataset]:
    """Make a case with standardised inputs, and sample their moments.

    Parameters
    ----------
    c : Configuration
        Sizes and the seed.
    name : str
        From :data:`CASES`.
    folder : Path, optional
        Where ``generators.covariances`` stores its results.

    Returns
    -------
    case, moments : Case, Dataset
        With the moments of ``generators.covariances``.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    parameters.known("case", name, CASES)
    weights, samples = _rngs(c, name, "generator")
    case = CASES[name](c, weights)
    moments = generators.covariances(case.generator, n_samples=c.n_samples, rng=samples, folder=folder)
    standard, moments = generators.standardised(case.generator, moments)
    return dataclasses.replace(case, generator=standard), moments


def pictures(case: Case, n: int, *, rng: np.random.Generator) -> np.ndarray:
    """Draw n inputs in the shape of pictures, (n, rows, columns) or (n, colours, rows, columns).

    Those of a generator that makes no pictures fill the most nearly square rectangle.
    """
    N = case.generator.n_inputs
    rows = max(d for d in range(1, int(sqrt(N)) + 1) if N % d == 0)
    x = case.generator(rng.standard_normal((n, case.generator.n_latent), dtype=np.float32))
    return x.reshape(n, *(case.shape or (rows, N // rows)))


def _rngs(c: Configuration, name: str, what: str) -> list[np.random.Generator]:
    """Return two generators of random numbers that depend on the case alone, so that cases can be left out."""
    words = seeds.word(name, seeds.CASES), {"generator": 0, "student": 1}[what]
    return np.random.default_rng([c.seed, *words]).spawn(2)


# ---- Theory and simulation ------------------------------------------------------------------------------------------


def compare(case: Case, moments: xr.Dataset, c: Configuration, *, rng: np.random.Generator) -> xr.Dataset:
    """Simulate students of fresh inputs of a standardised generator, and solve the theory from its moments.

    Parameters
    ----------
    case, moments : Case, Dataset
        As :func:`with_moments` returns them.
    c : Configuration
        Sizes, learning rate and times.
    rng : Generator
        For networks and inputs.

    Returns
    -------
    compared : Dataset
        eps_g_mse (start, simulation, time)
            From Q, R of the simulation.
        eps_g_test_mse (start, simulation, time)
            On test inputs, whatever the law of the fields, and its standard error.
        theory (start, time)
            ``motion.integrate`` from the same weights.
        propagated (start, time)
            The same with Ω, Φ from ``layers.propagated``; NaN where these do not exist.
        R (start), R_theory (start)
            At the end: root mean square overlap with the teacher.
        skewness, excess_kurtosis (when, field)
            Of the students' local fields at the start and at the end.
        density (when, bin)
            Of all of them, each divided by its standard deviation.
        eigenvalue (rank)
            Of Ω, descending.
        participation, recoverability
            Of the generator.

    Raises
    ------
    ValueError
        If the moments do not fit the generator or are no covariance, and as ``online.train``.
    """
    N, D = case.generator.n_inputs, case.generator.n_latent
    if moments["omega"].shape != (N, N) or moments["phi"].shape != (N, D):
        raise ValueError(
            f"Ω and Φ have shapes {moments['omega'].shape} and {moments['phi'].shape}: {case.generator.name} needs "
            f"{(N, N)} and {(N, D)}."
        )
    if len(np.unique(np.rint(c.times * N))) < c.n_times:
        raise ValueError(f"n_times = {c.n_times}: some are within one step of N = {N}, give fewer or a longer time.")
    # refuses an Ω that is no covariance before anything is trained
    participation = generators.participation_ratio(moments["omega"])
    starts, fields = zip(*(_start(case, moments, c, child) for child in rng.spawn(c.n_starts)), strict=True)
    compared = xr.concat(starts, "start").merge(_fields(fields))
    rho = np.linalg.eigvalsh(moments["omega"].values)[::-1]
    ranks = np.unique(np.geomspace(1, N, _N_RANKS).round().astype(int))
    return compared.assign(
        eigenvalue=("rank", np.append(rho[ranks - 1], np.full(_N_RANKS - len(ranks), np.nan))),
        eigenvalue_rank=("rank", np.append(ranks, np.full(_N_RANKS - len(ranks), np.nan))),
        participation=participation,
        recoverability=generators.recoverability(moments),
        n_inputs=N,
        n_latent=D,
    )


def _start(
    case: Case, moments: xr.Dataset, c: Configuration, rng: np.random.Generator
) -> tuple[xr.Dataset, list[xr.DataArray]]:
    """Compare one student of one teacher; also returns the local fields at the start and at the end."""
    N, D = case.generator.n_inputs, case.generator.n_latent
    omega, phi = moments["omega"].values, moments["phi"].values
    weights, tests, streamed = rng.spawn(3)
    teacher = random_network(D, c.teacher_width, rng=weights, layers="first")
    v = random_network(N, c.width, rng=weights).v
    # the precision of training, so that both sides start from the same numbers
    w = case.start((c.width, N), weights).astype(np.float32)
    student = Network(w, v.astype(np.float32), teacher.activation)
    source = streams.latent_task(streams.generator(case.generator, 0.0, n_latent=D), teacher)
    x, _, y = source.samples(source.latent(tests, c.n_test))
    trained = online.train(
        source,
        [online.Student(network=student, lr=c.lr)],
        time=c.time,
        overlaps=partial(observables.covariance_overlaps, omega=omega, phi=phi, wt=teacher.W),
        rngs=streamed.spawn(c.n_simulations),
        evaluate_at=c.times,
        test=(x, y),
        progress=None,
    ).isel(student=0, drop=True)
    steps = trained["time"].values
    theory = motion.integrate(motion.generator(student, teacher, omega, phi), steps, lr=c.lr)
    compared = trained[["eps_g_mse", "eps_g_test_mse", "eps_g_test_mse_se"]].assign(
        theory=("time", theory["eps_g_mse"].values),
        propagated=("time", _propagated(case, student, teacher, steps, c.lr)),
        R=float(np.sqrt((trained["R"].isel(time=-1) ** 2).mean())),
        R_theory=float(np.sqrt((theory["R"].isel(time=-1) ** 2).mean())),
    )
    fields = [
        generators.local_fields(case.generator, W, mean=np.zeros(N), n_samples=c.n_fields, rng=tests)
        for W in (student.W, trained["W"].isel(simulation=0).values)
    ]
    return compared, fields


def _propagated(case: Case, student: Network, teacher: Network, times: np.ndarray, lr: float) -> np.ndarray:
    """ε_g(t) with the covariances of ``layers.propagated``; NaN for a generator that is no layers of odd f."""
    if not case.layers or not are_odd(case.layers):
        return np.full(times.shape, np.nan)
    _, moments = generators.standardised(case.generator, propagated(case.layers))
    start = motion.generator(student, teacher, moments["omega"].values, moments["phi"].values)
    return motion.integrate(start, times, lr=lr)["eps_g_mse"].values


def _fields(of_starts: Sequence[Sequence[xr.DataArray]]) -> xr.Dataset:
    """Moments and the density of the local fields of all starts."""
    by_time = []
    for fields in zip(*of_starts, strict=True):
        lam = np.concatenate([lam.transpose("sample", "unit").values for lam in fields], axis=1)
        moments = generators.field_moments(xr.DataArray(lam, dims=("sample", "unit")))
        density, _ = np.histogram(lam / lam.std(axis=0), _EDGES, density=True)
        of_units = moments[["skewness", "excess_kurtosis"]].rename(unit="field")
        by_time.append(of_units.assign(density=("bin", density)))
    centres = (_EDGES[1:] + _EDGES[:-1]) / 2
    return xr.concat(by_time, xr.Variable("when", ["start", "end"])).assign_coords(bin=centres)


# ---- Deviations ------------------------------------------------------------------------------------------------------


def deviation(result: xr.Dataset, of: str = "eps_g_mse", theory: str = "theory") -> xr.Dataset:
    """Deviation d(t) of simulations from theory; NaN where a simulation diverged.

    Parameters
    ----------
    result : Dataset
        As :func:`compare` returns it.
    of, theory : str
        Which errors are compared.

    Returns
    -------
    deviation : Dataset
        mean and largest (start) over the times, and late, the mean over the last quarter of them.
    """
    d = abs(result[of].mean("simulation", skipna=False) / result[theory] - 1)
    late = d.isel(time=slice(-max(d.sizes["time"] // 4, 1), None)).mean("time", skipna=False)
    return xr.Dataset({"mean": d.mean("time", skipna=False), "largest": d.max("time", skipna=False), "late": late})


def non_gaussianity(result: xr.Dataset) -> xr.DataArray:
    """√⟨κ₃²/12 + κ₄²/48⟩ over local fields, of students at the start and at the end (when)."""
    return (result["skewness"] ** 2 / 12 + result["excess_kurtosis"] ** 2 / 48).mean("field") ** 0.5


def summary(result: xr.Dataset) -> xr.Dataset:
    """Summarise every generator, averaged over draws of teacher and student.

    Returns
    -------
    summary : Dataset
        For each generator: mean, largest and late deviation of ε_g from Q and R, and ``test_…`` of ε_g on test inputs;
        skewness and excess_kurtosis, root mean square over the local fields of students at the end; non_gaussianity,
        the larger of that at the start and at the end; participation, recoverability, condition.
    """
    by_overlaps = deviation(result).mean("start")
    on_tests = deviation(result, "eps_g_test_mse").mean("start")
    last = result[["skewness", "excess_kurtosis"]].sel(when="end", drop=True)
    return xr.merge(
        [
            by_overlaps,
            on_tests.rename({name: f"test_{name}" for name in on_tests}),
            (last**2).mean("field") ** 0.5,
            non_gaussianity(result).max("when").rename("non_gaussianity"),
            result[["participation", "recoverability", "condition"]],
        ]
    )


# ---- All cases ------------------------------------------------------------------------------------------------------


def measure(c: Configuration, *, folder: Path | None = None, progress: bool = True) -> xr.Dataset:
    """:func:`compare` for every case, along a dimension ``generator``.

    Parameters
    ----------
    c : Configuration
        Sizes and the seed.
    folder : Path, optional
        Where covariances and finished cases are stored, so that a run that was stopped continues; default: nowhere.
    progress : bool
        Whether to show a bar.

    Raises
    ------
    ValueError
        As :func:`compare`.
    FileNotFoundError
        Without the trained decoder.
    """
    # the environment's TQDM_DISABLE is the default
    bar = tqdm(CASES, desc="generators", **({} if progress else {"disable": True}))
    # evaluations are after whole numbers of steps: times of different N differ by less than one, 1/N
    of_cases = [_stored_or_compared(c, name, folder).assign_coords(time=c.times) for name in bar]
    # texts of different lengths would be cut to the shortest
    conditions = [str(compared["condition"].values) for compared in of_cases]
    result = xr.concat([of.drop_vars("condition") for of in of_cases], xr.Variable("generator", list(CASES)))
    return result.assign_coords(condition=("generator", conditions)).assign_attrs(inputs="generator", notice="")


def _stored_or_compared(c: Configuration, name: str, folder: Path | None) -> xr.Dataset:
    """Read the result of a case from a file that is named by all that decides it, or compute and store it there."""
    words = json.dumps([name, asdict(c), VERSION], sort_keys=True)
    place = None if folder is None else folder / f"{NAME}-{sha256(words.encode()).hexdigest()[:24]}.nc"
    if place is not None and (stored := files.read_dataset(place)) is not None:
        return stored
    case, moments = with_moments(c, name, folder)
    compared = compare(case, moments, c, rng=_rngs(c, name, "student")[0]).drop_attrs()
    compared = compared.assign_coords(condition=case.condition)
    if place is not None:
        files.replace(place, lambda aside: compared.to_netcdf(aside, engine="h5netcdf"))
    return compared


def note(result: xr.Dataset) -> str:
    """One line on how much was measured."""
    sizes = sorted({int(N) for N in result["n_inputs"].values})
    return (
        f"N = {', '.join(map(str, sizes))}, {result.sizes['start']} teachers, {result.sizes['simulation']} simulations "
        f"of each up to time {float(result['time'][-1]):g}"
    )
