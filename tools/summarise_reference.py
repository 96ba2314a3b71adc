"""Makes tests/reference_summary.json, which tests/test_parity.py compares this package with.

    python tools/summarise_reference.py REFERENCE_DIR

REFERENCE_DIR holds curves of the program that the paper's authors published with version 1 of arXiv:1909.11500: one
csv file per set-up of `SETTINGS`, each with five runs of a pair of students. The curves are not part of this project;
of them the summary keeps, at a few times, mean and standard deviation over the runs. Columns of a csv file:

    run, time               seed of the run, steps/N
    eps_{g,t}_KIND_{1,2}    generalisation and training error of the two students; KIND is mse or frac
    eps_12_KIND_WHERE       the students against each other, WHERE is test or gauss (others are not read)
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np

SUMMARY = Path(__file__).resolve().parent.parent / "tests" / "reference_summary.json"

SOURCE = (
    "Mean and standard deviation over five runs of the program that the authors of arXiv:1909.11500 published with "
    "version 1 of the paper, at the settings of that version. A run draws its own data, features, teacher, initial "
    "weights and samples, and trains two students on one data set; eps_g and eps_t are means over the two."
)

COMMON = {"n_inputs": 784, "n_train": 76 * 784, "n_latent": 10, "f": "sgn", "activation": "erf", "lr": 0.2}

_NAMES = ("inputs", "task", "labels", "teacher_width", "width", "layers", "n_test")
SETTINGS = {
    file: dict(zip(_NAMES, values, strict=True))
    for file, values in {
        "fig2_iid_1st": ("gaussian", "teacher", "real", 4, 3, "first", 5000),
        "fig2_teacher_1st": ("structured", "teacher", "real", 4, 3, "first", 5000),
        "fig2_latent_1st": ("structured", "latent", "real", 4, 3, "first", 5000),
        "fig2_mnist_1st": ("mnist", "own", "sign", None, 3, "first", 10000),
        "fig1_iid_both_K4": ("gaussian", "teacher", "sign", 4, 4, "both", 5000),
        "fig1_mnist_both_K4": ("mnist", "own", "sign", None, 4, "both", 10000),
        "fig3_latent_both_K4": ("structured", "latent", "sign", 1, 4, "both", 5000),
        "fig3_teacher_both_K4": ("structured", "teacher", "sign", 4, 4, "both", 5000),
    }.items()
}

# Steps/N; of the times in a file the nearest are kept. Files end at 790 or 1551.
TIMES = (0.5, 3, 15, 100, 300, 790)

OBSERVABLES = {
    f"{name}_{kind}{where}": [column.format(kind=kind) for column in columns]
    for kind in ("mse", "frac")
    for name, where, columns in (
        ("eps_g", "", ("eps_g_{kind}_1", "eps_g_{kind}_2")),
        ("eps_t", "", ("eps_t_{kind}_1", "eps_t_{kind}_2")),
        ("eps_12", "_test", ("eps_12_{kind}_test",)),
        ("eps_12", "_gauss", ("eps_12_{kind}_gauss",)),
    )
}


def summarise(path: Path) -> dict[str, object]:
    """Times, number of runs and, per observable, mean and standard deviation over the runs of one csv file.

    Raises ValueError if a time is missing from some of the runs.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    n_runs = len({row["run"] for row in rows})
    at = defaultdict(list)
    for row in rows:
        at[float(row["time"])].append(row)
    present = np.array(sorted(t for t in at if t > 0))
    times = [float(present[np.argmin(np.abs(np.log(present / t)))]) for t in TIMES]
    for t in times:
        if len(at[t]) != n_runs:
            raise ValueError(f"{path} has {len(at[t])} rows at time {t:g} but {n_runs} runs: give one row per run.")
    result: dict[str, object] = {"n_runs": n_runs, "times": times, "observables": {}}
    for name, columns in OBSERVABLES.items():
        values = np.array([[np.mean([float(row[c]) for c in columns]) for row in at[t]] for t in times])
        moments = {"mean": values.mean(axis=1), "sd": values.std(axis=1, ddof=1)}
        result["observables"][name] = {key: [float(f"{m:.6g}") for m in moment] for key, moment in moments.items()}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="Summarises the reference curves for tests/test_parity.py.")
    parser.add_argument("reference_dir", type=Path, help="folder with the csv files")
    folder = parser.parse_args().reference_dir
    files = {name: {"settings": SETTINGS[name], **summarise(folder / f"{name}.csv")} for name in SETTINGS}
    text = json.dumps({"source": SOURCE, "common": COMMON, "files": files}, indent=1, ensure_ascii=False)
    # one list per line: a changed number is then one changed line
    text = re.sub(r"\[[^\[\]]*\]", lambda match: " ".join(match[0].split()), text)
    SUMMARY.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
