"""The command ``hmm``: list and run the notebooks, get the data, show the claims, check the installation.

Exit codes: 0 success, 1 failure on the way, 2 the request was refused and nothing ran, 130 interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hmm_utils
from hmm_utils.app import notebooks
from hmm_utils.claims import report

if TYPE_CHECKING:
    from hmm_utils.app import running
    from hmm_utils.runs.experiments import Experiment

# `hmm list` answers in a fraction of a second: whatever else takes seconds to import is imported where it is needed.

__all__ = ["main"]

COMMITTED = Path(__file__).resolve().parents[2] / "results" / "verdicts.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``hmm`` and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process if not given.

    Raises
    ------
    SystemExit
        Where argparse does: 2 for arguments that it cannot parse, 0 after ``--help`` and ``--version``.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a letter of the claims must not cost the user the table at the end of a long run.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    options = _parser().parse_args(argv)
    try:
        code = options.command(options)
        sys.stdout.flush()
        return code
    except notebooks.Refused as refusal:
        _complain(refusal)
        return 2
    except report.ClaimsError as error:
        _complain(error)
        return 1
    except BrokenPipeError:
        # The reader, head or less, has closed the pipe; Python would complain about the rest when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
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
    _add(commands, "results", _results, "show the stored results of the paper's figures", json_too=True)
    _add(commands, "data", _data, "check the MNIST files, and download them if they are missing")
    _add_claims(commands)
    text = "check versions, data, stored results and machine, and suggest fixes; exit 1 if there is a problem"
    _add(commands, "doctor", _doctor, text, json_too=True)
    return parser


def _add(
    commands: argparse._SubParsersAction,
    name: str,
    command: Callable[[argparse.Namespace], int],
    text: str,
    *,
    json_too: bool = False,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
    parser.set_defaults(command=command)
    if json_too:
        parser.add_argument("--json", action="store_true", help="for programs")
    return parser


def _add_list(commands: argparse._SubParsersAction) -> None:
    parser = _add(commands, "list", _list, "show the notebooks and their parameters", json_too=True)
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
    parser.add_argument("--dry-run", action="store_true", help="only say what would be computed")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="compute on a Dask cluster, e.g. tcp://host:8786 (see docs/cluster.md)"
    )
    parser.add_argument("--notebooks", metavar="DIR", help=argparse.SUPPRESS)


def _add_claims(commands: argparse._SubParsersAction) -> None:
    parser = _add(commands, "claims", _claims, "judge the paper's claims on the stored results at its own scale")
    parser.add_argument(
        "--out", metavar="DIR", help="show the claims of the notebooks that were run into DIR instead (e.g. build)"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="for programs")
    how.add_argument(
        "--check", nargs="?", const=COMMITTED, type=Path, metavar="FILE",
        help="fail where a verdict is not that in FILE, which --json has written (default: results/verdicts.json)",
    )  # fmt: skip


def _print_json(records: object) -> None:
    print(json.dumps(records, indent=1, ensure_ascii=False))


def _list(options: argparse.Namespace) -> int:
    known = notebooks.discover(notebooks.notebooks_folder(options.notebooks))
    if options.json:
        _print_json([_plain(info) for info in known.values()])
    else:
        print("\n\n".join(_described(info) for info in known.values()))
    return 0


def _plain(info: notebooks.NotebookInfo) -> dict:
    return {name: value for name, value in dataclasses.asdict(info).items() if name != "path"}


def _described(info: notebooks.NotebookInfo) -> str:
    where = ", ".join([*([f"Sec. {info.section}"] if info.section else []), *info.figures])
    head = f"{info.name}: {info.title}" + (f" ({where})" if where else "")
    starts = _aligned([(p.name, p.type, json.dumps(p.default, ensure_ascii=False)) for p in info.parameters])
    lines = (line for start, p in zip(starts, info.parameters, strict=True) for line in _hanging(start, p.help))
    return "\n".join([head, *lines])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of a table as lines, its columns two blanks apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _hanging(start: str, text: str) -> list[str]:
    first, *more = textwrap.wrap(text, max(30, _columns() - len(start) - 4)) or [""]
    return [f"  {start}  {first}".rstrip(), *(" " * (len(start) + 4) + line for line in more)]


def _columns() -> int:
    return shutil.get_terminal_size((120, 24)).columns


def _run(options: argparse.Namespace) -> int:
    from hmm_utils.app import running, terminal

    prepared = running.prepare(
        options.names,
        profile=options.profile,
        values=options.values,
        out=options.out,
        n_jobs=options.jobs,
        overwrite=options.overwrite or options.dry_run,
        notebooks=options.notebooks,
    )
    if options.dry_run:
        return _dry_run(prepared, options)
    for note in prepared.notes:
        _complain(note)
    with terminal.redirected():
        if not _swept(prepared, options):
            return 1
        outcomes = running.run(prepared.jobs, options.jobs)
    finished = [outcome for outcome in outcomes if not outcome.error]
    written = report.write_claims(options.out)
    claims = report.read_claims(options.out, [outcome.name for outcome in finished])
    if claims:
        print(report.claims_text(claims, _columns()), end="\n\n")
    print(_where(options.out, finished, written))
    if len(finished) < len(outcomes):
        _complain(f"{len(outcomes) - len(finished)} of {len(outcomes)} notebooks failed.")
        return 1
    return 0


def _sweeps(prepared: running.Prepared, options: argparse.Namespace) -> list[dict[str, Experiment]]:
    """List the runs that a profile with stored results asks for; none where notebooks compute them."""
    from hmm_utils.runs import experiments

    if not experiments.is_archived(options.profile):
        if options.scheduler:
            raise notebooks.Refused(
                f"--scheduler is for runs that are stored, and those of the profile {options.profile} are not: "
                "add --profile paper."
            )
        return []
    from hmm_utils.runs import paper

    return paper.asked_for(prepared.plans.values(), as_stated=not options.values)


def _dry_run(prepared: running.Prepared, options: argparse.Namespace) -> int:
    from hmm_utils.runs import archive, cache, paper

    sweeps = _sweeps(prepared, options)
    if not sweeps:
        names = [f"{notebook}: {name}" for notebook, plan in prepared.plans.items() for name in plan]
        print("\n".join([*names, f"{len(names)} runs to compute, in the notebooks."]))
        return 0
    n_runs, draws = sum(map(len, sweeps)), 0
    for runs in sweeps:
        for name, n in paper.lacking(runs, cache.default_folder(), archive.FOLDER).items():
            print(f"{name}: {n} of {runs[name].n_draws} draws")
            draws += n
    for name, n in paper.unmeasured(prepared.measurements, archive.FOLDER).items():
        print(f"{name}: {n} to measure")
        draws += n
    print(f"{draws} draws to compute." if draws else f"Nothing to compute: all {n_runs} runs are stored.")
    return 0


def _swept(prepared: running.Prepared, options: argparse.Namespace) -> bool:
    """Compute what the stored results lack, before the notebooks that read them run; return whether that succeeded."""
    sweeps = _sweeps(prepared, options)
    if not sweeps:
        return True
    from hmm_utils.runs import archive, cache, paper

    how: dict[str, Any] = {"device": dict(options.values).get("device", "auto")}
    try:
        if options.scheduler:
            from hmm_utils.runs import cluster

            how["client"] = cluster.connect(options.scheduler)
        for runs in sweeps:
            found = paper.compute(runs, cache.default_folder(), archive.FOLDER, **how)
            for place in paper.write(found, runs, archive.FOLDER):
                print(f"{place} is new.")
    except (OSError, RuntimeError) as error:
        _complain(error)
        return False
    return True


def _results(options: argparse.Namespace) -> int:
    from hmm_utils.runs import archive, paper

    plan = paper.plan()
    stored = list(archive.list_runs(archive.FOLDER, plan))
    missing = [name for name in plan if name not in {run.name for run in stored}]
    if options.json:
        _print_json({"stored": [dataclasses.asdict(run) | {"age": run.age} for run in stored], "missing": missing})
        return 0
    head = ("figure", "run", "draws", "engine", "age", "complete", "scale")
    rows = [
        (r.figure, r.name, str(r.draws), str(r.engine), r.age, "yes" if r.complete else "no", r.scale) for r in stored
    ]
    print("\n".join(line.rstrip() for line in _aligned([head, *rows])))
    if missing:
        print(f"Missing: {', '.join(missing)}. `hmm run all --profile paper` computes what is missing.")
    return 0


def _where(out: str, finished: Sequence[running.Outcome], written: Sequence[Path]) -> str:
    """Where the results of a run are."""
    figures = Path(out) / "figures"
    places = {
        "executed notebooks": ", ".join(str(outcome.path) for outcome in finished),
        "figures": str(figures) if figures.is_dir() and any(figures.iterdir()) else "",
        "claims": ", ".join(map(str, written)),
    }
    return "\n".join(f"{what + ':':<20}{where}" for what, where in places.items() if where)


def _data(options: argparse.Namespace) -> int:
    from hmm_utils.app import terminal
    from hmm_utils.data import mnist

    try:
        with terminal.redirected():
            mnist.load()
    except mnist.DataError as error:
        _complain(error)
        return 1
    print(f"MNIST is in {mnist.data_dir()}: {len(mnist.FILES)} files, all hashes correct.")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    try:
        from hmm_utils.app import doctor
    except ImportError as error:
        _complain(f"{error.name or error} cannot be imported: pip install -r requirements.lock, or start with make.")
        return 1
    findings = doctor.examine()
    if options.json:
        _print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        print(doctor.as_text(findings, _columns()))
    return int(any(finding.wrong for finding in findings))


def _claims(options: argparse.Namespace) -> int:
    claims = _stored_claims() if options.out is None else report.read_claims(options.out)
    if not claims:
        out = options.out
        raise report.ClaimsError(f"There are no claims in {out}: make them with `hmm run all --out {out}`.")
    if options.check:
        return _check(report.compare(claims, report.read_verdicts(options.check)))
    if options.json:
        _print_json(claims)
    else:
        print(report.claims_text(claims, _columns()))
    return 0


def _stored_claims() -> list[dict]:
    from hmm_utils.claims.judging import judge_stored, plain

    try:
        return plain(judge_stored())
    except FileNotFoundError as error:
        raise report.ClaimsError(str(error)) from None


def _check(found: report.Comparison) -> int:
    print(f"{found.n_same} of {found.n_same + len(found.different)} verdicts are as expected.")
    for sentence in found.different:
        print(sentence)
    if found.not_run:
        _complain(f"Not compared, because not run here: {', '.join(found.not_run)}.")
    return int(bool(found.different))


if __name__ == "__main__":
    sys.exit(main())
