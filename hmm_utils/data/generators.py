"""Generators x = G(c): deep networks in the place of the single layer f(cF/√D) of Eq. (6).

By the Gaussian equivalence conjecture for generators [1]_ a student sees of a generator only the mean μ = E x and the
covariances

::

    Ω = E[(x − μ)(x − μ)ᵀ]   (N, N),      Φ = E[(x − μ) cᵀ]   (N, D),      c ~ N(0, I_D).

They are sampled here, for any generator; :mod:`hmm_utils.theory.online.layers` computes those of random fully connected
ones.

References
----------
.. [1] Goldt, Loureiro, Reeves, Krzakala, Mézard and Zdeborová, arXiv:2006.14709.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod, sqrt
from pathlib import Path
from typing import cast

import numpy as np
import xarray as xr
from scipy.special import expit
from scipy.stats import kurtosis, skew

from hmm_utils.files import read_dataset, replace
from hmm_utils.model.nonlinearities import NONLINEARITIES, Nonlinearity
from hmm_utils.model.parameters import known, whole

__all__ = [
    "FUNCTIONS", "TRAINED", "Generator", "Layer", "convolutional", "covariances", "field_moments",
    "fully_connected", "load_layers", "local_fields", "participation_ratio", "random_layers", "recoverability",
    "save_layers", "standardised",
]  # fmt: skip

TRAINED = Path(__file__).resolve().parents[2] / "results" / "generator.safetensors"
"""Layers of the decoder that tools/train_generator.py trained on handwritten digits, in a checkout of the project."""

FUNCTIONS: Mapping[str, Nonlinearity] = NONLINEARITIES | {"sigmoid": Nonlinearity(name="sigmoid", function=expit)}
"""Name → f of the layers of generators, those of the hidden manifold and the logistic function."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Generator:
    """A function x = G(c), sample by sample.

    Attributes
    ----------
    name : str
        One line.
    n_latent, n_inputs : int
        D and N.
    push : callable
        c (n, D) float32 → x (n, N).
    content : str
        Identifies everything that decides G: two generators with the same content are the same function.
    """

    name: str
    n_latent: int
    n_inputs: int
    push: Callable[[np.ndarray], np.ndarray]
    content: str

    def __post_init__(self) -> None:
        whole("n_latent", self.n_latent)
        whole("n_inputs", self.n_inputs)

    def __call__(self, c: np.ndarray) -> np.ndarray:
        """Compute x (n, N) for latent coordinates c (n, D).

        Raises
        ------
        ValueError
            If c has another shape, or if x has another shape than announced or is not finite.
        """
        if c.ndim != 2 or c.shape[1] != self.n_latent:
            raise ValueError(f"latent coordinates have shape {c.shape}: {self.name} takes (n, {self.n_latent}).")
        x = np.asarray(self.push(c))
        if x.shape != (len(c), self.n_inputs):
            raise ValueError(
                f"{self.name} maps latent coordinates of shape {c.shape} to inputs of shape {x.shape}: "
                f"({len(c)}, {self.n_inputs}) was announced."
            )
        if not np.isfinite(x).all():
            raise ValueError(f"{self.name} gives inputs that are not finite: correct its weights.")
        return x

    def __repr__(self) -> str:
        return f"Generator({self.name}; D={self.n_latent}, N={self.n_inputs})"


def _fingerprint(arrays: Sequence[np.ndarray], *words: object) -> str:
    digest = hashlib.sha256(json.dumps(words).encode())
    for array in arrays:
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


# ---- Fully connected ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Layer:
    """A fully connected layer, x' = f(xF + b).

    Attributes
    ----------
    F : (N, N') array
    f : str
        A name from :data:`FUNCTIONS`.
    bias : (N',) array, optional
        b; by default 0.
    """

    F: np.ndarray
    f: str
    bias: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.F.ndim != 2 or 0 in self.F.shape or (self.bias is not None and self.bias.shape != self.F.shape[1:]):
            raise ValueError(
                f"F has shape {self.F.shape} and the bias {None if self.bias is None else self.bias.shape}: "
                "give F as (N, N') and the bias as (N',)."
            )
        known("f", self.f, FUNCTIONS)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Compute x' for inputs x (n, N)."""
        u = x @ self.F
        return FUNCTIONS[self.f](u if self.bias is None else u + self.bias)


def random_layers(sizes: Sequence[int], f: str, *, rng: np.random.Generator) -> tuple[Layer, ...]:
    """Draw layers with F_ij ~ N(0, 1/width before); a single one is Eq. (6).

    Parameters
    ----------
    sizes : sequence of int
        D, …, N.
    f : str
        A name from :data:`FUNCTIONS`.
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        For fewer than two sizes, a size below 1, or an unknown f.
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes = {tuple(sizes)}: give D, …, N, at least two numbers of at least 1.")
    return tuple(
        Layer(rng.standard_normal((after, before), dtype=np.float32).T / np.float32(sqrt(before)), f)
        for before, after in pairwise(sizes)
    )


def fully_connected(layers: Sequence[Layer], name: str = "fully connected generator") -> Generator:
    """Compose layers; raises ValueError if there is none or one does not fit the next."""
    sizes = _sizes(layers)

    def push(c: np.ndarray) -> np.ndarray:
        for layer in layers:
            c = layer(c)
        return c

    # content identifies stored moments, and was defined with F as (N', N)
    arrays = [array for layer in layers for array in (layer.F.T, layer.bias) if array is not None]
    content = _fingerprint(arrays, "fully connected", [layer.f for layer in layers])
    return Generator(name=name, n_latent=sizes[0], n_inputs=sizes[-1], push=push, content=content)


def _sizes(layers: Sequence[Layer]) -> list[int]:
    if not layers:
        raise ValueError("a generator without layers was asked for: give at least one.")
    for before, after in pairwise(layers):
        if after.F.shape[0] != before.F.shape[1]:
            raise ValueError(f"a layer of {before.F.shape[1]} units is followed by one that takes {after.F.shape[0]}.")
    return [layers[0].F.shape[0], *(layer.F.shape[1] for layer in layers)]


def save_layers(path: Path, layers: Sequence[Layer], metadata: Mapping[str, str]) -> None:
    """Write layers, and metadata on their origin, as a safetensors file; raises OSError if it cannot be written."""
    from safetensors.numpy import save_file

    arrays = {}
    for i, layer in enumerate(layers):
        arrays[f"{i}.F"] = np.ascontiguousarray(layer.F.T)  # (N', N), like a weight of torch
        if layer.bias is not None:
            arrays[f"{i}.bias"] = np.ascontiguousarray(layer.bias)
    words = dict(metadata) | {"foldings": ",".join(layer.f for layer in layers)}
    replace(path, lambda aside: save_file(arrays, aside, metadata=words))


def load_layers(path: Path) -> tuple[tuple[Layer, ...], dict[str, str]]:
    """Read layers and their metadata from a file of :func:`save_layers`.

    Raises
    ------
    FileNotFoundError
        Without the file.
    ValueError
        If it does not hold layers.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        names = metadata.pop("foldings").split(",")
        layers = tuple(Layer(arrays[f"{i}.F"].T, f, arrays.get(f"{i}.bias")) for i, f in enumerate(names))
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path} holds no layers ({error}): train again with tools/train_generator.py.") from error
    return layers, metadata


# ---- Convolutional --------------------------------------------------------------------------------------------------


def convolutional(
    n_latent: int = 100,
    channels: Sequence[int] = (512, 256, 128, 64),
    colours: int = 3,
    *,
    rng: np.random.Generator,
    n_calibration: int = 512,
) -> Generator:
    """Draw a random generator of images as in DCGAN [2]_.

    The first transposed convolution makes 4 × 4 pixels from c, each further one doubles the side (kernels 4 × 4), with
    batch normalisation and ReLU after each; a convolution with kernel 1 × 1 and a tanh make the colours. Kernels are
    N(0, 1/fan-in) before a normalisation, and N(0, 2/fan-in) before the tanh, whose argument then has the second
    moment 1.

    Batch normalisation would make an input depend on the others of its batch. Here the mean and standard deviation of
    each channel are measured once, so that G is a function of c alone.

    Parameters
    ----------
    n_latent : int
        Latent dimension D.
    channels : sequence of int
        Channels of the hidden layers.
    colours : int
        Channels of the images, by default 3 × 32 × 32 pixels, N = 3072.
    rng : numpy.random.Generator
    n_calibration : int
        Latent vectors for the normalisation.

    Raises
    ------
    ValueError
        For a size below 1.

    References
    ----------
    .. [2] Radford, Metz and Chintala, arXiv:1511.06434.
    """
    import torch
    from torch.nn.functional import conv_transpose2d

    sizes = (n_latent, *channels, colours, n_calibration)
    if not channels or min(sizes) < 1:
        raise ValueError(f"n_latent, channels, colours and n_calibration are {sizes}: give at least 1 for each.")

    def kernel(before: int, after: int, side: int, fan_in: float) -> torch.Tensor:
        values = rng.standard_normal((before, after, side, side), dtype=np.float32)
        return torch.from_numpy(values / np.float32(sqrt(fan_in)))

    # a stride of 2 lets every pixel see 2 × 2 of the 4 × 4 elements of the kernel
    kernels = [kernel(n_latent, channels[0], 4, n_latent)]
    kernels += [kernel(a, b, 4, 4 * a) for a, b in pairwise(channels)]
    last = kernel(channels[-1], colours, 1, channels[-1] / 2)

    def convolved(x: torch.Tensor, i: int) -> torch.Tensor:
        return conv_transpose2d(x, kernels[i], stride=2 if i else 1, padding=1 if i else 0)

    def column(c: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(c, np.float32))[:, :, None, None]

    norms = []
    with torch.inference_mode():
        x = column(rng.standard_normal((n_calibration, n_latent), dtype=np.float32))
        for i in range(len(kernels)):
            x = convolved(x, i)
            norms.append((x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)))
            x = torch.relu((x - norms[i][0]) / norms[i][1])

    def push(c: np.ndarray, slab: int = 16) -> np.ndarray:
        images = []
        with torch.inference_mode():
            # the widest layer of a slab of images fits into cache, that of a whole batch is a gigabyte
            for start in range(0, len(c), slab):
                x = column(c[start : start + slab])
                for i, (mean, deviation) in enumerate(norms):
                    x = torch.relu((convolved(x, i) - mean) / deviation)
                images.append(torch.tanh(conv_transpose2d(x, last)).flatten(1).numpy())
        return np.concatenate(images)

    side = 4 * 2 ** (len(channels) - 1)
    return Generator(
        name=f"random convolutional generator, {colours} × {side} × {side}",
        n_latent=n_latent,
        n_inputs=prod((colours, side, side)),
        push=push,
        content=_fingerprint([t.numpy() for t in (*kernels, last, *sum(norms, ()))], "convolutional"),
    )


# ---- Moments --------------------------------------------------------------------------------------------------------


def _batches(n_samples: int, batch: int) -> Iterator[int]:
    """Sizes of at least ten batches, as equal as can be."""
    n = max(10, -(-n_samples // batch))
    for i in range(n):
        yield (i + 1) * n_samples // n - i * n_samples // n


def covariances(
    generator: Generator, *, n_samples: int, rng: np.random.Generator, batch: int = 4096, folder: Path | None = None
) -> xr.Dataset:
    """Sample the moments of a generator, in double precision.

    Memory: five matrices (N, N), 400 MB for N = 3072.

    Parameters
    ----------
    generator : Generator
    n_samples : int
        Number of latent vectors, at least 20.
    rng : numpy.random.Generator
        It advances by one spawn.
    batch : int
        Number of latent vectors at a time, at least 2.
    folder : Path, optional
        Cache of results, by the generator's content, ``n_samples``, ``batch`` and the seed of ``rng``.

    Returns
    -------
    xarray.Dataset
        - ``mean`` (input), ``omega`` (input, other), ``phi`` (input, latent): μ, Ω and Φ
        - ``mean_error``, ``omega_error``, ``phi_error``: the standard error of an entry, root mean square over entries,
          from the scatter of batches

    Raises
    ------
    ValueError
        For too few samples, or from the generator.
    """
    if n_samples < 20 or batch < 2:
        raise ValueError(f"n_samples = {n_samples} and batch = {batch}: give at least 20 samples and batches of 2.")
    (child,) = rng.spawn(1)
    seed = cast(np.random.SeedSequence, child.bit_generator.seed_seq)
    words = [generator.content, n_samples, batch, type(child.bit_generator).__name__, seed.entropy, seed.spawn_key]
    key = hashlib.sha256(json.dumps(words, default=int).encode()).hexdigest()[:24]
    place = None if folder is None else Path(folder) / f"{key}.nc"
    cached = None if place is None else read_dataset(place)
    if cached is not None:
        return cached
    measured = _sampled(generator, list(_batches(n_samples, batch)), child)
    measured.attrs = {"generator": generator.name, "content": generator.content, "n_samples": n_samples}
    if place is not None:
        checked = {name: {"fletcher32": True} for name in measured.data_vars if measured[name].ndim}
        replace(place, lambda aside: measured.to_netcdf(aside, engine="h5netcdf", encoding=checked))
    return measured


def _sampled(generator: Generator, sizes: Sequence[int], rng: np.random.Generator) -> xr.Dataset:
    N, D = generator.n_inputs, generator.n_latent
    shapes = {"mean": (N,), "omega": (N, N), "phi": (N, D)}
    total, square = ({name: np.zeros(shape) for name, shape in shapes.items()} for _ in range(2))
    origin, n_samples = np.zeros(0), sum(sizes)
    for size in sizes:
        c = rng.standard_normal((size, D), dtype=np.float32)
        x = generator(c).astype(np.float64)
        # sums about a point near the mean, so that Ω is not the difference of two large numbers
        origin = origin if origin.size else x.mean(axis=0)
        x -= origin
        for name, of_batch in (("mean", x.mean(axis=0)), ("omega", x.T @ x / size), ("phi", x.T @ c / size)):
            total[name] += size / n_samples * of_batch
            square[name] += of_batch**2 / len(sizes)
    # batches are of equal size but for one sample, so that their scatter is that of equals
    error = {name: sqrt(np.mean(np.maximum(square[name] - total[name] ** 2, 0)) / (len(sizes) - 1)) for name in shapes}
    shift = total["mean"]
    unbiased = n_samples / (n_samples - 1)
    return xr.Dataset(
        {
            "mean": ("input", origin + shift),
            "omega": (("input", "other"), unbiased * (total["omega"] - np.outer(shift, shift))),
            # c has a mean of its own in the sample, but E c = 0 is known
            "phi": (("input", "latent"), total["phi"]),
        }
        | {f"{name}_error": value for name, value in error.items()}
    )


def standardised(generator: Generator, moments: xr.Dataset) -> tuple[Generator, xr.Dataset]:
    """Standardise a generator, (G(c) − μ)/σ with σ² = tr Ω/N, and its moments.

    Parameters
    ----------
    generator : Generator
    moments : xarray.Dataset
        Its ``mean``, ``omega`` and ``phi``, as from :func:`covariances`.

    Raises
    ------
    ValueError
        If the moments do not have this generator's size or leave no variance.
    """
    mean, omega = moments["mean"].values, _covariance(moments["omega"])
    if mean.shape != (generator.n_inputs,):
        raise ValueError(f"the moments are of {len(mean)} inputs: {generator.name} has {generator.n_inputs}.")
    sigma = sqrt(np.trace(omega) / len(omega))
    if sigma == 0:
        raise ValueError(f"{generator.name} gives the same input for every c: nothing can be standardised.")
    centred = Generator(
        name=f"{generator.name}, standardised",
        n_latent=generator.n_latent,
        n_inputs=generator.n_inputs,
        push=lambda c: ((generator(c) - mean) / sigma).astype(np.float32),
        content=_fingerprint([mean, np.array(sigma)], "standardised", generator.content),
    )
    scaled = moments.assign(mean=moments["mean"] * 0, omega=moments["omega"] / sigma**2, phi=moments["phi"] / sigma)
    errors = {"mean_error": sigma, "omega_error": sigma**2, "phi_error": sigma}
    return centred, scaled.assign({name: scaled[name] / by for name, by in errors.items() if name in scaled})


def _covariance(omega: xr.DataArray | np.ndarray) -> np.ndarray:
    omega = np.asarray(omega, dtype=float)
    if omega.ndim != 2 or omega.shape[0] != omega.shape[1]:
        raise ValueError(f"Ω has shape {omega.shape}: give a square matrix (N, N).")
    if not np.isfinite(omega).all():
        raise ValueError("Ω holds values that are not finite: sample it again from a generator with finite inputs.")
    return omega


def _modes(omega: xr.DataArray | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors of Ω, ascending."""
    rho, psi = np.linalg.eigh(_covariance(omega))
    if rho[0] < -1e-9 * max(rho[-1], 0) or rho[-1] < 0:
        raise ValueError(
            f"Ω has the eigenvalue {rho[0]:.3g} beside {rho[-1]:.3g}: a covariance is positive semi-definite, "
            "sample it or correct it."
        )
    return np.maximum(rho, 0), psi


def participation_ratio(omega: xr.DataArray | np.ndarray) -> float:
    """(tr Ω)²/tr Ω²: the number of directions that the inputs fill, N for independent ones.

    Raises
    ------
    ValueError
        For an Ω that is 0 or not a covariance.
    """
    rho, _ = _modes(omega)
    if not rho.any():
        raise ValueError("Ω is 0: inputs that do not vary fill no direction.")
    return float(rho.sum() ** 2 / (rho**2).sum())


def recoverability(moments: xr.Dataset) -> float:
    """tr(ΦᵀΩ⁺Φ)/D: the part of the variance of c that a linear function of x explains, between 0 and 1.

    Sampled moments overestimate it by about (1 − recoverability) N/n_samples, as any regression does.

    Raises
    ------
    ValueError
        For an Ω that is not a covariance.
    """
    rho, psi = _modes(moments["omega"])
    # single-precision inputs leave noise of this size in directions that they do not fill
    filled = rho > 1e-10 * rho[-1]
    along = psi[:, filled].T @ moments["phi"].values
    return float((along**2 / rho[filled, None]).sum() / moments.sizes["latent"])


# ---- Local fields ---------------------------------------------------------------------------------------------------


def local_fields(
    generator: Generator,
    W: np.ndarray,
    *,
    mean: np.ndarray,
    n_samples: int,
    rng: np.random.Generator,
    batch: int = 4096,
) -> xr.DataArray:
    """Sample local fields λ_k = w_k·(x − μ)/√N of students on fresh inputs.

    Parameters
    ----------
    generator : Generator
    W : (K, N) array
        First layer of the students.
    mean : (N,) array
        μ.
    n_samples : int
    rng : numpy.random.Generator
    batch : int
        Number of inputs at a time.

    Returns
    -------
    xarray.DataArray
        Over sample and unit.

    Raises
    ------
    ValueError
        If W or the mean does not fit the generator, or for ``n_samples`` < 1.
    """
    N = generator.n_inputs
    if W.ndim != 2 or W.shape[1] != N or mean.shape != (N,):
        raise ValueError(f"W has shape {W.shape} and the mean {mean.shape}: give W as (K, {N}) and the mean as ({N},).")
    whole("n_samples", n_samples)
    lam = np.empty((n_samples, len(W)))
    for start in range(0, n_samples, batch):
        c = rng.standard_normal((min(batch, n_samples - start), generator.n_latent), dtype=np.float32)
        lam[start : start + batch] = (generator(c) - mean) @ W.T / sqrt(N)
    return xr.DataArray(lam, dims=("sample", "unit"), name="lambda")


def field_moments(lam: xr.DataArray) -> xr.Dataset:
    """Skewness and excess kurtosis of each local field, 0 if it is Gaussian, and the standard errors of n samples.

    For n samples of a Gaussian these are √(6/n) and √(24/n).
    """
    n = lam.sizes["sample"]
    of_units = lam.transpose("sample", "unit").values
    return xr.Dataset(
        {
            "skewness": ("unit", skew(of_units)),
            "excess_kurtosis": ("unit", kurtosis(of_units)),
            "skewness_error": sqrt(6 / n),
            "excess_kurtosis_error": sqrt(24 / n),
        }
    )
