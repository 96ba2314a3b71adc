"""The register of all claims, and judgements on them for notebooks, tables and files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import xarray as xr

from hmm_utils import files
from hmm_utils.claims import (
    appendices,
    deep_generators,
    equations_of_motion,
    hidden_manifold,
    independent_students,
    intrinsic_dimension,
    plateaus,
)
from hmm_utils.claims.logic import noted, undecided
from hmm_utils.claims.measuring import parts_of
from hmm_utils.claims.records import FAILS, UNDECIDED, Claim, Finding, Judgement, Judgements, Results
from hmm_utils.data.digits import kind_of
from hmm_utils.runs import archive, measurements, paper
from hmm_utils.runs.experiments import experiment, scale_note

CLAIMS: tuple[Claim, ...] = (
    *independent_students.CLAIMS,
    *plateaus.CLAIMS,
    *hidden_manifold.CLAIMS,
    *appendices.CLAIMS,
    *intrinsic_dimension.CLAIMS,
    *equations_of_motion.CLAIMS,
    *deep_generators.CLAIMS,
)


def judge(notebook: str, results: Results) -> Judgements:
    """Judge all claims of a notebook.

    Parameters
    ----------
    notebook : str
        Name without ending, e.g. "01_independent_students".
    results : mapping of str to Dataset
        Results by the names of set-ups (as ``experiments.plan`` has them) and measurements: those of the notebook and,
        where a claim is compared with them, those of others. A claim without its results is undecided.
    """
    return Judgements(_judgement(claim, results) for claim in CLAIMS if claim.notebook == notebook)


def judge_stored(archive_folder: Path | None = None) -> Judgements:
    """Judge all claims on the stored results.

    Parameters
    ----------
    archive_folder : Path, optional
        Another folder than the project's ``results/``.

    Raises
    ------
    FileNotFoundError
        If a stored run is missing.
    """
    folder = archive_folder or archive.FOLDER
    results = paper.stored_runs(folder)
    for name in measurements.MEASUREMENTS:
        results |= measurements.load(name, paper.PROFILE, folder)
    return Judgements(_judgement(claim, results) for claim in CLAIMS)


def _judgement(claim: Claim, results: Results) -> Judgement:
    used = {
        name: result for setup in claim.setups + claim.compared for name, result in parts_of(results, setup).items()
    }
    finding = _find(claim, used)
    about = ("statement", "section", "figure", "notebook", "criterion", "tolerance")
    return Judgement(
        claim=claim.number,
        **{name: getattr(claim, name) for name in about},
        measured=finding.measured,
        verdict=finding.verdict,
        scale="; ".join(dict.fromkeys(_scale(name, result) for name, result in used.items())),
        values=finding.values,
    )


def _find(claim: Claim, used: Results) -> Finding:
    """Apply a claim's criterion, and add what the scale of its runs adds to the finding."""
    missing = [setup for setup in claim.setups if not parts_of(used, setup)]
    if missing:
        return undecided(f"no results of {', '.join(missing)}")
    finding = claim.find(used)
    if finding.verdict == FAILS and any(_is_other_manifold(result) for result in used.values()):
        note = "the criterion fails here, at another D/N than the paper's"
        finding = replace(noted(finding, note), verdict=UNDECIDED)
    if any(kind_of(result.attrs) == "digits8x8" for result in used.values()):
        finding = noted(finding, "on 8×8 digits instead of MNIST")
    synthetic = [result for result in used.values() if result.attrs.get("inputs", "digits") != "digits"]
    if any(result.sizes.get("draw") == 1 for result in synthetic):
        finding = noted(finding, "intervals over the initialisations of a single draw of inputs and teacher")
    return finding


def _is_other_manifold(result: xr.Dataset) -> bool:
    """Whether D/N of structured inputs is not the paper's: a failure may then be due to that."""
    at = result.attrs
    if at.get("inputs") != "structured":
        return False
    planned = experiment(at["name"], "paper", layers=at["layers"])
    return at["n_latent"] / at["n_inputs"] != planned.n_latent / planned.n_inputs


def _scale(name: str, result: xr.Dataset) -> str:
    is_measured = name.partition("/")[0] in measurements.MEASUREMENTS
    return measurements.note(name, result) if is_measured else scale_note(result)


def plain(judgements: Iterable[Judgement]) -> list[dict]:
    """Convert to lists and dictionaries for JSON: a number that is not finite becomes None, as JSON has none such."""
    records = [asdict(judgement) for judgement in judgements]
    for value in (value for record in records for value in record["values"]):
        for key in ("mean", "low", "high"):
            value[key] = value[key] if math.isfinite(value[key]) else None
    return records


def save(judgements: Judgements, notebook: str, out: str | Path) -> None:
    """Write OUT/claims/NOTEBOOK.json, atomically; an empty ``out`` writes nothing."""
    text = json.dumps(plain(judgements), ensure_ascii=False, indent=1, allow_nan=False)
    if str(out):
        files.write_text(Path(out) / "claims" / f"{notebook}.json", text)
