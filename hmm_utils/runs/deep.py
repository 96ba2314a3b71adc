"""Students of deep generators: online SGD on x = G(c) against the equations of motion for a Gaussian of the same Ω, Φ.

By the Gaussian equivalence conjecture for generators (Goldt, Loureiro, Reeves, Krzakala, Mézard & Zdeborová,
arXiv:2006.14709) ε_g follows from the covariances alone. Both sides start from the same weights here. The deviation

    d(t) = |ε_g(t), mean over simulations / ε_g(t), theory − 1|

is set against how far the local fields λ_k = w_k·x/√N are from a Gaussian. With the skewness κ₃ and the excess kurtosis
κ₄ of a field, the relative entropy of its density and a Gaussian's is, to leading order in both,

    J = κ₃²/12 + κ₄²/48,

and √J, root mean square over fields, is called their non-Gaussianity. n samples of a Gaussian leave √(1/n).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from dataclasses import replace as replaced
from functools import partial
from hashlib import sha256
from math import isfinite, sqrt
from pathlib import Path
from types import MappingProxyType

import numpy as np
import xarray as xr
from tqdm import tqdm

from hmm_utils.data import generators, streams
from hmm_utils.data.generators import Generator, Layer
from hmm_utils.files import read_dataset, replace
from hmm_utils.model import observables
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
# values of the spectrum that are kept, at ranks spaced evenly in the logarithm
_N_RANKS = 60


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What decides the numbers.

    n_inputs, n_latent  N and D of the fully connected generators
    hidden              widths of the layers between, if deep
    channels            of the convolutional one, which makes 3 × side × side pixels, side = 4 · 2^(layers − 1)
    stride              of the 28 × 28 pixels of the trained decoder, every stride-th in each direction
    few                 latent dimensions of the cases with too few of them
    n_samples           behind Ω and Φ; n_fields behind a histogram of local fields; n_test behind ε_g on test inputs
    n_starts            draws of teacher and student; n_simulations from each of them
    width, teacher_width, lr, time, n_times   K, M, η, and log-spaced times from time/1000 up to `time` in steps/N
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
        for name, value in asdict(self).items():
            for number in value if isinstance(value, tuple) else (value,):
                positive = isinstance(number, int | float) and isfinite(number) and number > 0
                if name not in ("lr", "time", "seed") and not (positive and isinstance(number, int)):
                    raise ValueError(f"{name} = {number}: give a whole number of at least 1.")
                if name in ("lr", "time") and not positive:
                    raise ValueError(f"{name} = {number}: give a positive, finite number.")

    @property
    def times(self) -> np.ndarray:
        return np.concatenate([[0], np.geomspace(self.time / 1000, self.time, self.n_times - 1)])


# ---- Cases ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """A generator, and a student that starts on it.

    layers     of a fully connected generator; None: it is none
    start      (N, K) and rng → w (K, N) to start from
    condition  of the theorem that is not met; empty: they are, as far as they are known
    shape      of an input that is a picture, (rows, columns) or (colours, rows, columns); empty: it is none
    """

    generator: Generator
    condition: str = ""
    shape: tuple[int, ...] = ()
    layers: tuple[Layer, ...] | None = None
    start: Callable[..., np.ndarray] = lambda shape, rng: rng.standard_normal(shape)


def _aligned(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """w_k = √N e_k: a student whose every unit looks at one input."""
    return sqrt(shape[1]) * np.eye(*shape)


def _connected(layers: tuple[Layer, ...], name: str, **others: object) -> Case:
    return Case(generator=generators.fully_connected(layers, name), layers=layers, **others)


def _decoder(c: Configuration, n_latent: int | None = None) -> tuple[Layer, ...]:
    """The trained decoder on every stride-th pixel, and with the n_latent units of largest weights alone, others 0."""
    (first, last), _ = generators.load_layers(generators.TRAINED)
    pixels = np.arange(last.F.shape[1]).reshape(28, 28)[:: c.stride, :: c.stride].ravel()
    latent = np.argsort(-np.linalg.norm(first.F, axis=1))[:n_latent]
    return Layer(first.F[latent], "relu", first.bias), Layer(last.F[:, pixels], "sigmoid", last.bias[pixels])


def _convolutional(c: Configuration, rng: np.random.Generator) -> Case:
    side = 4 * 2 ** (len(c.channels) - 1)
    return Case(generator=generators.convolutional(c.n_latent, c.channels, rng=rng), shape=(3, side, side))


def _digits(c: Configuration, n_latent: int | None, name: str, condition: str) -> Case:
    side = len(range(0, 28, c.stride))
    return _connected(_decoder(c, n_latent), name, condition=condition, shape=(side, side))


def _of_sizes(
    sizes: Callable[[Configuration], tuple[int, ...]], f: str, **others: object
) -> Callable[[Configuration, np.random.Generator], Case]:
    def case(c: Configuration, rng: np.random.Generator) -> Case:
        layers = generators.random_layers(sizes(c), f, rng=rng)
        return _connected(layers, f"{len(layers)} random layers of f = {f}", **others)

    return case


def _one(c: Configuration) -> tuple[int, ...]:
    return c.n_latent, c.n_inputs


def _deep(c: Configuration) -> tuple[int, ...]:
    return c.n_latent, *c.hidden, c.n_inputs


def _narrow(c: Configuration) -> tuple[int, ...]:
    return c.few, c.n_inputs


CASES: Mapping[str, Callable[[Configuration, np.random.Generator], Case]] = MappingProxyType(
    {
        "sgn, one layer": _of_sizes(_one, "sgn"),
        "sgn, deep": _of_sizes(_deep, "sgn"),
        "tanh, deep": _of_sizes(_deep, "tanh"),
        "convolutional": _convolutional,
        "decoder": lambda c, rng: _digits(c, None, "decoder of digits", "not random"),
        "decoder, few latents": lambda c, rng: _digits(
            c, c.few, "decoder of digits, most latents 0", "not random, D small"
        ),
        "sgn, few latents": _of_sizes(_narrow, "sgn", condition="D small"),
        "sgn, aligned student": _of_sizes(_one, "sgn", condition="student on single inputs", start=_aligned),
        "f even": _of_sizes(_one, "abs", condition="b = E u f(u) = 0"),
    }
)
"""Name → configuration and rng → the case."""


def with_moments(c: Configuration, name: str, folder: Path | None = None) -> tuple[Case, xr.Dataset]:
    """A case whose inputs are standardised, and the moments of its inputs: `generators.covariances`, kept in `folder`.

    Raises ValueError for an unknown name.
    """
    if name not in CASES:
        raise ValueError(f"unknown case {name!r}: choose one of {', '.join(CASES)}.")
    weights, samples = _rngs(c, name, "generator")
    case = CASES[name](c, weights)
    moments = generators.covariances(case.generator, n_samples=c.n_samples, rng=samples, folder=folder)
    standard, moments = generators.standardised(case.generator, moments)
    return replaced(case, generator=standard), moments


def pictures(case: Case, n: int, *, rng: np.random.Generator) -> np.ndarray:
    """n inputs in the shape of pictures, (n, rows, columns) or (n, colours, rows, columns); those of a generator that
    makes none are folded into the most nearly square rectangle."""
    N = case.generator.n_inputs
    rows = max(d for d in range(1, int(sqrt(N)) + 1) if N % d == 0)
    x = case.generator(rng.standard_normal((n, case.generator.n_latent), dtype=np.float32))
    return x.reshape(n, *(case.shape or (rows, N // rows)))


def _rngs(c: Configuration, name: str, what: str) -> list[np.random.Generator]:
    """Generators of random numbers that depend on the case alone, so that cases can be left out."""
    words = seeds.word(name, seeds.CASES), {"generator": 0, "student": 1}[what]
    return np.random.default_rng([c.seed, *words]).spawn(2)


# ---- Theory and simulation ------------------------------------------------------------------------------------------


def compare(case: Case, moments: xr.Dataset, c: Configuration, *, rng: np.random.Generator) -> xr.Dataset:
    """Simulations on fresh inputs of a standardised generator, and the theory from its moments.

    eps_g_mse (start, simulation, time)       from Q, R of the simulation
    eps_g_test_mse (start, simulation, time)  on test inputs, whatever the law of the fields, and its standard error
    theory (start, time)                      `motion.integrate` from the same weights
    propagated (start, time)                  with Ω, Φ from layer to layer; NaN where they cannot be followed so
    R (start), R_theory (start)               at the end: root mean square overlap with the teacher
    skewness, excess_kurtosis (when, field)   of the students' local fields at the start and at the end
    density (when, bin)                       of all of them, each divided by its standard deviation
    eigenvalue (rank)                         of Ω, descending
    participation, recoverability             of the generator

    Raises ValueError if the moments do not fit the generator or are no covariance, and what `online.train` raises.
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
    runs, fields = zip(*(_start(case, moments, c, child) for child in rng.spawn(c.n_starts)), strict=True)
    result = xr.concat(runs, "start").merge(_fields(fields))
    rho = np.linalg.eigvalsh(moments["omega"].values)[::-1]
    ranks = np.unique(np.geomspace(1, N, _N_RANKS).round().astype(int))
    return result.assign(
        eigenvalue=("rank", np.append(rho[ranks - 1], np.full(_N_RANKS - len(ranks), np.nan))),
        eigenvalue_rank=("rank", np.append(ranks, np.full(_N_RANKS - len(ranks), np.nan))),
        participation=participation,
        recoverability=generators.recoverability(moments),
        n_inputs=N,
        n_latent=D,
    )


def _start(
    case: Case, moments: xr.Dataset, c: Configuration, rng: np.random.Generator
) -> tuple[xr.Dataset, tuple[xr.DataArray, xr.DataArray]]:
    """One teacher, one student, its simulations and their theory; the local fields at the start and at the end."""
    N, D = case.generator.n_inputs, case.generator.n_latent
    omega, phi = moments["omega"].values, moments["phi"].values
    weights, tests, streamed = rng.spawn(3)
    teacher = random_network(D, c.teacher_width, rng=weights, layers="first")
    v = random_network(N, c.width, rng=weights).v
    # the engine's precision, so that both sides start from the very same numbers
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
    found = trained[["eps_g_mse", "eps_g_test_mse", "eps_g_test_mse_se"]].assign(
        theory=("time", theory["eps_g_mse"].values),
        propagated=("time", _propagated(case, student, teacher, steps, c.lr)),
        R=float(np.sqrt((trained["R"].isel(time=-1) ** 2).mean())),
        R_theory=float(np.sqrt((theory["R"].isel(time=-1) ** 2).mean())),
    )
    mean = np.zeros(N)
    fields = tuple(
        generators.local_fields(case.generator, W, mean=mean, n_samples=c.n_fields, rng=tests)
        for W in (student.W, trained["W"].isel(simulation=0).values)
    )
    return found, fields


def _propagated(case: Case, student: Network, teacher: Network, times: np.ndarray, lr: float) -> np.ndarray:
    """ε_g(t) with the covariances of `layers.propagated`; NaN for a generator that is not random layers of odd f
    without a bias."""
    if case.layers is None or not are_odd(case.layers):
        return np.full(times.shape, np.nan)
    _, moments = generators.standardised(case.generator, propagated(case.layers))
    start = motion.generator(student, teacher, moments["omega"].values, moments["phi"].values)
    return motion.integrate(start, times, lr=lr)["eps_g_mse"].values


def _fields(of_starts: tuple[tuple[xr.DataArray, xr.DataArray], ...]) -> xr.Dataset:
    """Moments and the density of the local fields of all starts."""
    found = []
    for fields in zip(*of_starts, strict=True):
        lam = np.concatenate([lam.transpose("sample", "unit").values for lam in fields], axis=1)
        moments = generators.field_moments(xr.DataArray(lam, dims=("sample", "unit")))
        density, _ = np.histogram(lam / lam.std(axis=0), _EDGES, density=True)
        of_units = moments[["skewness", "excess_kurtosis"]].rename(unit="field")
        found.append(of_units.assign(density=("bin", density)))
    centres = (_EDGES[1:] + _EDGES[:-1]) / 2
    return xr.concat(found, xr.Variable("when", ["start", "end"])).assign_coords(bin=centres)


# ---- What is read off -----------------------------------------------------------------------------------------------


def deviation(result: xr.Dataset, of: str = "eps_g_mse", theory: str = "theory") -> xr.Dataset:
    """d(t) of the module's docstring: its mean and its largest value over the times that were measured (start), and its
    mean over the last quarter of them (`late`). NaN where a simulation diverged."""
    d = abs(result[of].mean("simulation", skipna=False) / result[theory] - 1)
    late = d.isel(time=slice(-max(d.sizes["time"] // 4, 1), None)).mean("time", skipna=False)
    return xr.Dataset({"mean": d.mean("time", skipna=False), "largest": d.max("time", skipna=False), "late": late})


def non_gaussianity(result: xr.Dataset) -> xr.DataArray:
    """√⟨κ₃²/12 + κ₄²/48⟩ over local fields, of students at the start and at the end (when)."""
    return np.sqrt((result["skewness"] ** 2 / 12 + result["excess_kurtosis"] ** 2 / 48).mean("field"))


def summary(result: xr.Dataset) -> xr.Dataset:
    """Everything that is read off, averaged over draws of teacher and student (generator).

    mean, largest, late        deviations of ε_g from Q and R; test_… of ε_g on test inputs
    skewness, excess_kurtosis  root mean square over the local fields of students at the end
    non_gaussianity            the larger of that at the start and at the end
    """
    by_overlaps = deviation(result).mean("start")
    on_tests = deviation(result, "eps_g_test_mse").mean("start")
    last = result.sel(when="end", drop=True)
    found = xr.merge([by_overlaps, on_tests.rename({name: f"test_{name}" for name in on_tests})])
    return found.assign(
        skewness=np.sqrt((last["skewness"] ** 2).mean("field")),
        excess_kurtosis=np.sqrt((last["excess_kurtosis"] ** 2).mean("field")),
        non_gaussianity=non_gaussianity(result).max("when"),
        **{name: result[name] for name in ("participation", "recoverability", "condition")},
    )


# ---- Measured -------------------------------------------------------------------------------------------------------


def measure(c: Configuration, *, folder: Path | None = None, progress: bool = True) -> xr.Dataset:
    """`compare` for every case, along a dimension `generator`.

    folder  where covariances and finished cases are kept, so that a run that was stopped goes on; None: nowhere

    Raises ValueError as `compare`; FileNotFoundError without the trained decoder.
    """
    bar = tqdm(CASES, desc="generators", **({} if progress else {"disable": True}))
    # evaluations are after whole numbers of steps: times of different N differ by less than one, 1/N
    found = [_finished(c, name, folder).assign_coords(time=c.times) for name in bar]
    # texts of different lengths would be cut to the shortest
    conditions = [str(one["condition"].values) for one in found]
    result = xr.concat([one.drop_vars("condition") for one in found], xr.Variable("generator", list(CASES)))
    return result.assign_coords(condition=("generator", conditions)).assign_attrs(inputs="generator", notice="")


def _finished(c: Configuration, name: str, folder: Path | None) -> xr.Dataset:
    """The result of a case, from a file that is named by all that decides it, or computed and then stored there."""
    words = json.dumps([name, asdict(c), VERSION], sort_keys=True)
    place = None if folder is None else folder / f"{NAME}-{sha256(words.encode()).hexdigest()[:24]}.nc"
    if place is not None and (stored := read_dataset(place)) is not None:
        return stored
    case, moments = with_moments(c, name, folder)
    found = compare(case, moments, c, rng=_rngs(c, name, "student")[0]).drop_attrs()
    found = found.assign_coords(condition=case.condition)
    if place is not None:
        replace(place, lambda aside: found.to_netcdf(aside, engine="h5netcdf"))
    return found


def note(result: xr.Dataset) -> str:
    """One line on how much was measured."""
    sizes = sorted({int(N) for N in result["n_inputs"].values})
    return (
        f"N = {', '.join(map(str, sizes))}, {result.sizes['start']} teachers, {result.sizes['simulation']} simulations "
        f"of each up to time {float(result['time'][-1]):g}"
    )
