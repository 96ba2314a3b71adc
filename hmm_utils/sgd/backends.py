"""Where pairs of fleets are trained and measured: in threads of the processor, or all at once on a torch device.

Both backends take the same arguments and answer to the same four names. A run is one pair on one data set. Samples are
given by what they are for ("train", …), as (x, y) for each run, where y may be None; `alive` (runs, 2, U) says which
students have not diverged before, if some have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np

from hmm_utils.model.networks import Network
from hmm_utils.model.observables import errors, moments
from hmm_utils.sgd.block import Fleet, advance, outputs

if TYPE_CHECKING:
    import torch

__all__ = ["CpuBackend", "Pair", "TorchBackend"]

# inputs whose outputs are computed at once: so many, and so few that the pre-activations of a thread fill 16 MB at most
_SLAB = 1024
_SLAB_ENTRIES = 1 << 22

Pair = tuple[Sequence[Network], Sequence[Network]]
SamplesByName = Mapping[str, Sequence[tuple[np.ndarray, np.ndarray | None]]]


class CpuBackend:
    """The fleets of all runs and how the compiled engine trains and measures them: a stream or a slab per thread."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        samples: SamplesByName,
        lr: Sequence[float],
        layers: Sequence[str],
        *,
        alive: np.ndarray | None = None,
        block: int | None,
        pool: Executor,
    ) -> None:
        self._samples, self._lr, self._layers, self._block, self._pool = samples, lr, layers, block, pool
        self._pairs = [tuple(Fleet.of(students) for students in pair) for pair in pairs]
        if alive is not None:
            for pair, lives in zip(self._pairs, alive, strict=True):
                for fleet, now in zip(pair, lives, strict=True):
                    fleet.alive[:] = now

    def advance(self, indices: Sequence[np.ndarray]) -> None:
        """One SGD step of every student on each sample of its stream; streams come in pairs, one for each run."""

        def one(stream: int) -> None:
            run, student = divmod(stream, 2)
            x, y = self._samples["train"][run]
            advance(
                *(self._pairs[run][student], x, y, indices[stream]),
                lr=self._lr[run],
                layers=self._layers[run],
                block=self._block,
            )

        list(self._pool.map(one, range(2 * len(self._pairs))))

    def errors(self, which: str) -> dict[str, np.ndarray]:
        """`observables.errors` of all students on the samples of that name, (runs, 2, U) each, if these have labels,
        and, as "12_…", of the students of a pair against each other, (runs, U) each.

        A student with an output that is not finite is marked as no longer alive.
        """
        measured = [self._pair_errors(pair, *self._samples[which][run]) for run, pair in enumerate(self._pairs)]
        return {name: np.stack([one[name] for one in measured]) for name in measured[0]}

    def _pair_errors(self, pair: tuple[Fleet, Fleet], x: np.ndarray, y: np.ndarray | None) -> dict[str, np.ndarray]:
        slab = max(min(_SLAB, _SLAB_ENTRIES // len(pair[0].W)), 1)

        def one(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
            part = slice(start, start + slab)
            # what overflows is found and reported as divergence; numpy's setting does not reach other threads
            with np.errstate(over="ignore", invalid="ignore"):
                phi = np.stack([outputs(fleet, x[part]) for fleet in pair])
                fit = None if y is None else moments(phi, y[part])
                return np.isfinite(phi).all(axis=-1), moments(phi[0], phi[1]), fit

        finite, between, fit = zip(*self._pool.map(one, range(0, len(x), slab)), strict=True)
        for fleet, good in zip(pair, np.all(finite, axis=0), strict=True):
            fleet.alive[~good] = False
        with np.errstate(over="ignore", invalid="ignore"):
            measured = {f"12_{name}": value for name, value in errors(sum(between), len(x)).items()}
            return measured if y is None else measured | errors(sum(fit), len(x))

    def alive(self) -> np.ndarray:
        """(runs, 2, U)"""
        return np.stack([[fleet.alive for fleet in pair] for pair in self._pairs])

    def pairs(self) -> list[Pair]:
        return [tuple(fleet.networks() for fleet in pair) for pair in self._pairs]


class TorchBackend:
    """The same on a torch device, all fleets at once; what is measured stays there until it is asked for."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        samples: SamplesByName,
        lr: Sequence[float],
        layers: Sequence[str],
        *,
        alive: np.ndarray | None = None,
        block: int | None,
        where: str,
        tf32: bool,
    ) -> None:
        from hmm_utils.sgd import gpu

        self._device, self._how = gpu, {"tf32": tf32} | ({} if block is None else {"block": block})
        self._samples = {name: gpu.samples(sets, where) for name, sets in samples.items()}
        self._batch = gpu.batch(
            [students for pair in pairs for students in pair],
            lr=np.repeat(lr, 2),
            layers=np.repeat(layers, 2),
            data=np.repeat(range(len(pairs)), 2),
            device=where,
        )
        if alive is not None:
            self._batch.alive.copy_(self._batch.alive.new_tensor(alive).flatten(0, 1))

    def advance(self, indices: Sequence[np.ndarray]) -> None:
        self._device.advance(self._batch, self._samples["train"], np.stack(indices), **self._how)

    def errors(self, which: str) -> dict[str, torch.Tensor]:
        measured = self._device.errors(self._batch, self._samples[which])
        return {k: v if k.startswith("12_") else v.reshape(-1, 2, v.shape[-1]) for k, v in measured.items()}

    def alive(self) -> torch.Tensor:
        return self._batch.alive.clone().reshape(-1, 2, self._batch.alive.shape[-1])

    def pairs(self) -> list[Pair]:
        fleets = self._device.networks(self._batch)
        return list(zip(fleets[::2], fleets[1::2], strict=True))
