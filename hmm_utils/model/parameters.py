"""One rule per parameter: what a value must be, checked by one function that every layer calls.

Each function returns the value, as a plain Python number where it is one, or raises ValueError with one sentence that
names the parameter, shows its value and says what to give instead. Values that identify a stored result must be those
returned: 3 and ``numpy.int64(3)`` are then the same number.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from math import inf
from typing import Any, TypeVar

import numpy as np

__all__ = ["choice", "known", "learning_rate", "manifold", "n_train", "positive", "time", "times", "whole", "widths"]

_T = TypeVar("_T")


def whole(name: str, value: Any, least: int = 1) -> int:
    """Check a whole number of at least ``least``: N, D, M, P*, numbers of pairs, draws and times, or a seed (0)."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} = {_shown(value)}: give a whole number of at least {least}.")
    return int(value)


def positive(name: str, value: Any) -> float:
    """Check a positive, finite number."""
    if not isinstance(value, int | float | np.number) or isinstance(value, bool) or not 0 < value < inf:
        raise ValueError(f"{name} = {_shown(value)}: give a positive, finite number.")
    return _plain(value)


def learning_rate(value: Any, name: str = "lr") -> float:
    """Check η of the first layer, positive; that of the second layer, ``lr_v``, may also be 0."""
    if name == "lr_v" and value == 0:
        return 0.0
    return positive(name, value)


def time(value: object) -> float:
    """Check the end of training, positive and finite, in units of steps/N."""
    return positive("time", value)


def times(values: Any, *, end: float = inf, name: str = "times") -> np.ndarray:
    """Check increasing times from 0 to ``end`` (up to rounding) at which to measure, in units of steps/N."""
    t = np.asarray(values, dtype=float)
    if t.ndim != 1 or not t.size or not (t >= 0).all() or not (np.diff(t) > 0).all():
        raise ValueError(f"{name} must be a list of increasing numbers of steps/N, none of them negative.")
    if not t[-1] < inf or t[-1] > end * (1 + 1e-9):
        last = "that is finite" if end == inf else f"of at most {end:g}"
        raise ValueError(f"{name} end at {t[-1]:g}: give a last time {last}.")
    return t


def choice(name: str, value: _T, choices: Collection[_T]) -> _T:
    """Check for one of several values; None is allowed where it is among them."""
    if value not in tuple(choices):  # a list is no key, but a value that can be refused
        named = ", ".join(str(c) for c in choices if c is not None)
        raise ValueError(f"{name} = {_shown(value)}: choose one of {named}.")
    return value


def known(kind: str, name: str, names: Iterable[str], otherwise: str = "") -> str:
    """Check the name of a profile, set-up, parameter, …; ``otherwise`` ends the sentence with an alternative."""
    names = tuple(names)
    if name not in names:
        raise ValueError(f"unknown {kind} {name!r}: choose one of {', '.join(names)}{otherwise}.")
    return name


def widths(values: object) -> tuple[int, ...]:
    """Check the widths K that are trained: at least one, each given once."""
    if not isinstance(values, Sequence | np.ndarray) or isinstance(values, str):
        raise ValueError(f"widths = {_shown(values)}: give a list of widths, such as [1, 2, 4].")
    if not len(values):
        raise ValueError("widths = []: give at least one width.")
    K = tuple(whole("widths", value) for value in values)
    if len(set(K)) != len(K):
        raise ValueError(f"widths = {list(K)}: give every width once.")
    return K


def n_train(value: Any, available: float = inf, of: str = "") -> int:
    """Check the number P of training samples, at most ``available`` if they are images (``of``: which)."""
    P = whole("n_train", value)
    if not available >= P:
        raise ValueError(f"n_train must be between 1 and {available} ({of}), got {P}.")
    return P


def manifold(n_latent: object, n_inputs: object) -> tuple[int, int]:
    """D and N of structured inputs, Eq. (6), with D ≤ N."""
    D, N = whole("n_latent", n_latent), whole("n_inputs", n_inputs)
    if D > N:
        raise ValueError(f"n_latent = {D} exceeds n_inputs = {N}: a hidden manifold has D ≤ N.")
    return D, N


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _shown(value: object) -> str:
    return repr(_plain(value))
