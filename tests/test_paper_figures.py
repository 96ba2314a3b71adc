"""Each of the ten figures draws the runs that belong to it, and says which panel is which."""

import numpy as np
import pytest
from helpers.figures import BLUE, bars, closed, random_result  # noqa: F401

from hmm_utils.figures import paper_figures
from hmm_utils.model.observables import early_stopping, final
from hmm_utils.runs import experiments

# figure → the runs of its panels, from left to right, and what their titles must say
PANELS = {
    "fig1": {"fig1_left": "odd–even", "fig1_right": "M = 4, real labels", "fig1_right_signs": "sign labels"},
    "fig3": {"fig3_left": "latent labels (M = 1)", "fig3_right": "teacher labels (M = 4)"},
    "fig5": {"fig5_teacher": "f(x) = x, teacher labels (M = 1)", "fig5_latent": "latent labels (M = 1)"},
    "fig6": {"fig6_latent": "max(0, x), latent labels (M = 1)", "fig6_teacher": "teacher labels (M = 1)"},
    "fig8": {"fig1_left": "odd–even", "fig3_left": "latent labels (M = 1)", "fig3_right": "teacher labels (M = 4)"},
    "fig9": {"fig9_latent": "latent labels (M = 1)", "fig9_teacher": "teacher labels (M = 4)"},
    "fig10": {"fig10_left": "odd–even", "fig10_latent": "latent labels", "fig10_teacher": "teacher labels"},
}
ROWS = {"fig8": [early_stopping], "fig9": [final, early_stopping]}


@pytest.mark.parametrize("name", PANELS)
def test_every_panel_shows_its_run(name):
    """The error of the run that belongs there, read off as the figure says, and a title that tells which it is."""
    results = {run: random_result(run, seed) for seed, run in enumerate(PANELS[name])}
    figure = getattr(paper_figures, name)(results)
    rows = ROWS.get(name, [final])
    axes = np.array(figure.axes).reshape(len(rows), -1)
    for take, row in zip(rows, axes, strict=True):
        for axis, (run, title) in zip(row, PANELS[name].items(), strict=True):
            expected = take(results[run]["eps_g_frac"]).mean(["draw", "init", "student"])
            np.testing.assert_allclose(bars(axis)[BLUE, "o"][1], expected, rtol=1e-6)
            if row is axes[0]:
                assert title in axis.get_title()


@pytest.mark.parametrize("name", ["fig2_left", "fig2_right"])
@pytest.mark.parametrize("modes", [("first", "both"), ("both",)], ids=["both modes", "one mode"])
def test_every_mode_has_its_curve(name, modes):
    """Two tasks, dashed where the first layer alone was trained."""
    tasks = {"fig2_left": ("iid", "digits"), "fig2_right": ("teacher", "latent")}[name]
    results = {
        f"{name}_{task}/{mode}": random_result(f"{name}_{task}", layers=mode, widths=(3,))
        for task in tasks
        for mode in modes
    }
    axis = getattr(paper_figures, name)(results, modes).axes[0]
    drawn = [line for line in axis.lines if len(line.get_xdata()) > 2]
    assert [line.get_linestyle() for line in drawn] == [{"first": "--", "both": "-"}[mode] for mode in modes] * 2
    for line, result in zip(drawn, results.values(), strict=True):
        expected = result["eps_g_mse"].isel(width=0, time=slice(1, None)).mean(["draw", "init", "student"])
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-6)


def test_the_inset_of_figure_4_needs_students_as_wide_as_the_teacher():
    digits = random_result("fig4_pretraining", teacher_width=2)
    runs = {name: random_result("fig1_right", widths=(1, 2)) for name in ("fig4", "fig4_inset")}
    (axis,) = paper_figures.fig4({"fig4_pretraining": digits, **runs}).axes
    assert len(axis.child_axes) == 1 and "trained on" in axis.get_title()
    runs = {name: random_result("fig1_right", widths=(1, 3)) for name in ("fig4", "fig4_inset")}
    (axis,) = paper_figures.fig4({"fig4_pretraining": digits, **runs}).axes
    assert not axis.child_axes


def test_figure_7():
    """Dotted lines mark where its curves end. The logarithmic panel ends a decade below the lowest mean, however low
    single students are that found their teacher."""
    results = {name: random_result(name, layers="first", widths=(6,)) for name in ("fig7_latent", "fig7_teacher")}
    taught = results["fig7_teacher"]
    lowest = taught["eps_g_mse"].where((taught["init"] > 0) | (taught["time"] == 0), 1e-12)
    results["fig7_teacher"] = taught.assign(eps_g_mse=lowest)
    linear, logarithmic = paper_figures.fig7(results).axes
    later = (result["eps_g_mse"].isel(time=slice(1, None)) for result in results.values())
    means = [eps_g.mean(["draw", "init", "student"]) for eps_g in later]
    marks = sorted(float(line.get_ydata()[0]) for line in linear.lines if line.get_linestyle() == ":")
    assert marks == pytest.approx(sorted(float(final(mean).squeeze()) for mean in means))
    assert logarithmic.get_ylim()[0] == pytest.approx(min(float(mean.min()) for mean in means) / 10)


def test_every_figure_has_a_function():
    """The ten figures, of which Fig. 2 has its two halves in two notebooks."""
    numbers = {e.figure.split()[1].split(",")[0] for e in experiments.whole_plan("paper").values()} | {"8"}
    assert {name.removeprefix("fig").split("_")[0] for name in paper_figures.__all__} == numbers
