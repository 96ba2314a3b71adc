"""scan: its points, what is measured on them against plain loops and the claims' own checks, its file and its
figures."""

from dataclasses import replace
from math import log

import h5py
import numpy as np
import pytest
import xarray as xr
from helpers import claims
from helpers.figures import closed  # noqa: F401
from matplotlib.collections import LineCollection, PathCollection, PolyQuadMesh, QuadMesh

from hmm_utils import figures
from hmm_utils.claims import appendices, hidden_manifold, validity
from hmm_utils.model.observables import early_stopping
from hmm_utils.runs import archive, cache, experiments, scan, sweep
from hmm_utils.sgd.training import evaluation_times

WIDTHS, N_TIMES, END = (1, 2, 4, 8, 16), 9, 100.0


def made(*, alpha=1, labels="sign", layers="both", D=10, N=784, setup="fig3_left", **laws):
    """Made-up results of a point of the scan: ε_g, ε₁,₂ on_test and on_gauss are given functions of (K, t)."""
    e = experiments.experiment(
        setup, "quick", widths=WIDTHS, time=END, n_times=N_TIMES, n_draws=2, n_pairs=2, labels=labels, layers=layers,
        n_latent=D, n_inputs=N, n_train=alpha * N,
    )  # fmt: skip
    usual = {"spread": 0, "eps_g": lambda K, t: 0.05 + 0.4 * np.exp(-t), "on_test": 0.05, "on_gauss": 0.3}
    return claims.made(e, **(usual | laws))


def at_index(result, K_max, i):
    """What the claims' checks are given to compare: widths K ≤ K_max, and curves that end at the i-th time."""
    return result.sel(width=result["width"] <= K_max).isel(time=slice(None, i + 1))


# ---- points ------------------------------------------------------------------------------------------------------


def test_points_are_those_of_the_table():
    """Fig. 3's factorial, Fig. 9's, and lines through the caption's setting along D and N; that comes first."""
    found = [
        (e.n_train / e.n_inputs, e.labels, e.layers, e.n_inputs, e.n_latent) for e in scan.points("paper").values()
    ]
    modes = [(alpha, y, mode) for alpha in (1, 4, 16, 76) for y in ("sign", "real") for mode in ("first", "both")]
    expected = {(*mode, *size) for mode in modes for size in ((784, 10), (500, 250))}
    for y in ("sign", "real"):
        expected |= {(76, y, "both", 784, D) for D in (5, 20, 50, 100, 392)}
        expected |= {(76, y, "both", N, 10) for N in (100, 200, 400)}
    assert set(found) == expected and len(found) == len(expected) == 48
    assert found[0] == (76, "sign", "both", 784, 10)


@pytest.mark.parametrize("profile", experiments.PROFILES)
def test_every_point_is_the_hidden_manifold_model(profile):
    """Structured inputs, f = sgn, latent labels of one unit, erf students with η = 0.2, an end time and widths for all;
    what is scanned and the figure around which it is are said."""
    points = scan.points(profile)
    (fixed,) = {
        (e.inputs, e.f, e.task, e.teacher_width, e.activation, e.lr, e.time, e.widths, e.n_draws, e.profile)
        for e in points.values()
    }
    assert fixed[:6] == ("structured", "sgn", "latent", 1, "erf", 0.2) and fixed[-1] == profile
    assert {e.figure for e in points.values()} == {"Fig. 3 left, scanned", "Fig. 9 left, scanned"}
    for name, e in points.items():
        P = "P=N" if e.n_train == e.n_inputs else f"P={e.n_train // e.n_inputs}N"
        assert name == f"scan/{P}, {e.labels}, {e.layers}, D={e.n_latent}, N={e.n_inputs}"
        assert (e.figure == "Fig. 9 left, scanned") == (2 * e.n_latent == e.n_inputs and e.n_latent != 392)


@pytest.mark.parametrize("profile", experiments.PROFILES)
def test_points_differ_and_are_always_the_same(profile):
    """No two points are one run, two calls give the same draws, and another seed gives others."""
    first, again, other = ([cache.key(e, 0) for e in scan.points(profile, seed=s).values()] for s in (None, None, 7))
    assert first == again and len(set(first)) == len(first) == len(other) and not set(other) & set(first)


# ---- measuring ---------------------------------------------------------------------------------------------------

LAWS = dict(
    eps_g=lambda K, t: (0.05 + 0.01 * np.log(K) * t / END) + 0.4 * np.exp(-t / K),
    on_test=lambda K, t: 0.02 * K**0.3 + 0.4 * np.exp(-t),
    on_gauss=lambda K, t: 0.5 - 0.3 * (1 - np.exp(-t / 30)) / K,
)


def test_numbers_are_those_of_the_claims():
    """At every end time and largest width the numbers are the means that the claims' own checks find on the same widths
    and times: C9's three, and C17's slopes and quotient. Both are the same sums in another order."""
    scattered = [LAWS | {"spread": 0.1, "seed": seed} for seed in range(2)]
    many = made(setup="fig9_latent", D=392, N=784, **scattered[0])
    few = made(**scattered[1])
    both = {"many": many, "few": few}
    c9, c17 = validity.like_mnist(both), validity.overfits(both)
    for i in (0, 4, N_TIMES - 1):
        for K in WIDTHS[1:]:
            at = {"width": K, "point": "many"}
            here, there = (at_index(result, K, i) for result in (many, few))
            ratio, slope, chance = (value.mean for value in hidden_manifold.C9.find({"fig3_left": here}).values)
            for name, expected in (("ratio", ratio), ("slope", slope), ("chance", chance)):
                assert float(c9[name].sel(at).isel(time=i)) == pytest.approx(expected, rel=1e-9), (name, K, i)
            values = appendices.C17.find({"fig9_latent": here, "fig3_left": there}).values
            for name, expected in zip(("end", "early"), values[:2], strict=True):
                assert float(c17[name].sel(at).isel(time=i)) == pytest.approx(expected.mean, rel=1e-9), (name, K, i)
            (times,) = (v.mean for v in values if v.name.startswith("ε_g latent, D = N/2"))
            assert float(c17["times"].sel(at).isel(time=i)) == pytest.approx(times, rel=1e-9)


def test_points_of_different_size_share_their_times():
    """N steps are whole, so that N = 100 and 784 are measured at slightly different times; a point is read off at its
    own times and labelled with those that were asked for."""
    found = validity.like_mnist({N: made(N=N, on_gauss=lambda K, t: 0.001 * t + 0 * K) for N in (100, 784)})
    asked = evaluation_times(END, N_TIMES)
    np.testing.assert_array_equal(found["time"], asked)
    for N, at_one in zip((100, 784), found["chance"].sel(width=1), strict=True):
        np.testing.assert_allclose(at_one, 0.001 * np.rint(asked * N) / N, rtol=1e-12)
    np.testing.assert_array_equal(found["n_inputs"], [100, 784])


def test_nothing_to_measure():
    with pytest.raises(ValueError, match="give at least one"):
        validity.like_mnist({})


GOOD = dict(on_test=lambda K, t: 0.05 + 0 * K * t, on_gauss=lambda K, t: 0.5 - 0.2 / K + 0 * t)
BAD = {
    "agrees": dict(on_test=lambda K, t: 0.02 + 0 * K * t),
    "grows": dict(on_gauss=lambda K, t: 0.45 + 0.04 / K + 0 * t),
    "differs": dict(on_gauss=lambda K, t: 0.38 - 0.2 / K + 0 * t),
}


def test_where_the_claim_holds():
    """In one corner all parts are met, as soon as students have learnt and from K = 4 on, where ε₁,₂ = 0.45 > 0.4; at
    every other point one part is not, and it alone is what keeps the claim from holding."""
    points = {"corner": made(**GOOD)}
    points |= {part: made(alpha=76, labels="real", **GOOD | law) for part, law in BAD.items()}
    found = validity.like_mnist(points)
    end = found.isel(time=-1).sel(width=16)
    for part in BAD:
        assert {p for p in points if not end[part].sel(point=p)} == {part}
    corner = found["holds"].sel(point="corner")
    assert not found["holds"].sel(point=list(BAD)).any() and not found["holds"].sel(width=1).any()
    # ε_g = 0.05 + 0.4 e⁻ᵗ is twice its last value at t = ln 8, and nine tenths of the way down from ½ a little later
    expected = (found["time"] > log(0.4 / 0.045)) & (found["width"] >= 4)
    np.testing.assert_array_equal(corner, expected.transpose(*corner.dims))
    times = found["time"].values[found["time"].values > log(0.4 / 0.045)]
    assert validity.in_words(found["holds"].sel(width=16)) == [
        f"P = N, labels ±1, both layers, D = 10, N = 784: from t = {times[0]:.3g} to the end ({times.size} of 9 times)"
    ]
    assert validity.in_words(found["holds"].sel(width=2)) == []


def test_where_in_words():
    """A line for every point with a true flag; those that hold at the end come first."""
    measured = validity.like_mnist({name: made(alpha=alpha) for name, alpha in (("a", 76), ("b", 4), ("c", 1))})
    flags = measured["holds"].sel(width=1) & False
    flags[0, 2:4] = flags[2, 3:] = True
    t, rest = measured["time"].values, "labels ±1, both layers, D = 10, N = 784: from t ="
    assert validity.in_words(flags) == [
        f"P = N, {rest} {t[3]:.3g} to the end (6 of 9 times)",
        f"P = 76N, {rest} {t[2]:.3g} to {t[3]:.3g} (2 of 9 times)",
    ]


@pytest.mark.parametrize(
    ("floor", "i"),
    [(0.1, 0), (0.3, 0), (0.01, 5)],
    ids=["untrained", "untrained on a hard task", "three times the last error"],
)
def test_an_untrained_student_is_no_evidence(floor, i):
    """Before training students err, and disagree, in half of all cases: that is not what the claim means. A hard task's
    ½ is less than twice its last error, 0.3, but nothing has been learnt; of an easy one's way to 0.01 all but a
    twentieth has been gone at t = 5.2, and the error is still 0.032."""
    half = {name: lambda K, t: floor + (0.5 - floor) * np.exp(-0.6 * t) + 1e-4 * K for name in LAWS}
    found = validity.like_mnist({"a": made(**half)}).isel(point=0).sel(width=16)
    assert found["agrees"].all() and found["grows"].all() and found["differs"].sel(time=0)
    assert not found["learnt"].isel(time=i) and not found["holds"].isel(time=i)
    assert found["learnt"].isel(time=-1)


OVERFITS = dict(eps_g=lambda K, t: 0.2 + 0.4 * np.exp(-t) + 0.01 * np.log(K) * (1 + t / END))


@pytest.mark.parametrize(
    ("law", "few", "holds"),
    [
        (OVERFITS, 0.05, True),
        (OVERFITS, 0.15, False),
        (dict(eps_g=lambda K, t: 0.2 - 0.01 * np.log(K) + 0 * t), 0.05, False),
        (dict(eps_g=lambda K, t: 0.2 + 0.01 * np.log(K) + 0 * t), 0.05, False),
    ],
    ids=["over-fits", "not much higher", "falls with K", "early stopping mends nothing"],
)
def test_where_over_fitting_is(law, few, holds):
    """C17's latent part: ε_g grows with K, less with early stopping, and is more than twice that at D = 10."""
    points = {"few": made(eps_g=lambda K, t: few + 0 * K * t), "many": made(setup="fig9_latent", D=250, N=500, **law)}
    found = validity.overfits(points).isel(time=-1).sel(width=16)
    assert bool(found["holds"].sel(point="many")) == holds
    assert not found["holds"].sel(point="few") and float(found["times"].sel(point="few")) == 1


def test_compared_with_the_same_setting():
    """The point at D = 10 has the same P/N, labels and layers, and the largest N; without one nothing is compared."""
    points = {
        "a": made(N=100, eps_g=0.1), "b": made(eps_g=0.2), "c": made(labels="real", eps_g=0.3),
        "many": made(N=500, D=250, eps_g=0.6), "alone": made(N=500, D=250, alpha=4, eps_g=0.6),
    }  # fmt: skip
    times = validity.overfits(points)["times"].isel(time=-1, width=-1)
    assert float(times.sel(point="many")) == pytest.approx(3.0) and np.isnan(times.sel(point="alone"))


def test_a_student_that_diverged():
    """From then on nothing holds for fleets that reach its width, and narrower ones are as they were; early stopping
    does not hide it."""
    result = made(**GOOD)
    broken = result.copy(deep=True)
    broken["eps_g_frac"].loc[{"draw": 1, "init": 0, "student": 2, "width": 16}][{"time": slice(5, None)}] = np.nan
    broken["eps_12_frac"].loc[{"draw": 1, "init": 0, "width": 16}][{"time": slice(5, None)}] = np.nan
    whole, found = (validity.like_mnist({"a": r}).isel(point=0) for r in (result, broken))
    diverged = (found["width"] == 16) & (xr.DataArray(np.arange(N_TIMES) >= 5, dims="time"))
    np.testing.assert_array_equal(found["diverged"], diverged.transpose("width", "time"))
    xr.testing.assert_equal(found.where(~diverged)["ratio"], whole.where(~diverged)["ratio"])
    assert not found["holds"].where(diverged, False).any() and found["holds"].sel(width=8).isel(time=-1)
    fits = validity.overfits({"a": broken}).isel(point=0)
    assert np.isnan(fits["early"].sel(width=16).isel(time=-1)) and np.isfinite(fits["early"].sel(width=8)).all()
    assert np.isnan(early_stopping(broken["eps_g_frac"])).sum() == 1
    panel = figures.scan_map(validity.like_mnist({"a": broken})).axes[0]
    crosses = next(drawn for drawn in panel.collections if isinstance(drawn, PathCollection))
    np.testing.assert_array_equal(crosses.get_offsets()[:, 1], 16)
    assert len(crosses.get_offsets()) == N_TIMES - 5


# ---- its file ----------------------------------------------------------------------------------------------------


def tiny(profile):
    """Two points of a profile, made small."""
    small = dict(n_inputs=20, n_latent=3, n_train=40, widths=(1, 2), time=3.0, n_times=4, n_test=50, n_test_along=50)
    some = {name: e for name, e in scan.points(profile).items() if "P=16N" in name or "P=N" in name}
    return {name: replace(e, **small) for name, e in list(some.items())[:2]}


def test_points_are_stored_in_one_file(tmp_path):
    """All points are groups of scan.nc; each is found by its name and by the keys of its draws, and is listed after the
    figures with what it is."""
    plan = tiny("paper")
    found = sweep.run_cached(plan, tmp_path / "store", progress=False)
    assert archive.save(tmp_path, plan, found) == [tmp_path / "scan.nc"]
    with h5py.File(tmp_path / "scan.nc") as file:
        assert set(file) == {name.replace("/", ", ") for name in plan}
    loaded = scan.load(tmp_path)
    assert set(loaded) == set(plan)
    for name in plan:
        xr.testing.assert_equal(loaded[name], found[name][["eps_g_frac", "eps_g_mse", "eps_12_frac"]])
    assert set(archive.keys(tmp_path)) == {key for result in found.values() for key in result.attrs["keys"]}
    sweep.run_cached(plan, tmp_path / "empty", archive_folder=tmp_path, progress=False)
    assert not (tmp_path / "empty").exists()
    figure = {"fig10_latent": replace(next(iter(plan.values())), name="fig10_latent", figure="Fig. 10 center")}
    archive.save(tmp_path, figure, sweep.run_cached(figure, tmp_path / "store", progress=False))
    rows = list(archive.list_runs(tmp_path, plan))
    assert [row.figure for row in rows] == ["Fig. 10 center", *["Fig. 3 left, scanned"] * 2]
    assert all("N = 20 (784), D = 3 (10)" in row.scale and "P = 40 (76N)" in row.scale for row in rows[1:])
    assert [row.complete for row in rows] == [False, True, True], "what was not planned is not complete"
    assert scan.load(tmp_path / "nowhere") == {}


# ---- its figures -------------------------------------------------------------------------------------------------


def test_map():
    """A panel for every P/N, labels and layers; colours are ε₁,₂ on Gaussian inputs for each largest K and end time,
    dots are where the claim holds, the line is the border of the ratio's region, and time 0 is left out."""
    late = dict(GOOD, on_test=lambda K, t: np.where(t > 20, 0.01, 0.05) + 0 * K)
    points = {"a": made(**GOOD), "b": made(alpha=76, **late), "c": made(labels="real", **BAD["grows"])}
    points |= {"other D": made(alpha=4, D=20), "other N": made(alpha=4, N=100)}
    measured = validity.like_mnist(points)
    fig = figures.scan_map(measured)
    panels = np.array(fig.axes[:4]).reshape(2, 2)
    assert [axis.get_title() for axis in panels[0]] == ["$P = 76N$", "$P = N$"]
    assert [axis.get_ylabel().split("\n")[0] for axis in panels[:, 0]] == [
        "labels ±1, both layers", "real labels, both layers"
    ]  # fmt: skip
    where = {"a": panels[0, 1], "b": panels[0, 0], "c": panels[1, 1]}
    for name, axis in where.items():
        point = measured.sel(point=name).isel(time=slice(1, None))
        (mesh,) = (c for c in axis.collections if isinstance(c, QuadMesh))
        np.testing.assert_allclose(mesh.get_array(), point["chance"].transpose("width", "time"))
        assert mesh.get_clim() == (0, 0.5)
        (hatched,) = (c for c in axis.collections if isinstance(c, PolyQuadMesh))
        learnt = point["learnt"].transpose("width", "time")
        np.testing.assert_array_equal(np.ma.getmaskarray(hatched.get_array()), learnt)
        dots = [c.get_offsets() for c in axis.collections if isinstance(c, PathCollection)][1]
        i, j = np.nonzero(point["holds"].transpose("width", "time").values)
        np.testing.assert_allclose(dots, np.stack([point["time"].values[j], point["width"].values[i]], axis=1))
    # the ratio leaves its region between two times, at every largest K alike
    (border,) = (c for c in where["b"].collections if isinstance(c, LineCollection))
    last = float(measured["time"][measured["time"] <= 20][-1])
    following = float(measured["time"][measured["time"] > 20][0])
    xs = np.concatenate([segment[:, 0] for segment in border.get_segments()])
    late_ones = xs[xs > 5]
    np.testing.assert_allclose(late_ones, np.sqrt(last * following))
    assert len(late_ones) == 2 * len(WIDTHS)


def test_lines():
    """Along D at the first point's N, and along N at its D, for both labels, up to K = 8 and to the largest."""
    law = dict(OVERFITS, alpha=76, spread=0.2)
    points = {f"D{D}": made(D=D, seed=D, **law) for D in (10, 5, 50)}
    points |= {"N": made(N=100, seed=3, **law), "real": made(labels="real", seed=4, **law)}
    points |= {"other P": made(alpha=4, D=20), "other layers": made(alpha=76, D=20, layers="first")}
    mnist, overfit = validity.like_mnist(points), validity.overfits(points)
    fig = figures.scan_lines(mnist, overfit)
    axes = np.array(fig.axes).reshape(3, 2)
    for row, values in zip(axes, (mnist["chance"], mnist["ratio"], overfit["end"]), strict=True):
        for K in (8, 16):
            label = rf"labels ±1, $K \leq {K}$"
            for axis, x, names in ((row[0], [5, 10, 50], ["D5", "D10", "D50"]), (row[1], [100, 784], ["N", "D10"])):
                (line,) = (drawn for drawn in axis.lines if drawn.get_label() == label)
                np.testing.assert_array_equal(line.get_xdata(), x)
                np.testing.assert_allclose(line.get_ydata(), values.sel(width=K, point=names).isel(time=-1))
    assert "N = 784" in axes[0, 0].get_title() and "D = 10" in axes[0, 1].get_title()


def test_over_fitting():
    """Slopes at the end and with early stopping, and the quotient, against P/N at D = N/2, a column per mode."""
    points = {f"{alpha}, {D}": made(alpha=alpha, D=D, N=N, spread=0.2, seed=alpha, **OVERFITS)
              for alpha in (1, 76) for D, N in ((10, 784), (250, 500))}  # fmt: skip
    overfit = validity.overfits(points)
    top, bottom = figures.scan_overfitting(overfit).axes
    end = overfit.isel(time=-1).sel(point=["1, 250", "76, 250"], width=16)
    for name, axis, label in (("end", top, r"$K \leq 16$, end"), ("early", top, r"$K \leq 16$, early stopping")):
        (line,) = (drawn for drawn in axis.lines if drawn.get_label() == label)
        np.testing.assert_allclose(line.get_xydata(), np.stack([[1, 76], end[name]], axis=1))
    assert any(np.allclose(line.get_ydata(), end["times"]) for line in bottom.lines if len(line.get_xdata()) == 2)
