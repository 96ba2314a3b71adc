"""Where pairs of fleets are trained and measured: in threads of the processor, or all at once on a torch device.

Both backends have the same interface. Their constructors take

- ``pairs``: the students of every pair of fleets, all pairs with the same widths in the same order,
- ``samples``: by purpose ("train", …), the inputs and labels (x, y) for every pair; y is None if there are no labels,
- ``lr`` and ``layers``: η and the layers trained, for every pair,
- ``alive``: (pairs, 2, U) bools, False for students that diverged before; by default none has,
- ``block``: SGD steps done at once, or None for a value that suits the backend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import reduce
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64

from hmm_utils.model.networks import Network
from hmm_utils.model.observables import errors, moments
from hmm_utils.sgd.block import Fleet, advance, outputs

__all__ = ["Array", "CpuBackend", "Pair", "Samples", "TorchBackend"]

# Inputs whose outputs are computed at once, reduced so that the pre-activations of a thread fill at most 16 MB.
_SLAB = 1024
_SLAB_ENTRIES = 1 << 22

Array = Any
"""An array of numpy, or a tensor of torch, which is not imported for its type alone because that takes seconds."""

Pair = tuple[Sequence[Network], Sequence[Network]]
"""The students of the two fleets of a pair."""

Samples = Mapping[str, Sequence[tuple[np.ndarray, np.ndarray | None]]]
"""Inputs and labels for every pair of fleets, by purpose."""


class CpuBackend:
    """Pairs of fleets on the processor, with one thread per stream of samples or slab of inputs from ``pool``."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        samples: Samples,
        lr: Sequence[float],
        layers: Sequence[str],
        *,
        alive: np.ndarray | None = None,
        block: int | None,
        pool: Executor,
    ) -> None:
        self._samples, self._lr, self._layers, self._block, self._pool = samples, lr, layers, block, pool
        self._fleets = [Fleet.of(students) for pair in pairs for students in pair]
        if alive is not None:
            for fleet, lives in zip(self._fleets, np.concatenate(alive), strict=True):
                fleet.alive[:] = lives

    def advance(self, indices: Sequence[Int64[np.ndarray, " steps"]]) -> None:
        """Take one SGD step on each sample of every stream; streams 2p and 2p + 1 belong to pair p."""

        def one(stream: int) -> None:
            x, y = self._samples["train"][stream // 2]
            assert y is not None
            lr, layers = self._lr[stream // 2], self._layers[stream // 2]
            advance(self._fleets[stream], x, y, indices[stream], lr=lr, layers=layers, block=self._block)

        list(self._pool.map(one, range(len(self._fleets))))

    def errors(self, purpose: str) -> dict[str, Float[Array, "pairs ..."]]:
        """Measure the errors of all students and the disagreements of all pairs on the samples of that purpose.

        Students with an output that is not finite are marked as no longer alive.

        Returns
        -------
        dict of float64 arrays
            As in :func:`hmm_utils.model.observables.errors`: of the students, (pairs, 2, U), if there are labels, and
            under ``"12_…"`` between the students of a pair, (pairs, U).
        """
        pairs = zip(self._fleets[::2], self._fleets[1::2], strict=True)
        measured = [self._pair_errors(*given) for given in zip(pairs, self._samples[purpose], strict=True)]
        return {name: np.stack([one[name] for one in measured]) for name in measured[0]}

    def _pair_errors(
        self, pair: tuple[Fleet, Fleet], samples: tuple[np.ndarray, np.ndarray | None]
    ) -> dict[str, np.ndarray]:
        x, y = samples
        slab = max(min(_SLAB, _SLAB_ENTRIES // len(pair[0].W)), 1)

        def one(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
            part = slice(start, start + slab)
            # Overflow is reported as divergence. The setting of numpy does not reach other threads.
            with np.errstate(over="ignore", invalid="ignore"):
                phi = np.stack([outputs(fleet, x[part]) for fleet in pair])
                fit = None if y is None else moments(phi, y[part])
                return np.isfinite(phi).all(axis=-1), moments(phi[0], phi[1]), fit

        finite, between, fit = zip(*self._pool.map(one, range(0, len(x), slab)), strict=True)
        for fleet, good in zip(pair, np.all(finite, axis=0), strict=True):
            fleet.alive[~good] = False
        with np.errstate(over="ignore", invalid="ignore"):
            measured = {f"12_{name}": value for name, value in errors(reduce(np.add, between), len(x)).items()}
            return measured if y is None else measured | errors(reduce(np.add, fit), len(x))

    def alive(self) -> Bool[Array, "pairs 2 U"]:
        """Return which students have not diverged."""
        return np.stack([fleet.alive for fleet in self._fleets]).reshape(-1, 2, self._fleets[0].alive.size)

    def pairs(self) -> list[Pair]:
        """Return copies of the students of every pair."""
        fleets = [fleet.networks() for fleet in self._fleets]
        return list(zip(fleets[::2], fleets[1::2], strict=True))


class TorchBackend:
    """Pairs of fleets on the torch device ``where``, all at once; measured errors stay on the device.

    ``tf32`` lets a GPU round the factors of matrix products to 10 bits. The methods are those of :class:`CpuBackend`,
    with tensors in place of arrays.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        samples: Samples,
        lr: Sequence[float],
        layers: Sequence[str],
        *,
        alive: np.ndarray | None = None,
        block: int | None,
        where: str,
        tf32: bool,
    ) -> None:
        from hmm_utils.sgd import gpu

        self._gpu, self._block, self._tf32 = gpu, gpu.BLOCK if block is None else block, tf32
        self._samples = {purpose: gpu.samples(sets, where) for purpose, sets in samples.items()}
        self._batch = gpu.batch(
            [students for pair in pairs for students in pair],
            lr=[eta for eta in lr for _ in range(2)],
            layers=[which for which in layers for _ in range(2)],
            data=[p for p in range(len(pairs)) for _ in range(2)],
            device=where,
        )
        if alive is not None:
            self._batch.alive.copy_(self._batch.alive.new_tensor(alive).flatten(0, 1))

    def advance(self, indices: Sequence[Int64[np.ndarray, " steps"]]) -> None:
        """Take one SGD step on each sample of every stream."""
        self._gpu.advance(
            self._batch, self._samples["train"], np.stack(indices), block=self._block, tf32=self._tf32
        )  # fmt: skip

    def errors(self, purpose: str) -> dict[str, Float[Array, "pairs ..."]]:
        """Measure the errors of all students and the disagreements of all pairs."""
        measured = self._gpu.errors(self._batch, self._samples[purpose])
        return {k: v if k.startswith("12_") else v.reshape(-1, 2, v.shape[-1]) for k, v in measured.items()}

    def alive(self) -> Bool[Array, "pairs 2 U"]:
        """Return which students have not diverged."""
        return self._batch.alive.clone().reshape(-1, 2, self._batch.alive.shape[-1])

    def pairs(self) -> list[Pair]:
        """Return copies of the students of every pair."""
        fleets = self._gpu.networks(self._batch)
        return list(zip(fleets[::2], fleets[1::2], strict=True))
