"""Claims C1 to C5, Sec. 3.1: what two independently trained students have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import xarray as xr

from hmm_utils.claims.logic import ZERO_WHY, above, all_of, below, between, by_case, labelled, undecided
from hmm_utils.claims.measuring import (
    disagreement,
    mean_over_widths,
    ratio_within_runs,
    slope_in_log_width,
    split_widths,
    widths_of,
)
from hmm_utils.claims.records import FAILS, HOLDS, ONLY_IF, UNDECIDED, Claim, Finding, Readout, Results, Value
from hmm_utils.model.observables import final

NOTEBOOK = "01_independent_students"

RATIO = 2.0
RATIO_WHY = "the text says 'roughly' and 'about'; a factor of two is far from the factor of ten on Gaussian inputs"
SMALL = 0.01
SMALL_WHY = (
    f"an error of {SMALL} is five times below the smallest error of a student with K = 1 and still several standard "
    "errors of a test set of 4 000 above zero; finite training time leaves a tail that falls as a power of time"
)
SMALL_RULE = f"mean over K ≥ M below {SMALL}"
LONGER_RULE = "where errors are still falling at the end, the same runs trained on decide"
PAPER_END = 10_000.0


def error_falls_with_width(results: Results, setup: str, at: Readout = final) -> Finding:
    """C1: dε_g/dlnK < 0."""
    return below(slope_in_log_width("dε_g/dlnK", results[setup]["eps_g_frac"], at), 0)


C1 = Claim(
    "C1", "On MNIST the test error falls as students get wider.", "3.1", "Fig. 1 left", NOTEBOOK,
    ("fig1_left",), "slope of ε_g in ln K below 0", ZERO_WHY, error_falls_with_width,
)  # fmt: skip


def relative_disagreement(where: str, result: xr.Dataset, at: Readout = final) -> Value:
    """ε₁,₂/ε_g on test inputs, each averaged over widths."""
    return ratio_within_runs(f"ε₁,₂/ε_g on {where}", disagreement(result, "test"), result["eps_g_frac"], at)


def wide_students_agree_up_to_error(results: Results, setup: str, at: Readout = final) -> Finding:
    """C2: 1/RATIO < ε₁,₂/ε_g < RATIO for K ≥ 3."""
    wide = [K for K in widths_of(results[setup]) if K >= 3]
    if not wide:
        return undecided("no width K ≥ 3 was trained")
    ratio = relative_disagreement("test images, K ≥ 3", results[setup].sel(width=wide), at)
    return between(ratio, 1 / RATIO, RATIO)


C2 = Claim(
    "C2", "For K ≥ 3 two students disagree on MNIST images about as often as they err.", "3.1", "Fig. 1 left",
    NOTEBOOK, ("fig1_left",), f"ε₁,₂/ε_g between 1/{RATIO:g} and {RATIO:g}", RATIO_WHY,
    wide_students_agree_up_to_error,
)  # fmt: skip


def disagreement_grows_with_width(results: Results, setup: str, at: Readout = final) -> Finding:
    """C3: dε₁,₂/dlnK > 0 on Gaussian inputs."""
    curve = disagreement(results[setup], "gauss")
    return above(slope_in_log_width("dε₁,₂/dlnK on Gaussian inputs", curve, at), 0)


C3 = Claim(
    "C3", "On Gaussian inputs their disagreement grows with K.", "3.1", "Fig. 1 left", NOTEBOOK,
    ("fig1_left",), "slope of ε₁,₂ in ln K above 0", ZERO_WHY, disagreement_grows_with_width,
)  # fmt: skip


def vanishes(name: str, curve: xr.DataArray, widths: Sequence[int], at: Readout, border: float = SMALL) -> Finding:
    """Judge whether the mean error over these widths is below a border, undecided while it may still fall below it."""
    finding = below(mean_over_widths(name, curve, widths, at), border)
    if finding.verdict == FAILS and _may_still_vanish(curve.sel(width=list(widths)), border, at):
        return replace(finding, verdict=UNDECIDED)
    return finding


def _may_still_vanish(curve: xr.DataArray, border: float, at: Readout) -> bool:
    """Whether an error may fall below the border later: the paper does not say when its runs end.

    It may if the end of the paper's figures is more than a factor of three away (a plateau may end in between), or if
    it would be below the border by then, or after another factor of three, continuing with the power of time that it
    followed over the last factor of three.
    """
    end = float(curve["time"][-1])
    if 3 * end < PAPER_END:
        return True
    third = float(curve["time"].sel(time=end / 3, method="nearest"))
    late, earlier = float(at(curve).mean()), float(at(curve.sel(time=slice(None, third))).mean())
    if not 0 < late < earlier:
        return False
    power = np.log(earlier / late) / np.log(end / third)
    return bool(late * max(PAPER_END / end, 3.0) ** -power < border)


def until_decided(
    check: Callable[[xr.Dataset, Readout], Finding], results: Results, setup: str, at: Readout
) -> Finding:
    """Apply a check to a run, and where that is undecided to the same run with longer training, if there is one."""
    finding, longer = check(results[setup], at), results.get(f"{setup}/longer")
    if finding.verdict != UNDECIDED or longer is None:
        return finding
    end = f"t = {float(longer['time'][-1]):g}"
    later = check(longer, at)
    verdict = f"{ONLY_IF}training goes on to {end}" if later.verdict == HOLDS else later.verdict
    return replace(all_of(finding, labelled(end, later)), verdict=verdict)


def by_labels(check: Callable[[Results, str], Finding], results: Results, real: str, signs: str) -> Finding:
    """Apply one criterion to runs with real-valued labels and to runs with their signs, which are alternatives."""
    return by_case(
        (
            "the labels are the teacher's real outputs, as Eq. (4) says, not their signs",
            labelled("real labels", check(results, real)),
        ),
        ("the labels are the signs of the teacher's outputs", labelled("labels ±1", check(results, signs))),
    )


def error_vanishes_from_teacher_width(results: Results, setup: str, at: Readout = final) -> Finding:
    """C4: ε_g → 0 for K ≥ M."""
    return until_decided(_error_vanishes, results, setup, at)


def _error_vanishes(result: xr.Dataset, at: Readout) -> Finding:
    _, wide = split_widths(result)
    if not wide:
        return undecided("no width K ≥ M was trained")
    return vanishes("ε_g(K ≥ M)", result["eps_g_frac"], wide, at)


C4 = Claim(
    "C4", "With i.i.d. inputs and a teacher the test error goes to zero for K ≥ M.", "3.1", "Fig. 1 right",
    NOTEBOOK, ("fig1_right", "fig1_right_signs"), f"{SMALL_RULE}; {LONGER_RULE}", SMALL_WHY,
    partial(by_labels, error_vanishes_from_teacher_width),
)  # fmt: skip


def disagreement_vanishes_from_teacher_width(results: Results, setup: str, at: Readout = final) -> Finding:
    """C5: ε₁,₂ on Gaussian inputs finite for K < M, which is empty for M = 1, and → 0 for K ≥ M."""
    result = results[setup]
    narrow, wide = split_widths(result)
    if not wide or not (narrow or result.attrs["teacher_width"] == 1):
        return undecided("widths on both sides of M are needed")
    wide_agree = until_decided(_wide_agree, results, setup, at)
    if not narrow:
        return wide_agree
    disagree = above(mean_over_widths("ε₁,₂ Gaussian, K < M", disagreement(result, "gauss"), narrow, at), SMALL)
    return all_of(disagree, wide_agree)


def _wide_agree(result: xr.Dataset, at: Readout) -> Finding:
    return vanishes("ε₁,₂ Gaussian, K ≥ M", disagreement(result, "gauss"), split_widths(result)[1], at)


C5 = Claim(
    "C5", "There, students disagree on Gaussian inputs for K < M and learn one function for K ≥ M.",
    "3.1", "Fig. 1 right", NOTEBOOK, ("fig1_right", "fig1_right_signs"),
    f"mean over K < M above {SMALL}, over K ≥ M below; {LONGER_RULE}", SMALL_WHY,
    partial(by_labels, disagreement_vanishes_from_teacher_width),
)  # fmt: skip


def students_recover_teacher(results: Results, setup: str, at: Readout = final) -> Finding:
    """C4 and C5, for the labels that a run has."""
    return all_of(
        error_vanishes_from_teacher_width(results, setup, at),
        disagreement_vanishes_from_teacher_width(results, setup, at),
    )


CLAIMS = (C1, C2, C3, C4, C5)
