"""The command `hmm`: list and run the notebooks, get the data, show the claims.

Exit codes: 0 all went well, 1 something failed on the way, 2 the request was refused and nothing ran, 130 interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import hmm_utils
from hmm_utils import notebooks, running, verdicts

__all__ = ["main"]

COMMITTED = Path(__file__).resolve().parents[1] / "results" / "verdicts.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Run `hmm` with these arguments (None: those of the process) and return its exit code.

    Raises SystemExit where argparse does: 2 for arguments it cannot parse, 0 after --help and --version.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a letter of the claims must not cost the user the table at the end of a long run.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    options = _parser().parse_args(argv)
    try:
        return options.command(options)
    except notebooks.Refused as refusal:
        _complain(refusal)
        return 2
    except verdicts.ClaimsError as error:
        _complain(error)
        return 1
    except KeyboardInterrupt:
        _complain("Interrupted: what was finished stays, the rest left nothing.")
        return 130


def _complain(sentence: object) -> None:
    print(f"hmm: {sentence}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hmm", description="The notebooks on the hidden manifold model (arXiv:1909.11500).", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"hmm_utils {hmm_utils.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_list(commands)
    _add_run(commands)
    _add_data(commands)
    _add_claims(commands)
    return parser


def _add(commands: argparse._SubParsersAction, name: str, command: object, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
    parser.set_defaults(command=command)
    return parser


def _add_list(commands: argparse._SubParsersAction) -> None:
    parser = _add(commands, "list", _list, "show the notebooks and their parameters")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--notebooks", metavar="DIR", help=argparse.SUPPRESS)


def _add_run(commands: argparse._SubParsersAction) -> None:
    parser = _add(commands, "run", _run, "execute notebooks and show which claims hold")
    parser.add_argument("names", nargs="+", metavar="NAME", help='e.g. 01 or 01_independent_students; "all" for all')
    parser.add_argument("--profile", default="quick", help="scale of the runs: quick (the default) or paper")
    parser.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="values",
        help="set a parameter, e.g. -p widths '[2, 4]' (see hmm list)",
    )  # fmt: skip
    parser.add_argument("--out", default="build", metavar="DIR", help="folder of the results (default: build)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="notebooks to run side by side (default: 1)")
    parser.add_argument("--overwrite", action="store_true", help="replace finished results")
    parser.add_argument("--notebooks", metavar="DIR", help=argparse.SUPPRESS)


def _add_data(commands: argparse._SubParsersAction) -> None:
    _add(commands, "data", _data, "check the MNIST files, and download them if they are missing")


def _add_claims(commands: argparse._SubParsersAction) -> None:
    parser = _add(commands, "claims", _claims, "show the claims of the notebooks that have been run")
    parser.add_argument("--out", default="build", metavar="DIR", help="folder of the results (default: build)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="for programs")
    how.add_argument(
        "--check", nargs="?", const=COMMITTED, type=Path, metavar="FILE",
        help="fail where a verdict is not that in FILE, which --json has written (default: results/verdicts.json)",
    )  # fmt: skip


def _list(options: argparse.Namespace) -> int:
    known = notebooks.discover(notebooks.notebooks_folder(options.notebooks))
    if options.json:
        print(json.dumps([_plain(info) for info in known.values()], indent=1, ensure_ascii=False))
    else:
        print("\n\n".join(_described(info) for info in known.values()))
    return 0


def _plain(info: notebooks.NotebookInfo) -> dict:
    return {name: value for name, value in dataclasses.asdict(info).items() if name != "path"}


def _described(info: notebooks.NotebookInfo) -> str:
    where = ", ".join([*([f"Sec. {info.section}"] if info.section else []), *info.figures])
    head = f"{info.name}: {info.title}" + (f" ({where})" if where else "")
    rows = [(p.name, p.type, json.dumps(p.default, ensure_ascii=False), p.help) for p in info.parameters]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    return "\n".join([head, *(line for row in rows for line in _parameter_lines(row, widths))])


def _parameter_lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    start = "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + "  "
    room = max(30, _columns() - len(start))
    first, *more = textwrap.wrap(row[-1], room) or [""]
    return [(start + first).rstrip(), *(" " * len(start) + line for line in more)]


def _columns() -> int:
    return shutil.get_terminal_size((120, 24)).columns


def _run(options: argparse.Namespace) -> int:
    prepared = running.prepare(
        options.names,
        profile=options.profile,
        values=options.values,
        out=options.out,
        n_jobs=options.jobs,
        overwrite=options.overwrite,
        notebooks=options.notebooks,
    )
    for note in prepared.notes:
        _complain(note)
    outcomes = running.run(prepared.jobs, options.jobs)
    finished = [outcome for outcome in outcomes if not outcome.error]
    written = verdicts.write_claims(options.out)
    claims = verdicts.read_claims(options.out, [outcome.name for outcome in finished])
    if claims:
        print(verdicts.claims_text(claims, _columns()), end="\n\n")
    print(_where(options.out, finished, written))
    if len(finished) < len(outcomes):
        _complain(f"{len(outcomes) - len(finished)} of {len(outcomes)} notebooks failed.")
        return 1
    return 0


def _where(out: str, finished: Sequence[running.Outcome], written: Sequence[Path]) -> str:
    """Where to look for what a run has made."""
    figures = Path(out) / "figures"
    places = {
        "executed notebooks": ", ".join(str(outcome.path) for outcome in finished),
        "figures": str(figures) if figures.is_dir() and any(figures.iterdir()) else "",
        "claims": ", ".join(map(str, written)),
    }
    return "\n".join(f"{what + ':':<20}{where}" for what, where in places.items() if where)


def _data(options: argparse.Namespace) -> int:
    from hmm_utils import mnist

    try:
        mnist.load()
    except mnist.DataError as error:
        _complain(error)
        return 1
    print(f"MNIST is in {mnist.data_dir()}: {len(mnist.FILES)} files, every hash as it should be.")
    return 0


def _claims(options: argparse.Namespace) -> int:
    claims = verdicts.read_claims(options.out)
    if not claims:
        out = options.out
        raise verdicts.ClaimsError(f"There are no claims in {out}: make them with `hmm run all --out {out}`.")
    if options.check:
        return _check(claims, verdicts.read_verdicts(options.check))
    plain = options.json
    print(json.dumps(claims, indent=1, ensure_ascii=False) if plain else verdicts.claims_text(claims, _columns()))
    return 0


def _check(claims: Sequence[Mapping], expected: Sequence[Mapping]) -> int:
    found = verdicts.compare(claims, expected)
    print(f"{found.n_same} of {found.n_same + len(found.different)} verdicts are as expected.")
    for sentence in found.different:
        print(sentence)
    if found.not_run:
        _complain(f"Not compared, because not run here: {', '.join(found.not_run)}.")
    return 1 if found.different else 0


if __name__ == "__main__":
    sys.exit(main())
