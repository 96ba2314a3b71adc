"""hmm_utils.theory.directions: which directions inputs use, and what students do in them."""

import numpy as np
import pytest
from helpers.directions import inputs_in, pair_of_students

from hmm_utils.model import networks, observables
from hmm_utils.runs import experiments
from hmm_utils.sgd import training
from hmm_utils.theory import directions


def test_principal_directions():
    """Eigenvalues of the second moment, not centred, falling; exactly zero where there are no inputs."""
    x, basis = inputs_in(7)
    variance, axes = directions.principal(x, slab=64)
    assert np.count_nonzero(variance) == 7 and np.all(np.diff(variance) <= 0)
    np.testing.assert_allclose(axes @ axes.T, np.eye(12), atol=1e-12)
    np.testing.assert_allclose((variance * axes.T) @ axes, x.T @ x / len(x), atol=1e-12)
    np.testing.assert_allclose(axes[:7].T @ axes[:7], basis.T @ basis, atol=1e-10)  # the same space


def test_parts_are_what_they_say():
    """Parts add up to W; inputs have nothing in the last; the leading directions are the fewest that hold the share."""
    start, end, x = pair_of_students()
    found = directions.compare(start, end, x, share=0.8)
    np.testing.assert_allclose(found["W"].sum("part").sel(when="start", student=1), start[0].W, atol=1e-12)
    np.testing.assert_allclose(found["W"].sum("part").sel(when="end", student=1), end[0].W, atol=1e-12)
    assert int(found["n_directions"].sum()) == 12 and int(found["n_directions"].sel(part="none")) == 5
    variance = np.linalg.svd(x, compute_uv=False) ** 2
    n = int(found["n_directions"].sel(part="leading"))
    assert variance[:n].sum() >= 0.8 * variance.sum() > variance[: n - 1].sum()
    held = np.array([variance[:n].sum(), variance[n:].sum(), 0])
    np.testing.assert_allclose(found["variance"], held / variance.sum(), atol=1e-12)
    assert np.abs(x @ found["W"].sel(part="none", when="end", student=1).values.T).max() < 1e-10
    np.testing.assert_allclose(found["weight"].sum("part"), 1)
    lengths = (found["W"].sel(when="end", student=1) ** 2).sum("input") / (end[0].W ** 2).sum(1)
    np.testing.assert_allclose(found["weight"].sel(when="end", student=1), lengths)


def test_the_part_that_no_input_has_is_kept():
    """What was added is a combination of inputs: outside their span w_k is what it was, inside it is not."""
    found = directions.compare(*pair_of_students())
    np.testing.assert_allclose(found["cosine_start_end"].sel(part="none"), 1)
    before, after = found["W"].sel(part="leading", student=1).transpose("when", "hidden", "input").values
    cosines = (before * after).sum(1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
    np.testing.assert_allclose(found["cosine_start_end"].sel(part="leading", student=1), cosines)
    assert np.abs(cosines).max() < 0.9


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_units_are_matched(activation):
    """Student 2 learnt the units of student 1 in another order with other signs. They are put in order; and turned
    where (−w, −v) is the same unit, as for erf, but not for a ReLU."""
    start, end, x = pair_of_students(activation)
    found = directions.compare(start, end, x)
    alike = found["cosine_students"].sel(part="leading", when="end").values
    if activation == "erf":
        assert (alike > 0.8).all()
        expected = np.array([1.0, -1, -1])[:, None] * end[1].W[[1, 2, 0]]
        np.testing.assert_allclose(found["W"].sum("part").sel(when="end", student=2), expected, atol=1e-12)
    else:
        rows = found["W"].sum("part").sel(when="end", student=2).values
        np.testing.assert_allclose(np.sort(rows, axis=0), np.sort(end[1].W, axis=0))
        assert alike.max() > 0.8 and alike.min() < 0.8
    assert np.abs(found["cosine_students"].sel(part="none")).max() < np.abs(alike).max()
    outside = found["cosine_students"].sel(part="none")
    np.testing.assert_allclose(outside.sel(when="end"), outside.sel(when="start"))


def test_students_that_do_not_fit():
    start, end, x = pair_of_students()
    wide = networks.random_network(12, 4, rng=np.random.default_rng(1))
    for arguments in ((start[:1], end, x), (start, end[:1], x), (start, [end[0], wide], x), (start, end, x[:, :5])):
        with pytest.raises(ValueError, match="give two students of one width before and after training"):
            directions.compare(*arguments)


def test_disagreement_by_part():
    """Networks that differ outside the span of the inputs only agree on inputs that have no component there."""
    start, end, x = pair_of_students()
    found = directions.compare(start, end, x)
    outside = found["W"].sel(part="none", when="end", student=1).values
    twin = networks.Network(end[0].W - 2 * outside, end[0].v, end[0].activation)
    rng = np.random.default_rng(3)
    eps = directions.disagreement((end[0], twin), found, n=2000, rng=rng)
    assert list(eps["part"].values) == list(directions.PARTS)
    assert eps.sel(part="leading") == eps.sel(part="rest") == 0
    assert eps.sel(part="none") == 1  # erf is odd
    # by hand, on the length that inputs have when no part is left out
    pair = directions.disagreement(end, found, n=4000, rng=np.random.default_rng(4)).sel(part="leading")
    axes = found["axes"].values[found["member"].values == "leading"]
    z = np.random.default_rng(5).standard_normal((4000, len(axes))) @ axes * np.sqrt(12 / len(axes))
    by_hand = observables.frac(end[0](z), end[1](z))
    assert abs(float(pair) - by_hand) < 5 * np.sqrt(2 * by_hand * (1 - by_hand) / 4000)


def test_summary():
    """Means over units by part, and the disagreement."""
    start, end, x = pair_of_students()
    found = directions.compare(start, end, x)
    table = directions.summary(found, end, n=50, rng=np.random.default_rng(1)).to_pandas()
    assert list(table.index) == list(directions.PARTS) and table["directions"].sum() == 12
    for when, name in (("start", "|w|² before"), ("end", "|w|² after")):
        assert table[name]["rest"] == pytest.approx(found["weight"].sel(part="rest", when=when).values.mean())
    assert table["cosine with start"]["none"] == pytest.approx(1)
    by_hand = np.abs(found["cosine_students"].sel(part="leading", when="end").values).mean()
    assert table["|cosine| of students"]["leading"] == pytest.approx(by_hand)
    eps = directions.disagreement(end, found, n=50, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(table["ε₁,₂ on noise"], eps)


def test_no_disagreement_where_there_are_no_directions():
    start, end, _ = pair_of_students()
    found = directions.compare(start, end, np.random.default_rng(5).standard_normal((50, 12)))
    eps = directions.disagreement(end, found, n=10, rng=np.random.default_rng(1))
    assert np.isnan(eps.sel(part="none")) and np.isfinite(eps.sel(part="leading"))


# ---- the same on trained students --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setup", "moved", "how"),
    [
        ("fig1_left", 0.2, {"data": "digits", "time": 1 / 64}),
        ("fig1_left", None, {"data": "digits", "time": 50}),
        # one step moves w by η/√N · Δ v g' x, with entries of x of order one
        ("fig3_left", 0.5, {"layers": "first", "init_scale": 2.0, "n_inputs": 20, "n_latent": 3, "n_train": 30,
                            "n_draws": 2, "time": 1 / 20}),
    ],
)  # fmt: skip
def test_students_before_training(setup, moved, how):
    """Drawn again, a student is the one that was trained, in each draw: after the shortest run it has hardly moved, and
    every run leaves it unchanged where no input has a component."""
    e = experiments.experiment(setup, widths=[2, 3], n_pairs=2, n_test=20, n_times=3, **how)
    result = experiments.run_experiment(e, progress=False)
    for draw, K, i in np.ndindex(e.n_draws, 2, 2):
        one = result.isel(draw=draw)
        which = [{"width": K + 2, "init": i, "student": s} for s in (1, 2)]
        start = [experiments.start(one, **student) for student in which]
        end = [training.student(one, **student) for student in which]
        x = experiments.train_inputs(one)
        assert x.shape == (one.attrs["n_train"], one.attrs["n_inputs"])
        found = directions.compare(start, end, x)
        # the engine adds inputs to weights in single precision, a few thousand times
        outside = found["W"].sel(part="none")
        np.testing.assert_allclose(outside.sel(when="end"), outside.sel(when="start"), atol=1e-4)
        if moved:
            assert np.abs(end[0].W - start[0].W).max() < moved and not np.array_equal(end[0].W, start[0].W)
        else:
            assert np.abs(found["cosine_start_end"].sel(part="leading")).mean() < 0.9
        if e.layers == "first":
            assert 1.2 < start[0].W.std() < 2.8 and (start[0].v == 1).all()
