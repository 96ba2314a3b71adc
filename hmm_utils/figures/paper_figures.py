"""The paper's ten figures, one function each.

Each takes results by the names of :func:`hmm_utils.runs.experiments.plan`, a notebook's own or the stored ones at the
paper's scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import xarray as xr
from matplotlib.figure import Figure

from hmm_utils.figures.curves import independent_students, learning_curves
from hmm_utils.model.observables import early_stopping, final

__all__ = ["fig1", "fig2_left", "fig2_right", "fig3", "fig4", "fig5", "fig6", "fig7", "fig8", "fig9", "fig10"]

Results = Mapping[str, xr.Dataset]
BOTH_MODES = ("first", "both")


def _digits(result: xr.Dataset) -> str:
    return result.attrs["dataset"].split(";")[0]


def _titled(what: str, result: xr.Dataset) -> dict[str, xr.Dataset]:
    """One panel, with M in its title."""
    return {f"{what} (M = {result.attrs['teacher_width']})": result}


def fig1(results: Results) -> Figure:
    """Independent students on digits, and on i.i.d. inputs with a teacher: real-valued labels, and their signs."""
    digits, real, signs = (results[name] for name in ("fig1_left", "fig1_right", "fig1_right_signs"))
    return independent_students(
        {
            f"{_digits(digits)}, odd–even": digits,
            f"i.i.d., teacher M = {real.attrs['teacher_width']}, {real.attrs['labels']} labels": real,
            f"the same, {signs.attrs['labels']} labels": signs,
        }
    )


def _by_mode(results: Results, name: str, modes: Sequence[str]) -> dict[str, xr.Dataset]:
    return {mode: results[f"{name}/{mode}"] for mode in modes}


def fig2_left(results: Results, modes: Sequence[str] = BOTH_MODES) -> Figure:
    """Learning curves on digits, and on i.i.d. inputs with a teacher.

    Parameters
    ----------
    results : mapping of str to Dataset
        Results by name.
    modes : sequence of {"first", "both"}
        The layers that were trained.
    """
    digits = _by_mode(results, "fig2_left_digits", modes)
    teacher = _by_mode(results, "fig2_left_iid", modes)
    return learning_curves({"i.i.d. inputs, teacher": teacher, _digits(digits[modes[0]]): digits})


def fig2_right(results: Results, modes: Sequence[str] = BOTH_MODES) -> Figure:
    """Learning curves on structured inputs, with teacher labels and with latent labels.

    Parameters
    ----------
    results : mapping of str to Dataset
        Results by name.
    modes : sequence of {"first", "both"}
        The layers that were trained.
    """
    return learning_curves(
        {
            "teacher labels": _by_mode(results, "fig2_right_teacher", modes),
            "latent labels": _by_mode(results, "fig2_right_latent", modes),
        }
    )


def fig3(results: Results) -> Figure:
    """Independent students on structured inputs: latent labels (the hidden manifold model), and teacher labels."""
    return independent_students(
        _titled("structured inputs, latent labels", results["fig3_left"])
        | _titled("structured inputs, teacher labels", results["fig3_right"])
    )


def fig4(results: Results) -> Figure:
    """Independent students on i.i.d. inputs labelled by a network trained on digits. Inset: learning curves, K = M."""
    digits, both, first = (results[name] for name in ("fig4_pretraining", "fig4", "fig4_inset"))
    M = int(digits["width"][0])
    inset = None
    if M in both["width"] and M in first["width"]:
        inset = {f"K = {M}": {"first": first.sel(width=[M]), "both": both.sel(width=[M])}}
    return independent_students(
        {f"Gaussian inputs, labels by a network trained on {_digits(digits)}": both}, inset=inset
    )


def fig5(results: Results) -> Figure:
    """Independent students on structured inputs with the linear f(x) = x, Eq. (8)."""
    return independent_students(
        _titled("f(x) = x, teacher labels", results["fig5_teacher"])
        | _titled("f(x) = x, latent labels", results["fig5_latent"])
    )


def fig6(results: Results) -> Figure:
    """Independent students on structured inputs with f(x) = max(0, x), Eq. (9)."""
    return independent_students(
        _titled("f(x) = max(0, x), latent labels", results["fig6_latent"])
        | _titled("f(x) = max(0, x), teacher labels", results["fig6_teacher"])
    )


def fig7(results: Results) -> Figure:
    """Learning curves of a latent task and of a teacher task. Dotted: where each ends."""
    latent, teacher = results["fig7_latent"], results["fig7_teacher"]
    return learning_curves(
        {
            "structured inputs, latent labels": {latent.attrs["layers"]: latent},
            "i.i.d. inputs, teacher labels": {teacher.attrs["layers"]: teacher},
        },
        width=int(latent["width"][0]),
        ends=True,
    )


def fig8(results: Results) -> Figure:
    """Figs. 1 (left) and 3 with early stopping: the smallest error along training."""
    digits = results["fig1_left"]
    return independent_students(
        {f"{_digits(digits)}, odd–even": digits}
        | _titled("structured, latent labels", results["fig3_left"])
        | _titled("structured, teacher labels", results["fig3_right"]),
        value=early_stopping,
    )


def fig9(results: Results) -> Figure:
    """Fig. 3 with D = N/2: errors at the end of training (top) and with early stopping (bottom)."""
    return independent_students(
        _titled("structured inputs, latent labels", results["fig9_latent"])
        | _titled("structured inputs, teacher labels", results["fig9_teacher"]),
        value=[final, early_stopping],
    )


def fig10(results: Results) -> Figure:
    """Figs. 1 (left) and 3 with ReLU students."""
    digits = results["fig10_left"]
    return independent_students(
        {f"{_digits(digits)}, odd–even": digits}
        | _titled("structured, latent labels", results["fig10_latent"])
        | _titled("structured, teacher labels", results["fig10_teacher"])
    )
