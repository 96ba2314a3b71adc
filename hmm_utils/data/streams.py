"""Endless fresh samples for online SGD: no sample is used twice, and none is stored.

A source is inputs × task, as in :mod:`hmm_utils.model.datasets`, but both are drawn when they are used. Every input is
a function of latent coordinates c ~ N(0, I_D), x = G(c) − E G(c) ∈ R^N; a teacher on c or on x gives the label.

Inputs are centred by their known mean and not standardised by measured values, because this is what the equations of
motion describe.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Float

from hmm_utils.model import nonlinearities
from hmm_utils.model.networks import Network
from hmm_utils.model.parameters import whole

__all__ = ["FreshInputs", "Source", "gaussian", "generator", "latent_task", "structured", "teacher_task"]

# entries of x in one chunk, 16 MB: the product cF wants hundreds of samples at once to run at the full rate
_CHUNK_ENTRIES = 1 << 22
# chunks are multiples of this, so that the blocks of SGD steps are complete
_BLOCK = 64


@dataclass(frozen=True, eq=False, kw_only=True)
class FreshInputs:
    """Inputs x = G(c) − E G(c) of latent coordinates c ~ N(0, I_D).

    Attributes
    ----------
    x_of : callable
        c (n, D) float32 → x (n, N) float32, sample by sample; called in several threads at once.
    n_inputs, n_latent : int
        N and D.
    description : str
        One line.
    """

    x_of: Callable[[np.ndarray], np.ndarray]
    n_inputs: int
    n_latent: int
    description: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """Fresh inputs with the labels of a teacher that sees z = c or z = x.

    ::

        y = Σ_m ṽ_m g(w̃_m·z/√(dim z))

    Attributes
    ----------
    inputs : FreshInputs
    teacher : Network
        w̃ (M, D) or (M, N), ṽ (M,) and g.
    seen : callable
        (c, x) → z.
    task : str
        One line on the origin of the labels.
    """

    inputs: FreshInputs
    teacher: Network
    seen: Callable[[np.ndarray, np.ndarray], np.ndarray]
    task: str

    @property
    def description(self) -> str:
        """Inputs and task in one line."""
        return f"{self.inputs.description}; {self.task}"

    def latent(self, rng: np.random.Generator, n: int) -> Float[np.ndarray, "n D"]:
        """Draw n latent coordinates (n, D), float32: the sequence does not depend on the portions."""
        return rng.standard_normal((n, self.inputs.n_latent), dtype=np.float32)

    def samples(
        self, c: Float[np.ndarray, "n D"]
    ) -> tuple[Float[np.ndarray, "n N"], Float[np.ndarray, "n Z"], Float[np.ndarray, " n"]]:
        """Compute x (n, N), z (n, D) or (n, N), and y (n,) for latent coordinates, in their precision."""
        x = self.inputs.x_of(c)
        z = self.seen(c, x)
        return x, z, self.teacher(z)

    def chunks(self, rng: np.random.Generator, workers: int = 1) -> Generator[tuple[np.ndarray, np.ndarray]]:
        """Yield (x, y) without end, in chunks of a fixed length: a stream does not depend on how it is consumed.

        Latent coordinates are drawn in turn; the rest is done by ``workers`` threads, each on a chunk of its own, so
        that their number does not change the stream.
        """
        n = max(_CHUNK_ENTRIES // self.inputs.n_inputs // _BLOCK, 1) * _BLOCK
        with ThreadPoolExecutor(max_workers=workers) as pool:
            coming: deque[Future] = deque()
            while True:
                while len(coming) < workers:
                    coming.append(pool.submit(self.samples, self.latent(rng, n)))
                x, _, y = coming.popleft().result()
                yield x, y


def gaussian(n_inputs: int) -> FreshInputs:
    """i.i.d. inputs x = c ~ N(0, I_N)."""
    whole("n_inputs", n_inputs)
    return FreshInputs(x_of=lambda c: c, n_inputs=n_inputs, n_latent=n_inputs, description="i.i.d. Gaussian inputs")


def generator(
    G: Callable[[np.ndarray], np.ndarray],
    mean: np.ndarray | float,
    *,
    n_latent: int,
    description: str = "inputs of a generator",
) -> FreshInputs:
    """Centre the inputs of any function G: x = G(c) − mean.

    Parameters
    ----------
    G : callable
        Maps c (n, D) to (n, N), sample by sample.
    mean : (N,) array or float
        E G(c), or one number for all components.
    n_latent : int
        Latent dimension D.
    description : str
        One line.

    Raises
    ------
    ValueError
        For n_latent < 1, a G whose values at c = 0 are not finite or of another shape, or a mean that is not finite or
        of another shape.
    """
    whole("n_latent", n_latent)
    probe = np.asarray(G(np.zeros((2, n_latent), np.float32)))
    if probe.ndim != 2 or len(probe) != 2 or not probe.size or not np.isfinite(probe).all():
        raise ValueError(
            f"G maps latent coordinates 0 of shape (2, {n_latent}) to {probe.dtype} values of shape {probe.shape}: "
            "it must give finite numbers of shape (2, N)."
        )
    mean = np.asarray(mean, np.float32)
    if mean.shape not in ((), probe.shape[1:]) or not np.isfinite(mean).all():
        raise ValueError(
            f"the mean has shape {mean.shape}: give finite numbers of shape {probe.shape[1:]}, or one for all inputs."
        )
    centred = not mean.any()

    def x_of(c: np.ndarray) -> np.ndarray:
        x = np.ascontiguousarray(G(c), np.float32)
        return x if centred else x - mean

    return FreshInputs(x_of=x_of, n_inputs=probe.shape[1], n_latent=n_latent, description=description)


def structured(F: np.ndarray, f: str | Callable[[np.ndarray], np.ndarray], mean: np.ndarray | float) -> FreshInputs:
    """Hidden manifold, Eq. (6), without the standardisation of its inputs.

    ::

        x_i = f(u_i) − a,    u = cF/√D

    Parameters
    ----------
    F : (D, N) array
        Features.
    f : str or callable
        A name from :data:`hmm_utils.model.nonlinearities.NONLINEARITIES`, or a function that acts component-wise on
        float32 arrays.
    mean : float or (N,) array
        a = E f(u) for u ~ N(0, 1), or E f(u_i) of each input, if columns of F do not have the length √D.

    Raises
    ------
    ValueError
        For F that is not a matrix of finite numbers, an unknown name, or an f that does not act component-wise.
    """
    if F.ndim != 2 or not F.size or not np.isfinite(F).all():
        raise ValueError(f"the features have shape {F.shape}: give finite numbers of shape (D, N).")
    f = nonlinearities.get(f)
    function = f.fast or f.function
    D = len(F)
    scaled = np.ascontiguousarray(F / sqrt(D), np.float32)
    return generator(
        lambda c: function(c @ scaled),
        mean,
        n_latent=D,
        description=f"structured inputs x = f(cF/√D) − a with f = {f.name}, D = {D}",
    )


def latent_task(inputs: FreshInputs, teacher: Network) -> Source:
    """Labels y = Σ_m ṽ_m g(w̃_m·c/√D), Eq. (7): a teacher on the latent coordinates.

    Raises
    ------
    ValueError
        For a teacher without hidden units, with weights that are not finite, or for another D.
    """
    return _task(inputs, teacher, "latent coordinates", inputs.n_latent, lambda c, x: c)


def teacher_task(inputs: FreshInputs, teacher: Network) -> Source:
    """Labels y = Σ_m ṽ_m g(w̃_m·x/√N), Eq. (4): a teacher on the inputs.

    Raises
    ------
    ValueError
        For a teacher without hidden units, with weights that are not finite, or for another N.
    """
    return _task(inputs, teacher, "inputs", inputs.n_inputs, lambda c, x: x)


def _task(inputs: FreshInputs, teacher: Network, what: str, size: int, seen: Callable[..., np.ndarray]) -> Source:
    if teacher.width < 1:
        raise ValueError("the teacher has no hidden unit: give W as (M, …) and v as (M,) with M of at least 1.")
    if not (np.isfinite(teacher.W).all() and np.isfinite(teacher.v).all()):
        raise ValueError("the teacher has weights that are not finite: give finite W and v.")
    if teacher.n_inputs != size:
        raise ValueError(f"the teacher takes {teacher.n_inputs} numbers but there are {size} {what}: give W that fits.")
    task = f"teacher on the {what}, M = {teacher.width}, {teacher.activation.name}"
    return Source(inputs=inputs, teacher=teacher, seen=seen, task=task)
