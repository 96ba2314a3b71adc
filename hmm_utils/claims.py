"""The paper's claims as records: what is said, where, how it is checked on results, and the verdict.

A check takes the labelled results of its set-ups and returns a `Finding`. Intervals are 95 % Student-t intervals over
independent runs (initialisations and draws; the two students of a pair are averaged first), but for the strength of a
plateau, whose interval is a bootstrap's and, with the two draws of the quick profile, rather too narrow. The four
verdicts are "holds", "holds only if …", "does not follow from the stated parameters" and "not enough data".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path

import numpy as np
import xarray as xr
from scipy import stats

from hmm_utils.experiments import experiment, scale
from hmm_utils.observables import final

__all__ = ["CLAIMS", "Claim", "Finding", "Judgement", "Judgements", "judge", "plateau_strength", "save"]

HOLDS = "holds"
FAILS = "does not follow from the stated parameters"
UNDECIDED = "not enough data"

Results = Mapping[str, xr.Dataset]


@dataclass(frozen=True)
class Finding:
    """What was measured, in words and numbers, and the verdict."""

    measured: str
    verdict: str


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    statement   in this project's words          section, figure   where the paper makes it
    setups      the runs it is judged on          criterion         the formula, with its tolerance
    tolerance   why that tolerance                check             results of the set-ups → Finding
    """

    number: str
    statement: str
    section: str
    figure: str
    notebook: str
    setups: tuple[str, ...]
    criterion: str
    tolerance: str
    check: Callable[[Results], Finding]


@dataclass(frozen=True)
class Judgement:
    """A claim with its finding, ready for a table or a JSON file."""

    claim: str
    statement: str
    section: str
    figure: str
    notebook: str
    measured: str
    verdict: str
    criterion: str
    tolerance: str
    scale: str


class Judgements(tuple):
    """Judgements that show themselves as a table in a notebook."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        head = "".join(
            f"<th style='text-align:left'>{h}</th>" for h in ("", "claim", "measured", "criterion", "verdict")
        )
        rows = "".join(
            "<tr style='vertical-align:top'>"
            + "".join(
                f"<td style='text-align:left'>{escape(cell)}</td>"
                for cell in (
                    j.claim,
                    f"{j.statement} (Sec. {j.section}, {j.figure})",
                    j.measured,
                    j.criterion,
                    j.verdict,
                )
            )
            + "</tr>"
            for j in self
        )
        return f"<table>{'<tr>' + head + '</tr>'}{rows}</table>"

    def __repr__(self) -> str:
        return "\n".join(f"{j.claim}: {j.verdict}. {j.measured}" for j in self)


# ---- measuring ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % confidence interval over n runs."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3g} [{self.low:.2g}, {self.high:.2g}]"


def _interval(values: Iterable[float]) -> Interval:
    """Student-t interval of the mean of independent values; NaNs (diverged students) are left out. A single value has
    an infinite interval."""
    x = np.asarray(list(values), dtype=float)
    x = x[np.isfinite(x)]
    if x.size == 0:
        return Interval(np.nan, -np.inf, np.inf, 0)
    if x.size == 1:
        return Interval(float(x[0]), -np.inf, np.inf, 1)
    half = stats.t.ppf(0.975, x.size - 1) * x.std(ddof=1) / np.sqrt(x.size)
    return Interval(float(x.mean()), float(x.mean() - half), float(x.mean() + half), x.size)


def _runs(values: xr.DataArray) -> np.ndarray:
    """Values per independent run, students of a pair averaged."""
    if "student" in values.dims:
        values = values.mean("student")
    return values.stack(run=("draw", "init")).transpose("run", ...).values


def _slope(result: xr.Dataset, observable: str, inputs: str | None = None) -> Interval:
    """d ε / d ln K by least squares, per run."""
    curve = final(result[observable] if inputs is None else result[observable].sel(inputs=inputs))
    if result.sizes["width"] < 2:
        return _interval([])
    values = _runs(curve)
    return _interval(np.polyfit(np.log(result["width"].values), values.T, 1)[0])


def _at(result: xr.Dataset, observable: str, widths: Sequence[int], inputs: str | None = None) -> Interval:
    """Mean over the given widths of the final value, per run."""
    curve = result[observable] if inputs is None else result[observable].sel(inputs=inputs)
    return _interval(_runs(final(curve).sel(width=list(widths)).mean("width")))


def _decide(yes: bool, no: bool) -> str:
    """A verdict from two one-sided tests: clearly inside the criterion, clearly outside, or neither."""
    return HOLDS if yes else FAILS if no else UNDECIDED


def _falls(slope: Interval) -> str:
    return _decide(slope.high < 0, slope.low > 0)


def _grows(slope: Interval) -> str:
    return _decide(slope.low > 0, slope.high < 0)


def _all(verdicts: Sequence[str]) -> str:
    """All parts must hold; one that fails decides."""
    return FAILS if FAILS in verdicts else UNDECIDED if UNDECIDED in verdicts else HOLDS


def plateau_strength(time: np.ndarray, log_eps: np.ndarray, *, window: float = 3.0) -> float:
    """How much an error curve steepens again after it had become flat; 0 for a curve that flattens for good.

    s(t) = −[ln ε(t√w) − ln ε(t/√w)] / ln w is the log–log slope over a window of the factor w. The strength is the
    largest s(t₂) − s(t₁) over t₂ > t₁ with s(t₁) < FLAT, once ε is below a quarter of its first value: a shoulder
    in the first decay is no plateau. time (T,) > 0 and ln ε (T,).
    """
    log_t, step = np.log(time), np.log(window) / 4
    grid = np.arange(log_t[0], log_t[-1] + 1e-9, step)
    smooth = np.interp(grid, log_t, log_eps)
    if grid.size < 8 or not np.isfinite(smooth).all():
        return float("nan")
    s = -(smooth[4:] - smooth[:-4]) / np.log(window)
    flat = (smooth[2:-2] < smooth[0] - np.log(4)) & (s < FLAT)
    lowest = np.minimum.accumulate(np.where(flat, s, np.inf))
    return float(np.max(np.where(np.isfinite(lowest), s - lowest, 0.0)))


def _plateau(result: xr.Dataset, n_resamples: int = 400) -> tuple[Interval, str]:
    """Plateau strength of ε_g^mse at K = M, or at the only width: the mean over draws of the strength of the geometric
    mean over initialisations, with the 95 % interval of a bootstrap over draws and over initialisations within a draw.

    Averaging first is what keeps the noise of single SGD runs, which always rises and falls a little, from looking
    like a plateau; draws are not averaged, because another teacher leaves its plateau at another time.
    """
    K = result.attrs["teacher_width"] if result.sizes["width"] > 1 else int(result["width"][0])
    if K not in result["width"]:
        return _interval([]), UNDECIDED
    curve = result["eps_g_mse"].sel(width=K).where(result["time"] > 0, drop=True)
    # a student that diverges later is no example of anything before
    log_eps = np.log(curve.where(curve.notnull().all("time"))).mean("student").transpose("draw", "init", "time").values
    draws = [runs[np.isfinite(runs).all(axis=1)] for runs in log_eps]
    draws = [runs for runs in draws if len(runs)]
    n = sum(len(runs) for runs in draws)
    if n < 3:
        return _interval([]), UNDECIDED
    time = curve["time"].values

    def strength(runs: np.ndarray) -> float:
        return plateau_strength(time, runs.mean(axis=0))

    strengths = [strength(runs) for runs in draws]
    if not np.isfinite(strengths).all():  # the curve is too short for a slope
        return _interval([]), UNDECIDED
    rng = np.random.default_rng(0)
    resampled = [
        np.mean([strength(rng.choice(draws[d], size=len(draws[d]))) for d in rng.integers(len(draws), size=len(draws))])
        for _ in range(n_resamples)
    ]
    low, high = np.quantile(resampled, [0.025, 0.975])
    found = Interval(float(np.mean(strengths)), float(low), float(high), n)
    return found, _decide(found.low > PLATEAU, found.high < PLATEAU)


# ---- criteria ----------------------------------------------------------------------------------------------------

SMALL = 0.01
PAPER_END = 10_000.0
RATIO = 2.0
PLATEAU = 0.2
FLAT = 0.25
CHANCE = 0.4

_SMALL_WHY = (
    f"an error of {SMALL} is five times below the smallest error of a student with K = 1 and still several standard "
    "errors of a test set of 4 000 above zero; finite training time leaves a tail that falls as a power of time"
)
_RATIO_WHY = "the text says 'roughly' and 'about'; a factor of two is far from the factor of ten on Gaussian inputs"
_PLATEAU_WHY = (
    "curves that flatten for good stay below about 0.1 in this measure, noise included, a plateau with a drop gives "
    "0.3 to 1"
)


def _needs_time(result: xr.Dataset, observable: xr.DataArray) -> bool:
    """Whether the observable may yet vanish by the paper's end time: if that is more than a factor of three away (a
    plateau may end in between), or if it would be below SMALL by then, falling on as the power of time that it followed
    over the last factor of three."""
    end = float(result["time"][-1])
    if 3 * end < PAPER_END:
        return True
    late, earlier = float(final(observable).mean()), float(observable.sel(time=end / 3, method="nearest").mean())
    if not 0 < late < earlier:
        return False
    power = np.log(earlier / late) / np.log(end / float(result["time"].sel(time=end / 3, method="nearest")))
    return late * max(PAPER_END / end, 1.0) ** -power < SMALL


def _vanishes(
    result: xr.Dataset, observable: str, widths: Sequence[int], inputs: str | None = None
) -> tuple[Interval, str]:
    value = _at(result, observable, widths, inputs)
    verdict = _decide(value.high < SMALL, value.low > SMALL)
    curve = (result[observable] if inputs is None else result[observable].sel(inputs=inputs)).sel(width=list(widths))
    # an error that is still on its way has not failed to vanish
    return value, UNDECIDED if verdict == FAILS and _needs_time(result, curve) else verdict


def _split(result: xr.Dataset) -> tuple[list[int], list[int]]:
    M = result.attrs["teacher_width"]
    widths = [int(K) for K in result["width"].values]
    return [K for K in widths if K < M], [K for K in widths if K >= M]


def _recovers(result: xr.Dataset) -> Finding:
    """ε_g → 0 for K ≥ M (C4)."""
    _, wide = _split(result)
    if not wide:
        return Finding("no width K ≥ M was trained", UNDECIDED)
    value, verdict = _vanishes(result, "eps_g_frac", wide)
    return Finding(f"ε_g(K ≥ M) = {value}", verdict)


def _same_function(result: xr.Dataset) -> Finding:
    """ε₁,₂ on Gaussian inputs finite for K < M and zero for K ≥ M (C5)."""
    narrow, wide = _split(result)
    if not narrow or not wide:
        return Finding("widths on both sides of M are needed", UNDECIDED)
    few = _at(result, "eps_12_frac", narrow, "gauss")
    many, zero = _vanishes(result, "eps_12_frac", wide, "gauss")
    finite = _decide(few.low > SMALL, few.high < SMALL)
    return Finding(f"ε₁,₂ Gaussian: {few} for K < M, {many} for K ≥ M", _all([finite, zero]))


_OPPOSITE = {HOLDS: FAILS, FAILS: HOLDS, UNDECIDED: UNDECIDED}
_MODES = {"first": "the first layer alone is trained", "both": "both layers are trained"}


def _plateaus(results: Results, names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """In words, and whether there is a plateau, by the layers that are trained."""
    found = {results[name].attrs["layers"]: _plateau(results[name]) for name in names}
    text = ", ".join(f"{layers} {value}" for layers, (value, _) in found.items())
    return f"plateau strength: {text}", {layers: verdict for layers, (_, verdict) in found.items()}


def _by_layers(text: str, verdicts: Mapping[str, str]) -> Finding:
    """Holds if it holds in every mode; on a condition if it holds in one mode and fails in the other."""
    good = [layers for layers, verdict in verdicts.items() if verdict == HOLDS]
    if good and FAILS in verdicts.values():
        return Finding(text, f"holds only if {_MODES[good[0]]}")
    return Finding(text, _all(list(verdicts.values())) if good or set(verdicts.values()) == {FAILS} else UNDECIDED)


def _present(results: Results, prefix: str) -> list[str]:
    return [name for name in results if name == prefix or name.startswith(prefix + "/")]


def _ratio(result: xr.Dataset, widths: Sequence[int]) -> tuple[Interval, str]:
    """ε₁,₂ on test inputs over ε_g, per run, over these widths."""
    on_test = final(result["eps_12_frac"].sel(inputs="test")).sel(width=list(widths)).mean("width")
    eps_g = final(result["eps_g_frac"]).mean("student").sel(width=list(widths)).mean("width")
    ratio = _interval(_runs(on_test / eps_g))
    inside = ratio.low > 1 / RATIO and ratio.high < RATIO
    return ratio, _decide(inside, ratio.high < 1 / RATIO or ratio.low > RATIO)


def _c1(results: Results) -> Finding:
    slope = _slope(results["fig1_left"], "eps_g_frac")
    return Finding(f"dε_g/dlnK = {slope}", _falls(slope))


def _c2(results: Results) -> Finding:
    wide = [int(K) for K in results["fig1_left"]["width"].values if K >= 3]
    if not wide:
        return Finding("no width K ≥ 3 was trained", UNDECIDED)
    ratio, verdict = _ratio(results["fig1_left"], wide)
    return Finding(f"ε₁,₂/ε_g on test images, K ≥ 3: {ratio}", verdict)


def _c3(results: Results) -> Finding:
    slope = _slope(results["fig1_left"], "eps_12_frac", "gauss")
    return Finding(f"dε₁,₂/dlnK on Gaussian inputs = {slope}", _grows(slope))


def _real_or_signs(real: Finding, signs: Finding) -> Finding:
    text = f"real labels: {real.measured}; labels ±1: {signs.measured}"
    if real.verdict == signs.verdict:
        return Finding(text, real.verdict)
    if real.verdict == HOLDS and signs.verdict == FAILS:
        return Finding(
            text, "holds only if the labels are the teacher's real outputs, as Eq. (4) says, not their signs"
        )
    if signs.verdict == HOLDS and real.verdict == FAILS:
        return Finding(text, "holds only if the labels are the signs of the teacher's outputs")
    return Finding(text, UNDECIDED)


def _c4(results: Results) -> Finding:
    return _real_or_signs(_recovers(results["fig1_right"]), _recovers(results["fig1_right_signs"]))


def _c5(results: Results) -> Finding:
    return _real_or_signs(_same_function(results["fig1_right"]), _same_function(results["fig1_right_signs"]))


def _c8(results: Results) -> Finding:
    four, five = _recovers(results["fig3_right"]), _same_function(results["fig3_right"])
    return Finding(f"{four.measured}; {five.measured}", _all([four.verdict, five.verdict]))


def _c9(results: Results) -> Finding:
    result = results["fig3_left"]
    widths = [int(K) for K in result["width"].values]
    ratio, same = _ratio(result, widths)
    slope = _slope(result, "eps_12_frac", "gauss")
    widest = _at(result, "eps_12_frac", [max(widths)], "gauss")
    grows = _grows(slope)
    chance = _decide(widest.low > CHANCE, widest.high < CHANCE)
    text = (
        f"ε₁,₂/ε_g on structured inputs: {ratio}; dε₁,₂/dlnK on Gaussian inputs = {slope}; "
        f"ε₁,₂ there at K = {max(widths)}: {widest}"
    )
    return Finding(text, _all([same, grows, chance]))


def _c6(results: Results) -> Finding:
    return _by_layers(*_plateaus(results, _present(results, "fig2_left_iid")))


def _c7(results: Results) -> Finding:
    text, verdicts = _plateaus(results, _present(results, "fig2_left_digits"))
    return _by_layers(text, {layers: _OPPOSITE[verdict] for layers, verdict in verdicts.items()})


def _c10(results: Results) -> Finding:
    taught, teacher = _plateaus(results, _present(results, "fig2_right_teacher"))
    unfolded, latent = _plateaus(results, _present(results, "fig2_right_latent"))
    return _by_layers(
        f"teacher labels, {taught}; latent labels, {unfolded}",
        {layers: _all([teacher[layers], _OPPOSITE[latent[layers]]]) for layers in teacher},
    )


def _c11(results: Results) -> Finding:
    result = results["fig4_pretraining"]
    value, n = float(final(result["eps_g_frac"]).mean()), result.attrs["n_test"]
    # binomial error of a fraction counted on n test images
    error = 1.96 * np.sqrt(value * (1 - value) / n)
    text = f"ε_g = {value:.3f} ± {error:.3f} on {n} test images ({result.attrs['dataset'].split(';')[0]})"
    if not result.attrs["dataset"].startswith("MNIST"):
        return Finding(text, UNDECIDED)
    return Finding(
        text, _decide(value - error > 0.04 and value + error < 0.06, value - error > 0.06 or value + error < 0.04)
    )


def _c12(results: Results) -> Finding:
    four, five = _recovers(results["fig4"]), _same_function(results["fig4"])
    waits = [(results[name].attrs["layers"], *_plateau(results[name])) for name in ("fig4_inset", "fig4")]
    six = "plateau strength: " + ", ".join(f"{layers} {value}" for layers, value, _ in waits)
    verdicts = [four.verdict, five.verdict, *(verdict for *_, verdict in waits)]
    return Finding(f"{four.measured}; {five.measured}; {six}", _all(verdicts))


_SMALL_RULE = f"mean over K ≥ M below {SMALL}"
_PLATEAU_RULE = f"steepening s(t₂) − s(t₁) after s(t₁) < {FLAT}, with s = −dlnε/dlnt, above {PLATEAU}"
_NO_PLATEAU_RULE = f"steepening after a flat stretch below {PLATEAU}"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C1", "On MNIST the test error falls as students get wider.", "3.1", "Fig. 1 left", "01_independent_students",
        ("fig1_left",), "slope of ε_g in ln K below 0", "zero is the claim's own border", _c1,
    ),
    Claim(
        "C2", "For K ≥ 3 two students disagree on MNIST images about as often as they err.", "3.1", "Fig. 1 left",
        "01_independent_students", ("fig1_left",), f"ε₁,₂/ε_g between 1/{RATIO:g} and {RATIO:g}", _RATIO_WHY, _c2,
    ),
    Claim(
        "C3", "On Gaussian inputs their disagreement grows with K.", "3.1", "Fig. 1 left", "01_independent_students",
        ("fig1_left",), "slope of ε₁,₂ in ln K above 0", "zero is the claim's own border", _c3,
    ),
    Claim(
        "C4", "With i.i.d. inputs and a teacher the test error goes to zero for K ≥ M.", "3.1", "Fig. 1 right",
        "01_independent_students", ("fig1_right", "fig1_right_signs"), _SMALL_RULE, _SMALL_WHY, _c4,
    ),
    Claim(
        "C5", "There, students disagree on Gaussian inputs for K < M and learn one function for K ≥ M.",
        "3.1", "Fig. 1 right", "01_independent_students", ("fig1_right", "fig1_right_signs"),
        f"mean over K < M above {SMALL}, over K ≥ M below", _SMALL_WHY, _c5,
    ),
    Claim(
        "C6", "With i.i.d. inputs and a teacher the test error stays on a plateau and then drops.", "3.2",
        "Fig. 2 left", "02_plateaus", ("fig2_left_iid",), _PLATEAU_RULE, _PLATEAU_WHY, _c6,
    ),
    Claim(
        "C7", "On MNIST there is no plateau.", "3.2", "Fig. 2 left", "02_plateaus", ("fig2_left_digits",),
        _NO_PLATEAU_RULE, _PLATEAU_WHY, _c7,
    ),
    Claim(
        "C8", "Structured inputs with teacher labels behave like i.i.d. inputs (C4, C5).", "4.1", "Fig. 3 right",
        "03_hidden_manifold_model", ("fig3_right",), f"as C4 and C5: {_SMALL_RULE}", _SMALL_WHY, _c8,
    ),
    Claim(
        "C9", "Structured inputs with latent labels behave like MNIST: students agree on structured inputs up to their "
        "test error, and disagree on Gaussian inputs the more the wider they are, towards one half.",
        "4.1", "Fig. 3 left",
        "03_hidden_manifold_model", ("fig3_left",),
        f"ε₁,₂/ε_g between 1/{RATIO:g} and {RATIO:g}; slope of ε₁,₂ (Gaussian) in ln K above 0; ε₁,₂ above {CHANCE} at "
        "the largest K", f"{_RATIO_WHY}; 'up to one half' is read as at least {CHANCE}", _c9,
    ),
    Claim(
        "C10", "Structured inputs: a plateau with teacher labels, none with latent labels.", "4.1", "Fig. 2 right",
        "03_hidden_manifold_model", ("fig2_right_teacher", "fig2_right_latent"),
        f"{_PLATEAU_RULE} with teacher labels, below with latent ones", _PLATEAU_WHY, _c10,
    ),
    Claim(
        "C11", "A network with M = 4 trained on MNIST reaches an error of about 5 %.", "4.2", "Fig. 4",
        "03_hidden_manifold_model", ("fig4_pretraining",), "0.04 < ε_g < 0.06",
        "'about 5 %' to the nearest per cent", _c11,
    ),
    Claim(
        "C12", "Gaussian inputs labelled by that network behave as with a random teacher (C4–C6).", "4.2",
        "Fig. 4 left", "03_hidden_manifold_model", ("fig4", "fig4_inset"),
        f"as C4, C5 and C6: {_SMALL_RULE}; {_PLATEAU_RULE}",
        f"{_SMALL_WHY}; {_PLATEAU_WHY}", _c12,
    ),
)  # fmt: skip


def _other_manifold(result: xr.Dataset) -> bool:
    """Whether D/N of structured inputs is not the paper's: what then fails may follow from its parameters after all."""
    at = result.attrs
    if at["inputs"] != "structured":
        return False
    paper = experiment(at["name"], "paper", layers=at["layers"])
    return at["n_latent"] / at["n_inputs"] != paper.n_latent / paper.n_inputs


def judge(notebook: str, results: Results) -> Judgements:
    """The verdicts on all claims of a notebook, from its results by set-up name (as `experiments.plan` names them)."""
    judgements = []
    for claim in CLAIMS:
        if claim.notebook != notebook:
            continue
        used = {name: results[name] for prefix in claim.setups for name in _present(results, prefix)}
        finding = claim.check(results)
        if finding.verdict == FAILS and any(_other_manifold(result) for result in used.values()):
            finding = Finding(
                f"{finding.measured}; the criterion fails here, at another D/N than the paper's", UNDECIDED
            )
        if any(result.attrs["inputs"] == "digits" and result.attrs["n_inputs"] == 64 for result in used.values()):
            finding = Finding(f"on 8×8 digits instead of MNIST: {finding.measured}", finding.verdict)
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
                scale="; ".join(dict.fromkeys(scale(result) for result in used.values())),
            )
        )
    return Judgements(judgements)


def save(judgements: Judgements, notebook: str, out: str | Path) -> None:
    """Writes OUT/claims/NOTEBOOK.json, aside first; an empty `out` writes nothing."""
    if not str(out):
        return
    folder = Path(out) / "claims"
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{notebook}.json"
    aside.write_text(json.dumps([asdict(j) for j in judgements], ensure_ascii=False, indent=1), encoding="utf-8")
    aside.replace(folder / f"{notebook}.json")
