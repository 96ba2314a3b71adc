"""From results to judgements, for notebooks, tables and files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import xarray as xr

from hmm_utils import files
from hmm_utils.claims.behaviour import present
from hmm_utils.claims.criteria import noted, unknown
from hmm_utils.claims.records import FAILS, UNDECIDED, Claim, Finding, Judgement, Judgements, Results
from hmm_utils.claims.register import CLAIMS
from hmm_utils.runs import measurements
from hmm_utils.runs.experiments import experiment, scale_note


def _other_manifold(result: xr.Dataset) -> bool:
    """Whether D/N of structured inputs is not the paper's: what then fails may follow from its parameters after all."""
    at = result.attrs
    if at.get("inputs") != "structured":
        return False
    paper = experiment(at["name"], "paper", layers=at["layers"])
    return at["n_latent"] / at["n_inputs"] != paper.n_latent / paper.n_inputs


def _found(claim: Claim, used: Results) -> Finding:
    """The claim's finding, with what the scale of its runs adds to it."""
    missing = [name for name in claim.setups if not present(used, name)]
    if missing:
        return unknown(f"no results of {', '.join(missing)}")
    finding = claim.check(used)
    if finding.verdict == FAILS and any(_other_manifold(result) for result in used.values()):
        note = "the criterion fails here, at another D/N than the paper's"
        finding = replace(noted(finding, note), verdict=UNDECIDED)
    if any(result.attrs.get("inputs") == "digits" and result.attrs["n_inputs"] == 64 for result in used.values()):
        finding = noted(finding, "on 8×8 digits instead of MNIST")
    synthetic = [result for result in used.values() if result.attrs.get("inputs", "digits") != "digits"]
    if any(result.sizes.get("draw") == 1 for result in synthetic):
        finding = noted(finding, "intervals over the initialisations of a single draw of inputs and teacher")
    return finding


def judge(notebook: str, results: Results) -> Judgements:
    """The verdicts on all claims of a notebook, from results by the names of set-ups (as `experiments.plan` has them)
    and measurements: those of the notebook and, where a claim compares with them, those of others."""
    judgements = []
    for claim in CLAIMS:
        if claim.notebook != notebook:
            continue
        used = {name: results[name] for setup in claim.setups + claim.compared for name in present(results, setup)}
        finding = _found(claim, used)
        judgements.append(
            Judgement(
                claim=claim.number,
                statement=claim.statement,
                section=claim.section,
                figure=claim.figure,
                notebook=notebook,
                measured=finding.measured,
                verdict=finding.verdict,
                criterion=claim.criterion,
                tolerance=claim.tolerance,
                scale="; ".join(dict.fromkeys(_scale(name, result) for name, result in used.items())),
                values=finding.values,
            )
        )
    return Judgements(judgements)


def _scale(name: str, result: xr.Dataset) -> str:
    is_measured = name.partition("/")[0] in measurements.MEASUREMENTS
    return measurements.note(name, result) if is_measured else scale_note(result)


def plain(judgements: Iterable[Judgement]) -> list[dict]:
    """For JSON, which knows neither NaN nor infinity: null stands for a number that is not known."""
    records = [asdict(judgement) for judgement in judgements]
    for value in (value for record in records for value in record["values"]):
        for key in ("mean", "low", "high"):
            value[key] = value[key] if math.isfinite(value[key]) else None
    return records


def save(judgements: Judgements, notebook: str, out: str | Path) -> None:
    """Writes OUT/claims/NOTEBOOK.json, aside first; an empty `out` writes nothing."""
    if not str(out):
        return
    text = json.dumps(plain(judgements), ensure_ascii=False, indent=1, allow_nan=False)
    files.replace(Path(out) / "claims" / f"{notebook}.json", lambda aside: aside.write_text(text, encoding="utf-8"))
