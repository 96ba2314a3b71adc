"""Appendix C: the minimum over time is that of each student's own curve, never of the mean of a pair."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from hmm_utils.claims.measuring import ratio_within_runs, slope_in_log_width
from hmm_utils.figures import curves
from hmm_utils.model.observables import early_stopping


@pytest.fixture
def result():
    """Students 1 and 2 of every pair are best, at ln K + 1 tenths, at different times; ε₁,₂ is 1 throughout."""
    K = np.array([1, 2, 4])
    eps_g = np.ones((2, 3, 2, 3, 4))  # draw, init, student, width, time
    eps_g[:, :, 0, :, 1] = eps_g[:, :, 1, :, 2] = (1 + np.log(K)) / 10
    variables = {
        "eps_g_frac": (("draw", "init", "student", "width", "time"), eps_g),
        "eps_12_frac": (("inputs", "draw", "init", "width", "time"), np.ones((2, 2, 3, 3, 4))),
    }
    return xr.Dataset(variables, coords={"width": K, "inputs": ["test", "gauss"]}, attrs={"kind": "gaussian"})


def test_minimum_is_that_of_each_student(result):
    """A pair's mean curve is smallest at 0.55 for K = 1, its students at 0.1: in the observable, in the numbers that
    claims are judged by, and in what Figs. 8 and 9 draw."""
    eps_g, expected = result["eps_g_frac"], (1 + np.log([1, 2, 4])) / 10
    best = early_stopping(eps_g)
    assert best.dims == ("draw", "init", "student", "width")
    np.testing.assert_allclose(best, np.broadcast_to(expected, best.shape))
    assert slope_in_log_width("slope", eps_g, early_stopping).mean == pytest.approx(0.1)
    ratio = ratio_within_runs("ratio", eps_g, result["eps_12_frac"].sel(inputs="test"), early_stopping)
    assert ratio.mean == pytest.approx(expected.mean())
    axis = Figure().subplots()
    curves._draw_students(axis, result, early_stopping)
    np.testing.assert_allclose(axis.containers[0].lines[0].get_ydata(orig=False), expected)
