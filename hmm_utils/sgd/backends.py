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
    """Pairs of fleets on the processor, with one thread per stream of samples or slab of inputs from ``pool``.

    Pairs of one of the ``groups`` differ in their labels alone: they have the same inputs, streams of samples, η and
    layers. They are trained as one pair of larger fleets, which reads and multiplies the inputs once. By default every
    pair is a group of its own.
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
        pool: Executor,
        groups: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self._samples, self._lr, self._layers, self._block, self._pool = samples, lr, layers, block, pool
        self._groups = [[p] for p in range(len(pairs))] if groups is None else groups
        self._order = np.argsort(np.concatenate(self._groups)).tolist()
        self._fleets = [
            tuple(
                Fleet.of(
                    [network for p in group for network in pairs[p][s]],
                    [task for task, p in enumerate(group) for _ in pairs[p][s]],
                )
                for s in range(2)
            )
            for group in self._groups
        ]
        self._train = [self._data("train", group) for group in self._groups if "train" in samples]
        if alive is not None:
            for fleets, group in zip(self._fleets, self._groups, strict=True):
                for s, fleet in enumerate(fleets):
                    fleet.alive[:] = np.concatenate([alive[p, s] for p in group])

    def _data(self, purpose: str, group: Sequence[int]) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the inputs of a group and its labels (P, T)."""
        labels = [y for _, y in (self._samples[purpose][p] for p in group) if y is not None]
        return self._samples[purpose][group[0]][0], np.stack(labels, axis=1) if labels else None

    def advance(self, indices: Sequence[Int64[np.ndarray, " steps"]]) -> None:
        """Take one SGD step on each sample of every stream; streams 2p and 2p + 1 belong to pair p."""

        def one(fleet: Fleet, p: int, s: int, x: np.ndarray, y: np.ndarray) -> None:
            advance(fleet, x, y, indices[2 * p + s], lr=self._lr[p], layers=self._layers[p], block=self._block)

        jobs = [
            (fleet, group[0], s, *data)
            for fleets, group, data in zip(self._fleets, self._groups, self._train, strict=True)
            for s, fleet in enumerate(fleets)
        ]
        list(self._pool.map(one, *zip(*jobs, strict=True)))

    def errors(self, purpose: str) -> dict[str, Float[Array, "pairs ..."]]:
        """Measure the errors of all students and the disagreements of all pairs on the samples of that purpose.

        Students with an output that is not finite are marked as no longer alive.

        Returns
        -------
        dict of float64 arrays
            As in :func:`hmm_utils.model.observables.errors`: of the students, (pairs, 2, U), if there are labels, and
            under ``"12_…"`` between the students of a pair, (pairs, U).
        """
        found = [
            one
            for fleets, group in zip(self._fleets, self._groups, strict=True)
            for one in self._group_errors(fleets, *self._data(purpose, group), len(group))
        ]
        return {name: np.stack([found[i][name] for i in self._order]) for name in found[0]}

    def _group_errors(
        self, fleets: tuple[Fleet, ...], x: np.ndarray, labels: np.ndarray | None, tasks: int
    ) -> list[dict[str, np.ndarray]]:
        """Measure the errors of the pairs of one group, in its order."""
        slab = max(min(_SLAB, _SLAB_ENTRIES // len(fleets[0].W)), 1)

        def one(start: int) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
            part = slice(start, start + slab)
            # Overflow is reported as divergence. The setting of numpy does not reach other threads.
            with np.errstate(over="ignore", invalid="ignore"):
                phi = np.stack([outputs(fleet, x[part]) for fleet in fleets])
                own = np.split(phi, tasks, axis=1)
                fit = [] if labels is None else [moments(f, y) for f, y in zip(own, labels[part].T, strict=True)]
                return np.isfinite(phi).all(axis=-1), [moments(f[0], f[1]) for f in own], fit

        finite, between, fit = zip(*self._pool.map(one, range(0, len(x), slab)), strict=True)
        for fleet, good in zip(fleets, np.all(finite, axis=0), strict=True):
            fleet.alive[~good] = False
        with np.errstate(over="ignore", invalid="ignore"):
            sums = [reduce(np.add, parts) for parts in zip(*between, strict=True)]
            found = [{f"12_{name}": value for name, value in errors(s, len(x)).items()} for s in sums]
            for one_found, parts in zip(found, zip(*fit, strict=True), strict=False):
                one_found |= errors(reduce(np.add, parts), len(x))
        return found

    def alive(self) -> Bool[Array, "pairs 2 U"]:
        """Return which students have not diverged."""
        groups = zip(self._fleets, self._groups, strict=True)
        alive = [np.split(np.stack([f.alive for f in fleets]), len(group), axis=1) for fleets, group in groups]
        return np.concatenate(alive)[self._order]

    def pairs(self) -> list[Pair]:
        """Return copies of the students of every pair."""
        found: list[Pair] = []
        for fleets, group in zip(self._fleets, self._groups, strict=True):
            first, second = (fleet.networks() for fleet in fleets)
            U = len(first) // len(group)
            found += [(first[i : i + U], second[i : i + U]) for i in range(0, len(first), U)]
        return [found[i] for i in self._order]


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
