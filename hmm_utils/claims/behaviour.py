"""What several claims say of different runs: errors that vanish, students that agree, plateaus."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from hmm_utils.claims.criteria import (
    CHANCE,
    PAPER_END,
    RATIO,
    SMALL,
    above,
    below,
    between,
    labelled,
    together,
    unknown,
    worst,
)
from hmm_utils.claims.measuring import (
    mean_over_widths,
    on_inputs,
    ratio_of,
    slope_in_log_width,
    split_widths,
    widths_of,
)
from hmm_utils.claims.plateaus import plateau_of
from hmm_utils.claims.records import FAILS, HOLDS, ONLY_IF, UNDECIDED, Finding, Reading, Results, Value
from hmm_utils.model.observables import final


def _needs_time(curve: xr.DataArray, border: float, at: Reading) -> bool:
    """Whether an error may yet vanish: if the paper's end is more than a factor of three away (a plateau may end in
    between), or if it would be below the border by then, or in another factor of three, falling on as the power of
    time that it followed over the last factor of three. The paper does not say when its runs end."""
    end = float(curve["time"][-1])
    if 3 * end < PAPER_END:
        return True
    third = float(curve["time"].sel(time=end / 3, method="nearest"))
    late, earlier = float(at(curve).mean()), float(at(curve.sel(time=slice(None, third))).mean())
    if not 0 < late < earlier:
        return False
    power = np.log(earlier / late) / np.log(end / third)
    return late * max(PAPER_END / end, 3.0) ** -power < border


def vanishes(
    name: str, curve: xr.DataArray, widths: Sequence[int], at: Reading = final, border: float = SMALL
) -> Finding:
    value = mean_over_widths(name, curve, widths, at)
    verdict = below(value, border)
    # an error that is still on its way has not failed to vanish
    late = verdict == FAILS and _needs_time(curve.sel(width=list(widths)), border, at)
    return Finding((value,), UNDECIDED if late else verdict)


def learns(result: xr.Dataset, at: Reading = final) -> Finding:
    """ε_g falls with K (C1)."""
    slope = slope_in_log_width("dε_g/dlnK", result["eps_g_frac"], at)
    return Finding((slope,), below(slope, 0))


def parts_company(result: xr.Dataset, at: Reading = final) -> Finding:
    """ε₁,₂ on Gaussian inputs grows with K (C3)."""
    slope = slope_in_log_width("dε₁,₂/dlnK on Gaussian inputs", on_inputs(result, "gauss"), at)
    return Finding((slope,), above(slope, 0))


def agreement(where: str, result: xr.Dataset, at: Reading = final) -> Value:
    return ratio_of(f"ε₁,₂/ε_g on {where}", on_inputs(result, "test"), result["eps_g_frac"], at)


def recovers(result: xr.Dataset, at: Reading = final) -> Finding:
    """ε_g → 0 for K ≥ M (C4)."""
    _, wide = split_widths(result)
    if not wide:
        return unknown("no width K ≥ M was trained")
    return vanishes("ε_g(K ≥ M)", result["eps_g_frac"], wide, at)


def same_function(result: xr.Dataset, at: Reading = final) -> Finding:
    """ε₁,₂ on Gaussian inputs finite for K < M, which is empty for M = 1, and zero for K ≥ M (C5)."""
    return together(differ(result, at), agree(result, at))


def _one_sided(result: xr.Dataset) -> Finding | None:
    """What is to say where C5 has nothing to compare."""
    narrow, wide = split_widths(result)
    if wide and (narrow or result.attrs["teacher_width"] == 1):
        return None
    return unknown("widths on both sides of M are needed")


def differ(result: xr.Dataset, at: Reading = final) -> Finding:
    """ε₁,₂ on Gaussian inputs finite for K < M, which is empty for M = 1."""
    narrow, _ = split_widths(result)
    if (nothing := _one_sided(result)) or not narrow:
        return nothing or Finding((), HOLDS)
    finite = mean_over_widths("ε₁,₂ Gaussian, K < M", on_inputs(result, "gauss"), narrow, at)
    return Finding((finite,), above(finite, SMALL))


def agree(result: xr.Dataset, at: Reading = final) -> Finding:
    """ε₁,₂ on Gaussian inputs zero for K ≥ M."""
    _, wide = split_widths(result)
    return _one_sided(result) or vanishes("ε₁,₂ Gaussian, K ≥ M", on_inputs(result, "gauss"), wide, at)


def like_mnist(result: xr.Dataset, at: Reading = final) -> Finding:
    """ε₁,₂ ≈ ε_g on structured inputs; on Gaussian ones it grows with K, towards 1/2 (C9)."""
    ratio = agreement("structured inputs", result, at)
    widest = max(widths_of(result))
    chance = mean_over_widths(f"ε₁,₂ Gaussian, K = {widest}", on_inputs(result, "gauss"), [widest], at)
    return together(
        Finding((ratio,), between(ratio, 1 / RATIO, RATIO)),
        parts_company(result, at),
        Finding((chance,), above(chance, CHANCE)),
    )


def trained_on(check: Callable[[xr.Dataset, Reading], Finding], results: Results, name: str, at: Reading) -> Finding:
    """Whether errors of a run vanish; where that is open, because they still fall, the same run trained on decides."""
    finding, longer = check(results[name], at), results.get(f"{name}/longer")
    if finding.verdict != UNDECIDED or longer is None:
        return finding
    end = f"t = {float(longer['time'][-1]):g}"
    later = check(longer, at)
    verdict = f"{ONLY_IF}training goes on to {end}" if later.verdict == HOLDS else later.verdict
    return replace(together(finding, labelled(end, later)), verdict=verdict)


def conditional(first: tuple[str, Finding], second: tuple[str, Finding]) -> Finding:
    """Both cases told; where one holds and the other fails, the claim holds only if it is the first or the second."""
    (one, a), (other, b) = first, second
    verdicts = {a.verdict, b.verdict}
    if FAILS in verdicts and len(verdicts) == 2 and UNDECIDED not in verdicts:
        case, found = (other, b) if a.verdict == FAILS else (one, a)
        return replace(together(a, b), verdict=worst([ONLY_IF + case, found.verdict]))
    return replace(together(a, b), verdict=a.verdict if len(verdicts) == 1 else UNDECIDED)


MODES = {"first": "the first layer alone is trained", "both": "both layers are trained"}


def present(results: Results, prefix: str) -> list[str]:
    return [name for name in results if name == prefix or name.startswith(prefix + "/")]


def plateaus_by_layers(results: Results, prefix: str, labels: str = "") -> dict[str, Finding]:
    """Findings by the layers that are trained."""
    runs = (results[name] for name in present(results, prefix))
    return {(mode := run.attrs["layers"]): plateau_of(f"plateau strength{labels}, {mode}", run) for run in runs}


def by_layers(found: Mapping[str, Finding]) -> Finding:
    """Holds if it holds in every mode; on a condition if it holds in one mode and fails in the other."""
    if len(found) == 1:
        return next(iter(found.values()))
    first, second = ((MODES[mode], finding) for mode, finding in found.items())
    return conditional(first, second)


def kept_verdict(names: str, before: Finding, after: Finding) -> Finding:
    """Whether two verdicts agree: what holds, and what holds on a condition, agree on that condition; if one of them is
    undecided, so is this."""
    verdicts = {before.verdict, after.verdict}
    if UNDECIDED in verdicts:
        same = UNDECIDED
    elif len(verdicts) == 1:
        same = HOLDS
    else:
        same = worst((before.verdict, after.verdict))
    return Finding(before.values + after.values, same, (f"{names}: {before.verdict} → {after.verdict}",))
