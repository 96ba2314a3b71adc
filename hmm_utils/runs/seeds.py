"""Random numbers seeded by names, so that no result depends on the order of a table.

A generator of random numbers is seeded by ``[seed, …, word(name)]``. Results that were stored before names counted were
seeded by positions in dictionaries. Those numbers stand in the tables here, to which nothing is ever added.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType

__all__ = ["CASES", "NONLINEARITIES", "word"]

NONLINEARITIES: Mapping[str, int] = MappingProxyType(
    {"sgn": 0, "relu": 1, "identity": 2, "erf": 3, "tanh": 4, "abs": 5}
)
"""Seeds of the non-linearities f in results/t1.nc."""

CASES: Mapping[str, int] = MappingProxyType(
    {
        "sgn, one layer": 0,
        "sgn, deep": 1,
        "tanh, deep": 2,
        "convolutional": 3,
        "decoder": 4,
        "decoder, few latents": 5,
        "sgn, few latents": 6,
        "sgn, aligned student": 7,
        "f even": 8,
    }
)
"""Seeds of the generators in results/t2.nc."""


def word(name: str, stored: Mapping[str, int] = MappingProxyType({})) -> int:
    """Return the number of a name in a seed: that of a table of stored results, or 64 bits of the name's SHA-256.

    Examples
    --------
    >>> word("erf", NONLINEARITIES)
    3
    >>> hex(word("cube", NONLINEARITIES))
    '0x4f3c4172a4fe308c'
    """
    return stored.get(name, int.from_bytes(sha256(name.encode()).digest()[:8], "big"))
