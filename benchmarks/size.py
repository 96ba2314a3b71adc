"""How large the environment is: bytes on disk of what binder/environment.yml asks for, package by package.

    python benchmarks/size.py [--all]

Follows the requirements of the packages that binder/environment.yml names through the running environment, which was
installed by pip, and adds up the files that each has put there. Prints the largest (--all: every one) and writes all to
build/bench-size.json. What conda-forge would install is packed differently and is not measured.
"""

from __future__ import annotations

import argparse
import json
from importlib import metadata
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "bench-size.json"
PIP_NAMES = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}
SHOWN = 12


def asked_for(listing: Path) -> list[str]:
    """The packages of a conda environment by the names that pip has for them."""
    entries = yaml.safe_load(listing.read_text("utf-8"))["dependencies"]
    names = (entry.partition("=")[0] for entry in entries)
    return [PIP_NAMES.get(name, name) for name in names if name != "python"]


def needed(names: list[str]) -> set[str]:
    """These packages and all that they require, as far as they are installed here."""
    todo, seen = [Requirement(name) for name in names], set()
    found = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                children = metadata.requires(name) or []
            except metadata.PackageNotFoundError:
                continue
            found.add(name)
            for child in map(Requirement, children):
                if child.marker is None or child.marker.evaluate({"extra": extra}):
                    todo.append(child)
    return found


def size(name: str) -> int:
    """Bytes of the files that a package has installed."""
    files = (file.locate() for file in metadata.files(name) or [])
    return sum(file.stat().st_size for file in files if file.is_file())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measures the size of the environment.")
    parser.add_argument("--all", action="store_true", help="print every package")
    everything = parser.parse_args(arguments).all
    sizes = {name: size(name) for name in needed(asked_for(ROOT / "binder" / "environment.yml"))}
    sizes = dict(sorted(sizes.items(), key=lambda item: -item[1]))
    total = sum(sizes.values())
    for name in list(sizes)[: None if everything else SHOWN]:
        print(f"{name + ' ' + metadata.version(name):<34}{sizes[name] / 1e6:>8.0f} MB")
    if not everything:
        rest = list(sizes.values())[SHOWN:]
        print(f"{f'{len(rest)} more':<34}{sum(rest) / 1e6:>8.0f} MB")
    print(f"{f'all {len(sizes)}':<34}{total / 1e6:>8.0f} MB")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"total": total, "packages": sizes}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
