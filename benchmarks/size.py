"""Size of the environment: bytes on disk of the packages in requirements.lock, as installed here by pip.

    python benchmarks/size.py [--all]

Prints the largest packages (--all: every one) and writes all to build/bench-size.json.
"""

from __future__ import annotations

import argparse
import json
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
OUT = ROOT / "build" / "bench-size.json"
SHOWN = 12


def locked() -> list[str]:
    """Names of the packages that the lock has for this system."""
    lines = (line for line in LOCK.read_text("utf-8").splitlines() if line and line[0] not in "#-")
    return [r.name for r in map(Requirement, lines) if r.marker is None or r.marker.evaluate()]


def size(name: str) -> int:
    """Bytes of the files that a package has installed."""
    files = (file.locate() for file in metadata.files(name) or [])
    return sum(file.stat().st_size for file in files if file.is_file())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measures the size of the environment.")
    parser.add_argument("--all", action="store_true", help="print every package")
    shown = None if parser.parse_args(arguments).all else SHOWN
    sizes = dict(sorted(((name, size(name)) for name in locked()), key=lambda item: -item[1]))
    total, rest = sum(sizes.values()), list(sizes.values())[SHOWN:]
    for name in list(sizes)[:shown]:
        print(f"{name + ' ' + metadata.version(name):<34}{sizes[name] / 1e6:>8.0f} MB")
    if shown:
        print(f"{f'{len(rest)} more':<34}{sum(rest) / 1e6:>8.0f} MB")
    print(f"{f'all {len(sizes)}':<34}{total / 1e6:>8.0f} MB")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"total": total, "packages": sizes}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
