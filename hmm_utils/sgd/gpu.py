"""Exact one-sample SGD, Eq. (2), for a batch of fleets on a GPU: the blocks of :mod:`hmm_utils.sgd.block` in torch.

G fleets of the same widths, R rows each, train side by side, each on its own stream of samples, with its own learning
rate, on one of several data sets. With X (G, B, N) the inputs of B consecutive steps and v_k = 0 for padded units, for
every fleet and student::

    S = X Xᵀ / N               A = X Wᵀ / √N               (pre-activations before the block)

    for b = 0 … B−1:
        a_k = A_bk + Σ_{b'<b} S_bb' D_b'k
        e   = y_b − Σ_k v_k g(a_k),    D_bk = η e v_k g'(a_k),    v_k ← v_k + (η/N) e g(a_k)  if v is trained

    W ← W + Dᵀ X / √N

The products are batched matrix products. The recursion, B steps that must follow one another, is one Triton kernel on a
GPU: a single launch for all students of all fleets. Without Triton (it comes with torch's CUDA build on Linux), for
float64, and for students too wide for the registers of a kernel, it is a loop of torch operations with a dozen launches
per step: the same numbers up to rounding, but slow on a GPU.

Only :func:`networks`, :func:`samples` and :func:`batch`, which copy to or from the device, wait for it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from math import pi, sqrt

import numpy as np
import torch
from jaxtyping import Float64, Shaped

from hmm_utils.model.activations import ACTIVATIONS, Activation
from hmm_utils.model.networks import LAYERS, Network
from hmm_utils.model.parameters import choice

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

__all__ = ["BLOCK", "Batch", "Samples", "advance", "batch", "errors", "networks", "outputs", "samples"]

BLOCK = 64  # steps done at once by default
_FLOATS = 1 << 25  # numbers in the largest temporary array
_ROWS = 1024  # inputs searched for distinct values at once
_CODES = 256  # distinct values of a uint8

# g and g' of hmm_utils.model.activations for tensors.
_FIELDS = {
    "erf": (lambda a: torch.erf(a * sqrt(1 / 2)), lambda a: sqrt(2 / pi) * torch.exp(a * a / -2)),
    "relu": (torch.relu, lambda a: (a > 0).to(a.dtype)),
    "identity": (lambda a: a, torch.ones_like),
    "quadratic": (lambda a: a * a, lambda a: 2 * a),
}


# ---- Samples --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs and labels of one or several data sets, concatenated.

    Attributes
    ----------
    x : (ΣP, N) tensor
        Inputs as float32, or uint8 codes of their values.
    table : (data sets, 256) float32 tensor, optional
        Code c of data set d stands for table[d, c]; None for inputs that are not coded.
    y : (ΣP,) float32 tensor, optional
        Labels.
    starts, counts : (data sets,) int64 tensors
        First row and number of samples P of each data set.
    sizes : tuple of int
        ``counts``, on the host.
    """

    x: torch.Tensor
    table: torch.Tensor | None
    y: torch.Tensor | None
    starts: torch.Tensor
    counts: torch.Tensor
    sizes: tuple[int, ...]


def _slabs(x: np.ndarray) -> Iterator[np.ndarray]:
    """Iterate over the bits of float32 inputs (P, N), some rows at a time; they distinguish −0 from 0."""
    for start in range(0, len(x), _ROWS):
        yield np.ascontiguousarray(x[start : start + _ROWS]).view(np.uint32)


def _distinct(x: np.ndarray) -> np.ndarray | None:
    """Find the distinct values of float32 inputs, as sorted bits; None if they are too many for a uint8."""
    found = np.empty(0, np.uint32)
    for bits in _slabs(x):
        # Sorting is slow, so only new values are sorted.
        new = bits[found[_code(found, bits)] != bits] if found.size else bits
        found = np.union1d(found, new)
        if found.size > _CODES:
            return None
    return found


def _code(values: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Find the uint8 codes c with values[c] = bits, for bits that are among the sorted values."""
    return np.minimum(np.searchsorted(values, bits), len(values) - 1).astype(np.uint8)


def samples(data: Sequence[tuple[np.ndarray, np.ndarray | None]], device: str | torch.device) -> Samples:
    """Copy data sets to a device in single precision.

    If no data set has more than 256 distinct input values (grey levels and signs have fewer), the inputs are stored as
    codes of one byte, which are widened to exactly the same numbers. Data sets that share their arrays are stored once.

    Parameters
    ----------
    data : sequence of (x, y)
        Inputs x (P, N) and labels y (P,) or None of each data set.
    device : str or torch.device
        Where to.

    Returns
    -------
    Samples

    Raises
    ------
    ValueError
        For unlike N, for labels that do not match their inputs, or that only some data sets have.
    """
    xs = [np.asarray(x, np.float32, order="C") for x, _ in data]
    if any(x.ndim != 2 or len(x) == 0 for x in xs) or len({x.shape[1] for x in xs}) != 1:
        raise ValueError(f"inputs have shapes {[x.shape for x in xs]}: give (P, N) for every data set, all of one N.")
    ys = [None if y is None else np.asarray(y, np.float32) for _, y in data]
    if {None if y is None else y.shape == (len(x),) for x, y in zip(xs, ys, strict=True)} not in ({True}, {None}):
        shapes = [None if y is None else y.shape for y in ys]
        raise ValueError(f"labels have shapes {shapes}: give one label per input in every data set, or None in all.")
    sizes = tuple(map(len, xs))
    stored: dict[tuple, tuple[int, np.ndarray, np.ndarray | None]] = {}
    places = [
        stored.setdefault((_memory(x), None if y is None else _memory(y)), (len(stored), x, y))[0]
        for x, y in zip(xs, ys, strict=True)
    ]
    xs = [x for _, x, _ in stored.values()]
    labels = [y for _, _, y in stored.values() if y is not None]
    values: list[np.ndarray] = []
    for x in xs:
        if (distinct := _distinct(x)) is None:
            break
        values.append(distinct)
    coded = len(values) == len(xs)
    ends = np.cumsum([len(x) for x in xs])
    rows = torch.empty(ends[-1], xs[0].shape[1], dtype=torch.uint8 if coded else torch.float32, device=device)
    table = np.zeros((len(xs), _CODES), np.float32)
    for d, (x, end) in enumerate(zip(xs, ends, strict=True)):
        if coded:
            table[d, : len(values[d])] = values[d].view(np.float32)
            x = np.concatenate([_code(values[d], bits) for bits in _slabs(x)])
        # tensor() copies; from_numpy() would warn of read-only arrays.
        rows[end - len(x) : end] = torch.tensor(x)
    starts = ends - [len(x) for x in xs]
    return Samples(
        x=rows,
        table=torch.from_numpy(table[places]).to(device) if coded else None,
        y=torch.from_numpy(np.concatenate(labels)).to(device) if labels else None,
        starts=torch.from_numpy(starts[places]).to(device),
        counts=torch.tensor(sizes, device=device),
        sizes=sizes,
    )


def _memory(array: np.ndarray) -> tuple:
    """Describe where an array is in memory: equal for identical arrays."""
    return array.ctypes.data, array.shape, array.strides


def _inputs(samples: Samples, data: torch.Tensor, rows: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Look up the inputs (…, N) in these rows (…) of the data sets ``data``, which broadcasts to (…)."""
    x = samples.x[rows]
    if samples.table is not None:
        place = x.to(torch.int32) + (_CODES * data).to(torch.int32)[..., None]
        x = samples.table.view(-1).index_select(0, place.flatten()).view(x.shape)
    return x.to(dtype)


# ---- Fleets ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Batch:
    """G fleets of U students with the same widths, R hidden units in all; W, v and alive are updated in place.

    Attributes
    ----------
    W : (G, R, N) tensor
        First layers of all students of a fleet.
    v : (G, R) tensor
        Their second layers.
    alive : (G, U) bool tensor
        False for students that have diverged.
    lr, lr_v : (G,) tensors
        η, and η/N or 0 for a fixed second layer.
    data : (G,) int64 tensor
        The data set of each fleet.
    rows, real : (U, K) int64 and bool tensors
        Row of each hidden unit of each student, padded to the largest width K; ``real`` is False for padding.
    place : (R,) int64 tensor
        Where each row is among the U·K padded units.
    widths : tuple of int
        Widths of the students.
    data_sets : tuple of int
        ``data``, on the host.
    activation : Activation
        The non-linearity g.
    """

    W: torch.Tensor
    v: torch.Tensor
    alive: torch.Tensor
    lr: torch.Tensor
    lr_v: torch.Tensor
    data: torch.Tensor
    rows: torch.Tensor
    real: torch.Tensor
    place: torch.Tensor
    widths: tuple[int, ...]
    data_sets: tuple[int, ...]
    activation: Activation


def batch(
    fleets: Sequence[Sequence[Network]],
    *,
    lr: Sequence[float],
    layers: Sequence[str],
    data: Sequence[int],
    device: str | torch.device,
    dtype: torch.dtype = torch.float32,
) -> Batch:
    """Copy fleets of networks to a device.

    Parameters
    ----------
    fleets : sequence of sequences of Network
        The students of each fleet.
    lr, layers, data : sequences
        For each fleet: η, "both" or "first", and its data set in the :class:`Samples`.
    device : str or torch.device
        Where to.
    dtype : torch.dtype
        Precision.

    Returns
    -------
    Batch

    Raises
    ------
    ValueError
        For fleets that differ in their widths, N or activation, for a custom activation, for unknown ``layers``, and
        unless lr, layers and data have one entry per fleet.
    """
    kinds = {tuple((n.width, n.n_inputs, n.activation.name) for n in fleet) for fleet in fleets}
    if len(kinds) != 1 or len({kind[1:] for kind in next(iter(kinds))}) != 1:
        raise ValueError(
            "the fleets of a batch must have the same widths in the same order, one number of inputs and one g."
        )
    g = fleets[0][0].activation
    if ACTIVATIONS.get(g.name) is not g:
        raise ValueError(
            f"the activation {g.name!r} is not one of {', '.join(ACTIVATIONS)}, the ones that a device knows: "
            'train it with device = "cpu".'
        )
    if not len(lr) == len(layers) == len(data) == len(fleets):
        raise ValueError(
            f"{len(fleets)} fleets have {len(lr)} learning rates, {len(layers)} layers and {len(data)} data sets: "
            "give one of each per fleet."
        )
    for which in layers:
        choice("layers", which, LAYERS)
    widths = tuple(n.width for n in fleets[0])
    U, K, N = len(widths), max(widths), fleets[0][0].n_inputs
    real = np.arange(K) < np.array(widths)[:, None]
    rows = np.zeros((U, K), np.int64)
    rows[real] = np.arange(sum(widths))

    def put(values: object, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor(np.asarray(values), dtype=dtype, device=device)

    return Batch(
        W=put([np.concatenate([n.W for n in fleet]) for fleet in fleets], dtype),
        v=put([np.concatenate([n.v for n in fleet]) for fleet in fleets], dtype),
        alive=torch.ones(len(fleets), U, dtype=torch.bool, device=device),
        lr=put(lr, dtype),
        lr_v=put([eta / N if which == "both" else 0 for eta, which in zip(lr, layers, strict=True)], dtype),
        data=put(data, torch.int64),
        rows=put(rows, torch.int64),
        real=put(real, torch.bool),
        place=put(np.flatnonzero(real), torch.int64),
        widths=widths,
        data_sets=tuple(int(d) for d in data),
        activation=g,
    )


def networks(batch: Batch) -> list[list[Network]]:
    """Return copies of the students of every fleet, in order; NaN for students that have diverged."""
    Ws, vs, alive = (tensor.cpu().numpy() for tensor in (batch.W, batch.v, batch.alive))
    ends = np.cumsum(batch.widths)
    fleets = []
    for W, v, lives in zip(Ws, vs, alive, strict=True):
        students = []
        for end, K, lived in zip(ends, batch.widths, lives, strict=True):
            keep = W.dtype.type(1 if lived else np.nan)
            students.append(Network(W[end - K : end] * keep, v[end - K : end] * keep, batch.activation))
        fleets.append(students)
    return fleets


# ---- Training -------------------------------------------------------------------------------------------------------


@contextmanager
def _matmul_precision(tf32: bool) -> Iterator[None]:
    """Do float32 matrix products on the GPU in float32, or with factors rounded to the 10 bits of TF32."""
    matmul = torch.backends.cuda.matmul
    name: str
    value: str | bool
    name, value = "fp32_precision", "tf32" if tf32 else "ieee"
    if not hasattr(matmul, name):  # before torch 2.9
        name, value = "allow_tf32", tf32
    before = getattr(matmul, name)
    setattr(matmul, name, value)
    try:
        yield
    finally:
        setattr(matmul, name, before)


def _product(a: torch.Tensor, b: torch.Tensor, scale: float) -> torch.Tensor:
    """Compute scale · a bᵀ for every matrix of the batch, in one launch."""
    # With beta = 0 the first argument is not read.
    return torch.baddbmm(a.new_empty(1, 1, 1), a, b.mT, beta=0, alpha=scale)


def _recursion_torch(batch: Batch, A: torch.Tensor, S: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Run the recursion of the module's docstring in torch operations; v and alive are updated in place.

    Parameters
    ----------
    batch : Batch
        The fleets.
    A : (G, B, R) tensor
        Pre-activations before the block.
    S : (G, B, B) tensor
        X Xᵀ/N.
    y : (G, B) tensor
        Labels.

    Returns
    -------
    (G, B, R) tensor
        The factors D.
    """
    g, dg = _FIELDS[batch.activation.name]
    # g(0) = 0 and v = 0 keep padded units out of φ and at 0. With a product in place of where(), the NaN of another
    # student would spread.
    A = torch.where(batch.real, A[:, :, batch.rows], 0)
    v = torch.where(batch.real, batch.v[:, batch.rows], 0)
    lr, lr_v = batch.lr[:, None, None], batch.lr_v[:, None, None]
    for b in range(A.shape[1]):
        a = A[:, b]
        ga = g(a)
        e = y[:, b, None, None] - (v * ga).sum(-1, keepdim=True)
        batch.alive.logical_and_(e[..., 0].isfinite())
        d = lr * e * v * dg(a)
        v += lr_v * e * ga
        # D[b] replaces A[b], which is no longer needed.
        A[:, b] = d
        A[:, b + 1 :].addcmul_(S[:, b + 1 :, b, None, None], d[:, None])
    batch.v.copy_(v.flatten(1)[:, batch.place])
    return A.flatten(2)[:, :, batch.place]


if triton is not None:

    @triton.jit
    def _recursion_kernel(
        A, S, y, D, v, alive, lr, lr_v, rows, real, S_fleet, y_fleet, B, R, U, K,
        g_name: tl.constexpr, K_PADDED: tl.constexpr, B_PADDED: tl.constexpr,
    ):  # fmt: skip
        """Run the recursion for one student; arguments as in `_recursion_torch`, S_fleet and y_fleet the strides."""
        u, fleet = tl.program_id(0), tl.program_id(1).to(tl.int64)
        k, c = tl.arange(0, K_PADDED), tl.arange(0, B_PADDED)
        is_unit = tl.load(real + u * K + k, mask=k < K, other=0) != 0
        row = tl.load(rows + u * K + k, mask=k < K, other=0)
        S += fleet * S_fleet
        y += fleet * y_fleet
        A += fleet * B * R + row
        D += fleet * B * R + row
        v += fleet * R + row
        alive += fleet * U + u
        eta, eta_v = tl.load(lr + fleet), tl.load(lr_v + fleet)
        v_k = tl.load(v, mask=is_unit, other=0.0)
        lives = tl.load(alive)
        # D of the steps so far stays in registers, one row per step.
        done = tl.zeros((B_PADDED, K_PADDED), A.dtype.element_ty)
        s = tl.zeros((B_PADDED,), A.dtype.element_ty)
        before = tl.load(A, mask=is_unit, other=0.0)
        label = tl.load(y)
        for b in range(B):
            # The numbers of the next step are loaded now, so that they have arrived when it begins.
            n = tl.minimum(b + 1, B - 1)
            next_s = tl.load(S + n * B + c, mask=c < n, other=0.0)
            next_before = tl.load(A + n * R, mask=is_unit, other=0.0)
            next_label = tl.load(y + n)

            a = before + tl.sum(s[:, None] * done, axis=0)
            if g_name == "erf":
                ga = tl.erf(a * 0.7071067811865476)
                dga = 0.7978845608028654 * tl.exp(a * a * -0.5)
            elif g_name == "relu":
                # NaN must pass through g, so that divergence is noticed.
                ga = tl.where(a <= 0, 0.0, a)
                dga = tl.where(a > 0, 1.0, 0.0)
            elif g_name == "identity":
                ga = a
                dga = tl.full((K_PADDED,), 1.0, a.dtype)
            else:
                ga = a * a
                dga = 2.0 * a
            e = label - tl.sum(v_k * ga, axis=0)
            lives = lives & (tl.abs(e) < float("inf"))
            d = eta * e * v_k * dga
            v_k += eta_v * e * ga
            done = tl.where((c == b)[:, None], d[None, :], done)
            tl.store(D + b * R, d, mask=is_unit)
            s, before, label = next_s, next_before, next_label
        tl.store(v, v_k, mask=is_unit)
        tl.store(alive, lives)


_MOST_WARPS = 16


def _warps(K: int, B: int) -> int:
    """Choose the warps per student so that each thread has at most 64 of the B·K numbers D in registers.

    Fewer warps are faster while the registers last, because the two sums of a step stay within one warp. A result above
    16 means that the student is too wide.
    """
    return max(1, triton.next_power_of_2(K) * triton.next_power_of_2(B) // (64 * 32))


def _recursion_triton(batch: Batch, A: torch.Tensor, S: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Run `_recursion_torch` in one launch: one program per student of every fleet."""
    (G, B, R), (U, K) = A.shape, batch.rows.shape
    A, D = A.contiguous(), torch.empty_like(A, memory_format=torch.contiguous_format)
    _recursion_kernel[U, G](
        *(A, S, y, D, batch.v, batch.alive, batch.lr, batch.lr_v, batch.rows, batch.real),
        *(S.stride(0), y.stride(0), B, R, U, K),
        g_name=batch.activation.name,
        K_PADDED=triton.next_power_of_2(K),
        B_PADDED=triton.next_power_of_2(B),
        num_warps=_warps(K, B),
        enable_fp_fusion=True,  # a · b + c with one rounding; Triton warns if this is not specified
    )
    return D


@cache
def _triton_works(device: torch.device) -> bool:
    """Whether the kernel can be built, which also requires a C compiler and a GPU that Triton supports."""
    if triton is None:
        return False
    one = Network(np.zeros((1, 1)), np.zeros(1), ACTIVATIONS["identity"])
    probe = batch([[one]], lr=[0.0], layers=["first"], data=[0], device=device)
    zeros = torch.zeros(1, 2, 2, device=device)
    try:
        _recursion_triton(probe, zeros[..., :1], zeros, zeros[:, 0])
    except Exception as error:
        warnings.warn(
            f"Triton cannot build its kernel here, training goes on without it and takes longer: "
            f"{type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=3,
        )
        return False
    return True


def _recursion(batch: Batch, A: torch.Tensor, S: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    fits = A.is_cuda and A.dtype == torch.float32 and _triton_works(A.device)
    fits = fits and _warps(batch.rows.shape[1], A.shape[1]) <= _MOST_WARPS
    return (_recursion_triton if fits else _recursion_torch)(batch, A, S, y)


def _on_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    tensor = torch.tensor(array, dtype=torch.int64)
    # From pageable memory the host would wait until the device has caught up.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _check_data(batch: Batch, samples: Samples) -> None:
    if not 0 <= min(batch.data_sets) <= max(batch.data_sets) < len(samples.sizes):
        raise ValueError(
            f"the fleets use data sets {sorted(set(batch.data_sets))} and there are samples of {len(samples.sizes)}: "
            "give samples of each."
        )


def advance(
    batch: Batch, samples: Samples, indices: np.ndarray | torch.Tensor, *, block: int = BLOCK, tf32: bool = False
) -> None:
    """Take one SGD step, Eq. (2), with each fleet on each of its samples, in the order given.

    Parameters
    ----------
    batch : Batch
        Fleets; trained in place.
    samples : Samples
        Labelled samples.
    indices : (G, n) int64 array or tensor
        Samples for each fleet, counted within its data set.
    block : int
        Number of steps done at once, which affects rounding only.
    tf32 : bool
        Whether the GPU may round the factors of matrix products to 10 bits: faster, to three digits.

    Raises
    ------
    ValueError
        Unless there is a row of indices for each fleet and labelled samples for each data set.
    IndexError
        For an index that is not between 0 and P − 1. Indices on the device are not checked.
    """
    G, _, N = batch.W.shape
    if len(indices) != G or indices.ndim != 2:
        raise ValueError(f"indices have shape {tuple(indices.shape)}: give (G, n), one row for each of {G} fleets.")
    _check_data(batch, samples)
    if samples.y is None:
        raise ValueError("the samples have no labels: give (x, y) for every data set to train on.")
    if isinstance(indices, np.ndarray):
        sizes = [samples.sizes[d] for d in batch.data_sets]
        for row, P in zip(indices, sizes, strict=True):
            if row.size and not 0 <= row.min() <= row.max() < P:
                raise IndexError(f"indices reach from {row.min()} to {row.max()}: there are {P} samples.")
        indices = _on_device(indices, batch.W.device)
    rows = samples.starts[batch.data][:, None] + indices
    whole = rows.shape[1] - rows.shape[1] % block
    with _matmul_precision(tf32):
        for part, B in ((rows[:, :whole], block), (rows[:, whole:], rows.shape[1] - whole)):
            if part.shape[1]:
                # Inputs and Gram matrices do not depend on the weights, so those of many blocks take one launch.
                for blocks in part.unflatten(1, (-1, B)).split(max(1, _FLOATS // (G * B * N)), dim=1):
                    _advance_blocks(batch, samples, blocks)


def _advance_blocks(batch: Batch, samples: Samples, rows: torch.Tensor) -> None:
    """Take the blocks of steps on the samples in ``rows`` (G, blocks, B)."""
    assert samples.y is not None
    N, dtype = batch.W.shape[2], batch.W.dtype
    X = _inputs(samples, batch.data[:, None, None], rows, dtype)
    y = samples.y[rows].to(dtype)
    S = _product(X.flatten(0, 1), X.flatten(0, 1), 1 / N).unflatten(0, rows.shape[:2])
    for j in range(rows.shape[1]):
        A = _product(X[:, j], batch.W, 1 / sqrt(N))
        D = _recursion(batch, A, S[:, j], y[:, j])
        batch.W.baddbmm_(D.mT, X[:, j], alpha=1 / sqrt(N))


# ---- Measuring ------------------------------------------------------------------------------------------------------


def _all_outputs(batch: Batch, samples: Samples) -> Iterator[tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]]:
    """Iterate over φ (G, U, n), y that broadcasts to it, and ``inside`` (G, 1, n), for n inputs at a time.

    If data sets differ in size, the last sample of the smaller ones is repeated, and ``inside`` is False there.
    """
    G, R, N = batch.W.shape
    shared = len(samples.sizes) == 1
    if not shared:
        _check_data(batch, samples)
    # (1, 1) for inputs that all fleets share, (G, 1) for each fleet's own
    data = batch.data.new_zeros(1, 1) if shared else batch.data[:, None]
    first, P = samples.starts[data], samples.counts[data]
    most, slab = max(samples.sizes), max(1, _FLOATS // (G * max(R, N)))
    for start in range(0, most, slab):
        i = torch.arange(start, min(start + slab, most), device=batch.W.device)
        rows = first + torch.minimum(i, P - 1)
        X = _inputs(samples, data, rows, batch.W.dtype)
        with _matmul_precision(tf32=False):
            a = torch.matmul(batch.W, X[0].mT if shared else X.mT).mul_(1 / sqrt(N))
        vg = _FIELDS[batch.activation.name][0](a).mul_(batch.v[..., None])
        # Consecutive students of the same width are summed at once.
        alike = [(K, len(list(same))) for K, same in groupby(batch.widths)]
        parts = vg.split([K * n for K, n in alike], dim=1)
        phi = torch.cat([part.unflatten(1, (n, K)).sum(2) for part, (K, n) in zip(parts, alike, strict=True)], dim=1)
        y = None if samples.y is None else samples.y[rows][:, None]
        yield phi, y, (i < P).expand(G, -1)[:, None]


def outputs(batch: Batch, samples: Samples) -> Shaped[torch.Tensor, "G U P"]:
    """Compute the outputs φ(x), Eq. (1), of every student on its data set, or on the only one.

    Parameters
    ----------
    batch : Batch
        Fleets.
    samples : Samples
        Inputs.

    Returns
    -------
    (G, U, P) tensor
        P is the largest if data sets differ in size, and φ is NaN beyond the others' ends.
    """
    return torch.cat([torch.where(inside, phi, torch.nan) for phi, _, inside in _all_outputs(batch, samples)], dim=-1)


def errors(batch: Batch, samples: Samples) -> dict[str, Float64[torch.Tensor, "_ U"]]:
    """Measure the errors of all students and the disagreements of all pairs, with standard errors.

    Fleets 2j and 2j + 1 are the two fleets of pair j, trained on the same data set. Each student is measured on its
    data set, or on the only one. Students with an output that is not finite are marked as no longer alive.

    Parameters
    ----------
    batch : Batch
        Fleets.
    samples : Samples
        Samples.

    Returns
    -------
    dict of float64 tensors
        For U students per fleet, and NaN for students that have diverged:

        - ``mse``, ``frac`` (G, U): half the mean square of φ − y, and the fraction of differing signs, sgn(0) = +1,
          Eq. (3); only for labelled samples
        - ``12_mse``, ``12_frac`` (G/2, U): the same between the two students of a pair, Eq. (5)
        - each of these with ``_se``: its standard error over the P samples, s/√P, or √(p(1 − p)/P) for a fraction p

    Raises
    ------
    ValueError
        For fleets that do not come in pairs, and for data sets without samples.
    """
    if batch.data_sets[::2] != batch.data_sets[1::2]:
        raise ValueError(
            f"the fleets train on data sets {list(batch.data_sets)}: fleets 2j and 2j+1 must be a pair on one data set."
        )
    sums: dict[str, torch.Tensor] = {}
    for phi, y, inside in _all_outputs(batch, samples):
        batch.alive.logical_and_(phi.isfinite().all(-1))
        # The square of a finite float32 is finite in double precision.
        phi = phi.double()
        compared = {"12_": (phi[::2], phi[1::2], inside[::2])}
        if y is not None:
            compared[""] = (phi, y.double(), inside)
        for key, (one, other, counts) in compared.items():
            square = torch.where(counts, (one - other).square() / 2, 0)
            differ = counts & ((one >= 0) != (other >= 0))
            for name, now in (("mse", square), ("square", square.square()), ("frac", differ)):
                sums[key + name] = sums.get(key + name, 0) + now.sum(-1, dtype=torch.float64)
    data = torch.zeros_like(batch.data) if len(samples.sizes) == 1 else batch.data
    P_all = samples.counts[data].double()[:, None]
    result: dict[str, torch.Tensor] = {}
    for key in ("12_", "") if "mse" in sums else ("12_",):
        P, alive = (P_all, batch.alive) if key == "" else (P_all[::2], batch.alive[::2] & batch.alive[1::2])
        mse, frac = sums[key + "mse"] / P, sums[key + "frac"] / P
        # s² = Σ(q − q̄)²/(P − 1) as a difference: in float64 it resolves an s of 1e-8 q̄
        variance = (sums[key + "square"] / P - mse.square()).clamp(min=0) * P / (P - 1).clamp(min=1)
        values = {"mse": mse, "mse_se": (variance / P).sqrt(), "frac": frac, "frac_se": (frac * (1 - frac) / P).sqrt()}
        result |= {key + name: torch.where(alive, value, torch.nan) for name, value in values.items()}
    return result
