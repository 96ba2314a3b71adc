"""dimension: three estimators against their formulas and on manifolds of known dimension."""

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from hmm_utils.data import digits
from hmm_utils.model import datasets
from hmm_utils.runs import dimension
from hmm_utils.runs.dimension import Configuration, estimate, measure


def uniform(n, d, seed=0):
    """n points in a cube of d dimensions."""
    return np.random.default_rng(seed).uniform(size=(n, d))


def by_loops(x):
    """All distances of each point to the others in rising order, one pair after the other in double precision."""
    x = x.astype(float)
    return np.array([sorted(np.sqrt(np.sum((a - b) ** 2)) for j, b in enumerate(x) if j != i) for i, a in enumerate(x)])


# ---- the estimators ----------------------------------------------------------------------------------------------


def mle(x, T, k):
    """1/d is the mean of ln(T_k/T_j) over all points and j < k."""
    return 1 / np.mean([np.log(row[k - 1] / row[j]) for row in T for j in range(k - 1)])


def corr_int(x, T, k):
    """d is the slope of the logarithm of the number of pairs between the median distances to neighbours k/2 and k."""
    radii = [np.median(T[:, j - 1]) for j in (k // 2, k)]
    pairs = [sum(t < r for row in T for t in row) for r in radii]
    return np.log(pairs[1] / pairs[0]) / np.log(radii[1] / radii[0])


def two_nn(x, T, k):
    """ln(T₂/T₁) is exponential with rate d: of m values of which the largest tenth is only known to be larger than the
    n-th, the unbiased likelihood estimate is (n − 1)/(sum of the n smallest + (m − n) · n-th); at larger k the mean
    over the parts that every (k/2)-th point makes."""

    def rate(part):
        T = by_loops(part)
        logs = np.sort(np.log(T[:, 1] / T[:, 0]))
        n = int(len(logs) * 0.9)
        return (n - 1) / (logs[:n].sum() + (len(logs) - n) * logs[n - 1])

    return np.mean([rate(x[first :: k // 2]) for first in range(k // 2)])


def test_estimates_are_their_formulas():
    x = uniform(60, 3)
    d, T = estimate(x, [2, 4, 6])["dimension"], by_loops(x)
    for k in (2, 4, 6):
        expected = [formula(x, T, k) for formula in (mle, two_nn, corr_int)]
        np.testing.assert_allclose(d.sel(neighbours=k), expected, rtol=1e-9)


def test_radius():
    """The median distance to the k-th neighbour over the root mean square distance of two points."""
    x = uniform(60, 3)
    T, pairs = by_loops(x), np.sqrt(np.mean([np.sum((a - b) ** 2) for a in x for b in x]))
    np.testing.assert_allclose(estimate(x, [2, 6])["radius"], np.median(T[:, [1, 5]], axis=0) / pairs, rtol=1e-9)


def test_units_and_axes_do_not_matter():
    """Shifted, scaled and rotated points, in more dimensions than they fill, have the same dimension."""
    rng = np.random.default_rng(1)
    x = uniform(200, 4)
    rotation = np.linalg.qr(rng.standard_normal((7, 7)))[0]
    moved = 30 * np.pad(x, ((0, 0), (0, 3))) @ rotation + 5
    # squared distances are differences of terms of size 10⁴, known to 10⁻¹² and near 1: logarithms to about that
    xr.testing.assert_allclose(estimate(moved, [2, 10]), estimate(x, [2, 10]), rtol=1e-8)


@pytest.mark.parametrize(("f", "n_latent", "k"), [("identity", 2, 4), ("erf", 5, 10), ("tanh", 9, 4), ("tanh", 9, 10)])
def test_known_dimensions(f, n_latent, k):
    """The dimension of a hidden manifold, the smaller the better.

    The statistical error of MLE is D/√(n(k − 1)), 2 % at k = 4, that of the others three times that; what remains is
    that the density of a Gaussian c falls off within a neighbourhood, of (k/n)^{1/D} of its width. All this is below
    15 % for D up to 10, and makes the estimate smaller rather than larger.
    """
    x = datasets.structured(f, 200, n_latent, 1000, 2, rng=np.random.default_rng(2)).x_train
    ratio = estimate(x, [k])["dimension"].sel(neighbours=k) / n_latent
    assert (ratio > 0.85).all() and (ratio < 1.12).all()


@pytest.mark.parametrize("n_latent", [3, 5])
def test_signs_make_more_dimensions(n_latent):
    """f = sgn: inputs are known by the direction of c, and distances go as the root of the angle: d = 2(D − 1)."""
    x = datasets.structured("sgn", 2000, n_latent, 800, 2, rng=np.random.default_rng(3)).x_train
    ratio = estimate(x, [10])["dimension"] / (2 * (n_latent - 1))
    assert (abs(ratio - 1) < 0.15).all()


def test_few_gaussian_inputs_have_fewer_dimensions():
    """1000 i.i.d. inputs do not show 300 dimensions, nor as few as 30."""
    d = estimate(datasets.gaussian(300, 1000, 2, rng=np.random.default_rng(4)).x_train, [10])["dimension"]
    assert (d < 150).all() and (d > 30).all()


@pytest.mark.parametrize(
    ("x", "neighbours", "sentence"),
    [
        (uniform(40, 2), [3], "neighbours = 3: give even numbers from 2 to a tenth of the number of inputs, 40."),
        (uniform(40, 2), [0], "neighbours = 0: "),
        (uniform(40, 2), [2, 6], "neighbours = 6: "),
        (uniform(40, 2)[0], [2], r"x has shape \(2,\) or is not finite: give a matrix of finite numbers"),
        (np.full((40, 2), np.nan), [2], "is not finite: give a matrix"),
        (np.concatenate([uniform(40, 2), uniform(1, 2)]), [2], "two inputs are equal, and distance 0"),
    ],
    ids=["odd", "none", "too many", "one input", "not finite", "twice the same"],
)
def test_what_cannot_be_estimated(x, neighbours, sentence):
    with pytest.raises(ValueError, match=sentence):
        estimate(x, neighbours)


def test_neighbours_at_one_distance():
    """Points of a grid have neighbours at equal distances; that is no reason to warn or to fail."""
    x = np.stack(np.meshgrid(np.arange(8.0), np.arange(8.0)), axis=-1).reshape(-1, 2)
    assert np.isfinite(estimate(x, [6])["dimension"].sel(estimator="MLE")).all()


def test_import_does_not_wait_for_the_estimators():
    """Importing the claims, as every notebook does, does not import the library of estimators."""
    code = "import sys, hmm_utils.claims; print(sorted({'skdim', 'sklearn'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# ---- the measurement ---------------------------------------------------------------------------------------------

TINY = Configuration(n_images=60, n_subsamples=3, neighbours=(2, 4, 10), data="digits", seed=1)


def test_subsamples_are_disjoint(monkeypatch):
    """No image is in two subsamples, and structured inputs are as many and of as many components."""
    images = np.random.default_rng(5).permutation(200)[:, None] * np.ones((1, 9))
    inputs = datasets.Inputs(x_train=images, x_test=images[:2], description="numbers")
    seen = []

    def watched(x, neighbours):
        seen.append(x)
        return xr.Dataset({"dimension": ("neighbours", np.zeros(len(neighbours)))}, {"neighbours": neighbours})

    monkeypatch.setattr(digits, "load", lambda data, n_train, rng: inputs)
    monkeypatch.setattr(dimension, "estimate", watched)
    measure(TINY, progress=False)
    assert [x.shape for x in seen] == [(60, 9)] * 6
    numbers = np.concatenate([x[:, 0] for x in seen[::2]])
    assert len(set(numbers)) == 180 and set(numbers) <= set(range(200))
    assert not np.array_equal(seen[1], seen[3])


def test_measure():
    """Dimensions, labels and attributes; the same again from the same seed; neighbourhoods too large for a subsample
    are left out."""
    result = measure(TINY, progress=False)
    assert dict(result.sizes) == {"subsample": 3, "inputs": 2, "estimator": 3, "neighbours": 2}
    assert result["inputs"].values.tolist() == ["digits", "structured"]
    assert result["neighbours"].values.tolist() == [2, 4]
    assert {key: result.attrs[key] for key in ("inputs", "n_inputs", "images_used", "dataset", "notice")} == {
        "inputs": "digits", "n_inputs": 64, "images_used": 60, "dataset": "8×8 handwritten digits", "notice": "",
    }  # fmt: skip
    assert np.isfinite(result["dimension"]).all()
    assert dimension.note(result) == "8×8 digits instead of MNIST; 3 × 60 images; the paper states no number"
    xr.testing.assert_identical(result.drop_attrs(), measure(TINY, progress=False).drop_attrs())
    other = measure(Configuration(**(TINY.__dict__ | {"seed": 2})), progress=False)
    assert not np.allclose(result["dimension"], other["dimension"])


def test_few_digits_make_small_subsamples():
    """The 1347 small digits for training are shared out; if too little is left, that is said."""
    c = Configuration(n_images=1000, n_subsamples=20, neighbours=(2, 10), data="digits", seed=1)
    result = measure(c, progress=False)
    assert result.attrs["images_used"] == 67 and result["neighbours"].values.tolist() == [2]
    c = Configuration(n_images=1000, n_subsamples=100, neighbours=(2, 10), data="digits", seed=1)
    with pytest.raises(ValueError, match="13 images in a subsample are too few: make fewer subsamples"):
        measure(c, progress=False)
