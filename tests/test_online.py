"""hmm_utils.data.streams and online: fresh samples against their formulas, training on them against the plain loop."""

from functools import partial
from math import pi, sqrt

import numpy as np
import pytest
from helpers.sgd import SE, single
from scipy.special import erf

from hmm_utils.data import streams
from hmm_utils.model import observables
from hmm_utils.model.activations import get
from hmm_utils.model.networks import Network, random_network
from hmm_utils.sgd import online, reference
from hmm_utils.sgd.online import Student, train
from hmm_utils.sgd.training import DivergenceWarning

N, D, M = 101, 23, 2
# f in double precision, a, b and ζ
FOLDS = {
    "sgn": (np.sign, 0.0, sqrt(2 / pi), 1 - 2 / pi),
    "erf": (lambda u: erf(u / sqrt(2)), 0.0, sqrt(1 / pi), 1 / 3 - 1 / pi),
    "relu": (lambda u: np.maximum(u, 0), 1 / sqrt(2 * pi), 0.5, 1 / 4 - 1 / (2 * pi)),
}
# A float32 sum of D = 23 products with partial sums below 8: 23 roundings of 2⁻²² add up to 1.1e-6 at random.
FIELD = 2e-6
# y = Σ ṽ g(ν) with |g'| ≤ 1 and Σ|ṽ| < 5
LABEL = 5 * FIELD
# (lr, size of the initial weights) at which training is stable
STABLE = {"erf": (0.2, 1.0), "relu": (0.1, 0.5)}


def problem(f="sgn", *, seed=1, activation="erf", n=N, n_latent=D):
    """A hidden manifold with a teacher on the latent coordinates, its overlaps, and the features."""
    rng = np.random.default_rng(seed)
    _, a, b, zeta = FOLDS[f]
    F = rng.standard_normal((n, n_latent)).astype("f4").astype(float).T
    teacher = single(random_network(n_latent, M, rng=rng, activation=activation))
    source = streams.latent_task(streams.structured(F, f, a), teacher)
    return source, partial(observables.hidden_manifold_overlaps, F=F, wt=teacher.W, b=b, zeta=zeta), F


def student(K, *, seed=7, activation="erf", layers="both", lr=None, n=N):
    stable, scale = STABLE[activation]
    network = random_network(n, K, rng=np.random.default_rng((seed, K)), activation=activation, scale=scale)
    return Student(network=single(network), lr=stable if lr is None else lr, layers=layers)


def unmeasured(*order_parameters):
    """Stands for ε_g where it is not looked at."""
    return 0.0


def short(source, students, overlaps, rngs, steps=100, **more):
    n = source.inputs.n_inputs
    return train(source, students, time=steps / n, evaluate_at=[0], overlaps=overlaps, rngs=rngs, progress=None, **more)


def final(result, u, s=0):
    """The last W and v of a student."""
    K = int(result.width[u])
    now = result.isel(simulation=s, student=u, k=slice(K))
    return now["W"].values, now["v"].isel(time=-1).values


# ---- Fresh samples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", FOLDS)
def test_structured_samples_are_their_formula(f):
    """x = f(cF/√D) − a and y = Σ ṽ g(w̃·c/√D), not standardised, in float32 from the c of the generator."""
    source, _, F = problem(f)
    c = np.random.default_rng(3).standard_normal((100, D), dtype=np.float32)
    x, z, y = source.samples(source.latent(np.random.default_rng(3), 100))
    fold, a, _, _ = FOLDS[f]
    u = c.astype(float) @ F / sqrt(D)
    assert np.abs(u).min() > FIELD or f != "sgn", "a sign is decided by rounding: take another seed"
    np.testing.assert_allclose(x, fold(u) - a, rtol=0, atol=FIELD)
    np.testing.assert_array_equal(z, c)
    np.testing.assert_allclose(y, source.teacher(c.astype(float)), rtol=0, atol=LABEL)
    assert x.dtype == y.dtype == np.float32 and x.flags.c_contiguous


@pytest.mark.parametrize("f", FOLDS)
def test_inputs_are_centred_by_the_known_mean(f):
    """E x_i = 0 over many features too: one mean over N inputs of samples that share c only through u."""
    source, _, F = problem(f)
    x, _, _ = source.samples(source.latent(np.random.default_rng(4), 40000))
    # u_i has variance |F_i|²/D instead of 1: ReLU has the mean √(variance/2π), so a is right on average only
    a_i = np.linalg.norm(F, axis=0) / sqrt(2 * pi * D) - FOLDS[f][1] if f == "relu" else np.zeros(N)
    standard_error = x.std(axis=0) / sqrt(len(x))
    assert np.all(np.abs(x.mean(axis=0) - a_i) < SE * standard_error)


def test_gaussian_inputs_and_a_teacher_on_them():
    source = streams.teacher_task(streams.gaussian(N), random_network(N, M, rng=np.random.default_rng(5)))
    x, z, y = source.samples(source.latent(np.random.default_rng(6), 3000))
    np.testing.assert_array_equal(x, np.random.default_rng(6).standard_normal((3000, N), dtype=np.float32))
    np.testing.assert_array_equal(z, x)
    np.testing.assert_allclose(y, source.teacher(x.astype(float)), rtol=0, atol=2 * LABEL)


def test_any_generator_with_its_mean():
    """x = G(c) − E G(c) with a mean for each component; the teacher may act on x or c."""
    A = np.random.default_rng(7).standard_normal((D, N))
    mean = np.linspace(-1, 1, N)
    inputs = streams.generator(lambda c: np.tanh(c @ A) + mean, mean, n_latent=D)
    c = np.random.default_rng(8).standard_normal((50, D), dtype=np.float32)
    for task, size in ((streams.latent_task, D), (streams.teacher_task, N)):
        source = task(inputs, random_network(size, M, rng=np.random.default_rng(9)))
        x, z, y = source.samples(c)
        # the largest numbers are 2, once subtracted: 2 units in the last place
        np.testing.assert_allclose(x, np.tanh(c @ A), rtol=0, atol=5e-7)
        np.testing.assert_array_equal(z, c if size == D else x)
        np.testing.assert_allclose(y, source.teacher(z.astype(float)), rtol=0, atol=2 * LABEL)
        assert x.dtype == np.float32 and x.flags.c_contiguous


def test_a_stream_depends_on_its_generator_only(monkeypatch):
    """Samples in chunks are those drawn at once, whatever the number of threads; another generator has others."""
    monkeypatch.setattr(streams, "_CHUNK_ENTRIES", 64 * N)
    source, _, _ = problem("relu")
    whole = source.samples(source.latent(np.random.default_rng(10), 320))

    def stream(seed, workers):
        chunks = source.chunks(np.random.default_rng(seed), workers)
        parts = [next(chunks) for _ in range(5)]
        chunks.close()
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    x, y = stream(10, 1)
    assert x.shape == (320, N)
    # chunks of other sizes may be multiplied in another order
    np.testing.assert_allclose(x, whole[0], rtol=0, atol=FIELD)
    np.testing.assert_allclose(y, whole[2], rtol=0, atol=LABEL)
    for again, first in zip(stream(10, 3), (x, y), strict=True):
        np.testing.assert_array_equal(again, first)
    assert not np.isin(stream(11, 1)[1], y).any()


# ---- Order parameters -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def erf_fields():
    """An erf student and teacher of i.i.d. inputs, with 400 000 of the Gaussian fields that their overlaps imply."""
    rng = np.random.default_rng(12)
    net, teacher = random_network(N, 3, rng=rng), random_network(N, M, rng=rng)
    Q, R, T = observables.gaussian_overlaps(net.W, wt=teacher.W)
    fields = rng.standard_normal((400_000, N)) @ np.concatenate([net.W, teacher.W]).T / sqrt(N)
    return net, teacher, (Q, R, T), fields


def test_eps_g_of_erf_units_is_that_of_sampled_fields(erf_fields):
    net, teacher, overlaps, fields = erf_fields
    g = erf(fields / sqrt(2))
    q = (g[:, :3] @ net.v - g[:, 3:] @ teacher.v) ** 2 / 2
    ours = observables.eps_g_erf(*overlaps, net.v, teacher.v)
    assert abs(ours - q.mean()) < SE * q.std() / sqrt(len(q))
    assert q.std() / sqrt(len(q)) < 0.01 * ours


def test_gaussian_overlaps_are_covariances_of_fields(erf_fields):
    _, _, (Q, R, T), fields = erf_fields
    product = fields[:, :, None] * fields[:, None, :]
    error = product.std(axis=0) / sqrt(len(fields))
    assert np.all(np.abs(np.block([[Q, R], [R.T, T]]) - product.mean(axis=0)) < SE * error)
    assert error.max() < 0.01


@pytest.mark.parametrize("f", FOLDS)
def test_overlaps_agree_with_sampled_fields(f):
    """Gaussian equivalence, given covariances and sampled fields are three ways to the same Q, R, T.

    At N = 1000, D = 200 the equivalent covariance lacks terms of relative size 1/√N and 1/√D, a few per cent.
    """
    rng = np.random.default_rng(13)
    source, overlaps, F = problem(f, n=1000, n_latent=200)
    _, _, b, zeta = FOLDS[f]
    W, wt = rng.standard_normal((3, 1000)), source.teacher.W
    expected = overlaps(W)
    omega, phi = zeta * np.eye(1000) + b**2 / 200 * F.T @ F, b / sqrt(200) * F.T
    for ours, other in zip(expected, observables.covariance_overlaps(W, omega=omega, phi=phi, wt=wt), strict=True):
        np.testing.assert_allclose(ours, other, rtol=0, atol=1e-11)
    x, z, _ = source.samples(source.latent(rng, 20_000))
    measured = observables.sampled_overlaps(W, x=x, z=z, wt=wt)
    for ours, other in zip(expected, measured, strict=True):
        # SE standard errors √((C_aa C_bb + C_ab²)/n) of a covariance are 5 %, of numbers of order 1
        np.testing.assert_allclose(ours, other, rtol=0, atol=0.1)
    # one percent is resolved by nothing above: lengths, signs and factors are
    np.testing.assert_allclose(np.diag(expected[0]), zeta + b**2 * np.diag(W @ F.T @ F @ W.T) / 2e5, rtol=0.1)
    assert np.abs(expected[1]).max() > 0.02


# ---- Training is the plain loop -------------------------------------------------------------------------------------


def by_loop(one, c, source, f, F, dtype):
    """One-sample SGD on x and y made from c in the given precision."""
    c, F, teacher, net = c.astype(dtype), F.astype(dtype), source.teacher, one.network
    fold, a, _, _ = FOLDS[f]
    x = (fold(c @ F / dtype(sqrt(D))) - a).astype(dtype)
    net = Network(net.W.astype(dtype), net.v.astype(dtype), net.activation)
    return reference.sgd(net, x, teacher(c), np.arange(len(c)), lr=one.lr, layers=one.layers)


@pytest.mark.parametrize("activation", ["erf", "relu"])
@pytest.mark.parametrize("f", FOLDS)
def test_training_is_the_plain_loop(f, activation, monkeypatch):
    """Students of width 1 and 3, of which first or both layers learn, on one stream, evaluated on the way.

    Truth is the loop in double precision on samples made in double precision. The loop in single precision rounds as
    often as the blocks, by amounts of the same size, in another order; so the error of the blocks is that of the loop
    up to a factor of order 1: four times, plus four units in the last place of the largest weight.
    """
    monkeypatch.setattr(streams, "_CHUNK_ENTRIES", 64 * N)
    source, overlaps, F = problem(f, activation=activation)
    students = [student(K, activation=activation, layers=layers) for K in (3, 1) for layers in ("both", "first")]
    steps = 300
    c = np.random.default_rng(14).standard_normal((steps, D), dtype=np.float32)
    assert np.abs(c.astype(float) @ F / sqrt(D)).min() > FIELD or f != "sgn", "take another seed"
    result = train(
        source, students, time=steps / N, evaluate_at=[0.1, 0.5, 1.7], overlaps=overlaps, eps_g=unmeasured,
        rngs=[np.random.default_rng(14)], progress=None,
    )  # fmt: skip
    assert result.sizes["time"] == 4 and result.time[-1] == steps / N
    for u, one in enumerate(students):
        truth, loop = (by_loop(one, c, source, f, F, dtype) for dtype in (np.float64, np.float32))
        W, v = final(result, u)
        for ours, exact, rounded, start in (
            (W, truth.W, loop.W, one.network.W),
            (v, truth.v, loop.v, one.network.v),
        ):
            allowed = 4 * np.abs(rounded - exact).max() + 4 * np.spacing(np.float32(np.abs(exact).max()))
            np.testing.assert_allclose(ours, exact, rtol=0, atol=allowed)
            moved = np.abs(exact - start).max()
            assert moved > 100 * allowed or (moved == 0 and one.layers == "first" and exact is truth.v)


def test_order_parameters_along_the_run_are_those_of_the_weights():
    """At every evaluation Q, R, v and ε_g are those of the loop's weights after as many steps."""
    source, overlaps, F = problem()
    students = [student(2), student(3, layers="first"), student(1)]
    c = np.random.default_rng(15).standard_normal((202, D), dtype=np.float32)
    result = train(
        source, students, time=2.0, evaluate_at=[0, 0.5, 1], overlaps=overlaps, rngs=[np.random.default_rng(15)],
        progress=None,
    )  # fmt: skip
    # 50.5 steps are 50; the end is always measured
    np.testing.assert_allclose(result.time, [0, 50 / N, 1, 2], rtol=1e-15)
    for u, one in enumerate(students):
        K = one.network.width
        for t, steps in enumerate((0, 50, 101, 202)):
            net = by_loop(one, c[:steps], source, "sgn", F, np.float64)
            Q, R, T = overlaps(net.W)
            now = result.isel(simulation=0, student=u, time=t, k=slice(K), l=slice(K))
            # weights are off by 1e-5 at most (previous test) and overlaps are sums of N products over N
            for name, value in (("Q", Q), ("R", R), ("T", T), ("v", net.v)):
                np.testing.assert_allclose(now[name], value, rtol=0, atol=1e-4)
            expected = observables.eps_g_erf(Q, R, T, net.v, source.teacher.v)
            np.testing.assert_allclose(now["eps_g_mse"], expected, rtol=0, atol=1e-4)
        padding = result.isel(student=u, k=slice(K, None))
        assert all(padding[name].isnull().all() for name in ("Q", "R", "v", "W"))
    assert np.abs(np.diff(result["eps_g_mse"].values)).min() > 1e-3, "nothing was learnt that could be compared"


def test_error_on_a_test_set():
    """eps_g_test_mse is ½ the mean squared error of the final weights on the given samples, in their order."""
    source, overlaps, _ = problem()
    students = [student(2), student(3, layers="first"), student(1)]
    x, _, y = source.samples(source.latent(np.random.default_rng(16), 1500))
    result = short(source, students, overlaps, [np.random.default_rng(17)], test=(x, y))
    for u in range(3):
        W, v = final(result, u)
        q = (Network(W.astype(float), v, get("erf"))(x.astype(float)) - y) ** 2 / 2
        found = result.isel(simulation=0, student=u, time=-1)
        # outputs of order 1 with the 1e-6 of the float32 kernel
        assert float(found["eps_g_test_mse"]) == pytest.approx(q.mean(), rel=1e-5)
        assert float(found["eps_g_test_mse_se"]) == pytest.approx(q.std(ddof=1) / sqrt(1500), rel=1e-5)
    assert result.attrs["n_test"] == 1500


# ---- Streams and simulations ----------------------------------------------------------------------------------------


def test_students_on_one_stream_do_what_each_does_alone():
    """In the same order, with learning rates of their own; blocks as long as in company differ by rounding only."""
    source, overlaps, _ = problem()
    students = [student(2), student(3, lr=0.1), student(1, layers="first"), student(4)]
    joint = short(source, students, overlaps, [np.random.default_rng(18)])
    np.testing.assert_array_equal(joint.width, [2, 3, 1, 4])
    np.testing.assert_array_equal(joint.lr, [0.2, 0.1, 0.2, 0.2])
    assert list(joint.layers.values) == ["both", "both", "first", "both"]
    for u, one in enumerate(students):
        alone = short(source, [one], overlaps, [np.random.default_rng(18)])
        for ours, theirs, start in zip(final(alone, 0), final(joint, u), (one.network.W, one.network.v), strict=True):
            # both round 100 steps of numbers below 4 by 2⁻²³ at most, each otherwise
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=100 * 2 * 2.0**-23)
            assert np.abs(ours - start).max() > 0.001 or one.layers == "first"


def test_simulations_are_reproducible_and_independent(monkeypatch):
    """Each simulation is decided by its generator, not by its neighbours or the number of threads."""
    source, overlaps, _ = problem()
    students = [student(2)]

    def run(*seeds):
        return short(source, students, overlaps, [np.random.default_rng(seed) for seed in seeds])

    monkeypatch.setattr(online, "threads", lambda: 1)
    first = run(1, 2, 3)
    for threads in (2, 7):
        monkeypatch.setattr(online, "threads", lambda n=threads: n)
        assert run(1, 2, 3).identical(first)
        np.testing.assert_array_equal(run(2)["W"].values[0], first["W"].values[1])
    for s in range(3):
        np.testing.assert_array_equal(first["Q"].values[s, 0, 0], first["Q"].values[0, 0, 0])
        assert np.abs(first["W"] - first["W"][s]).max(("student", "k", "input")).values.max() > 0.01
    assert len(np.unique(first["eps_g_mse"].isel(time=-1))) == 3


def test_single_precision_does_for_many_steps():
    """After 100 N steps the weights are still those of the loop in double precision, to a thousandth of what they
    are apart between streams: 10⁴ roundings of 2⁻²⁴ add up to 10⁻⁵ at random, and forgetting damps them."""
    n = 100
    source, overlaps, F = problem("erf", n=n, n_latent=10, seed=22)
    one = student(2, n=n)
    result = short(source, [one], overlaps, [np.random.default_rng(s) for s in (23, 24)], steps=10_000)
    c = np.random.default_rng(23).standard_normal((10_000, 10), dtype=np.float32)
    fold = FOLDS["erf"][0]
    x = fold(c.astype(float) @ F / sqrt(10))
    truth = reference.sgd(one.network, x, source.teacher(c.astype(float)), np.arange(10_000), lr=one.lr, layers="both")
    W, _ = final(result, 0)
    apart = np.abs(final(result, 0, s=1)[0] - W).max()
    assert np.abs(W - truth.W).max() < 1e-3 * apart


# ---- Divergence and refusals ----------------------------------------------------------------------------------------


def test_a_diverging_student_is_named_and_leaves_the_others_alone():
    source, overlaps, _ = problem(activation="relu")
    good, bad = student(2, activation="relu"), student(3, activation="relu", lr=1e6)
    rngs = [[np.random.default_rng(s) for s in (25, 26)] for _ in range(2)]
    x, _, y = source.samples(source.latent(np.random.default_rng(27), 10))
    how = dict(steps=N, eps_g=unmeasured, test=(x, y))
    with pytest.warns(DivergenceWarning, match=r"student 0 \(K=3\) diverged with lr = 1e\+06 in 2 of 2") as caught:
        result = short(source, [bad, good], overlaps, rngs[0], **how)
    assert len(caught) == 1
    for name in ("eps_g_mse", "eps_g_test_mse", "Q", "R", "v"):
        assert result[name].isel(student=0, time=0).notnull().any()
        assert result[name].isel(student=0, time=1).isnull().all()
    assert result["W"].isel(student=0).isnull().all()
    alone = short(source, [good], overlaps, rngs[1], **how)
    np.testing.assert_allclose(final(result, 1)[0], final(alone, 0)[0], rtol=0, atol=100 * 2 * 2.0**-23)


def network(K=2, n=N, fill=1.0, activation="erf"):
    return Network(np.full((K, n), fill), np.ones(K), get(activation))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Student(network=network(0)), "no hidden unit"),
        (lambda: Student(network=network(fill=np.nan)), "not finite"),
        (lambda: Student(network=network(), lr=-0.1), "lr = -0.1"),
        (lambda: Student(network=network(), layers="second"), "'second': choose one of both, first"),
        (lambda: streams.gaussian(0), "n_inputs = 0"),
        (lambda: streams.generator(lambda c: c, 0, n_latent=0), "n_latent = 0"),
        (lambda: streams.generator(lambda c: c[0], 0, n_latent=3), r"it must give finite numbers of shape \(2, N\)"),
        (lambda: streams.generator(lambda c: c / 0 * 0, 0, n_latent=3), "it must give finite numbers"),
        (lambda: streams.generator(lambda c: c, np.zeros(4), n_latent=3), r"mean has shape \(4,\)"),
        (lambda: streams.generator(lambda c: c, np.nan, n_latent=3), "mean has shape"),
        (lambda: streams.structured(np.ones(3), "sgn", 0), r"features have shape \(3,\)"),
        (lambda: streams.structured(np.full((3, 2), np.inf), "sgn", 0), "give finite numbers"),
        (lambda: streams.structured(np.ones((3, 2)), "cube", 0), "unknown f 'cube': choose one of sgn"),
        (lambda: streams.teacher_task(streams.gaussian(5), network(0, 5)), "teacher has no hidden unit"),
        (lambda: streams.teacher_task(streams.gaussian(5), network(2, 5, np.inf)), "teacher has weights"),
        (lambda: streams.teacher_task(streams.gaussian(5), network(2, 6)), "takes 6 numbers but there are 5 inputs"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_impossible_parts_are_refused(make, message):
    with pytest.raises(ValueError, match=message) as refused:
        make()
    assert str(refused.value).endswith(".") and "\n" not in str(refused.value)


SHARED = np.random.default_rng(28)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"students": []}, "no students"),
        ({"students": [Student(network=network(n=7))]}, r"take N = \[7\] inputs: the source gives N = 101"),
        ({"students": [Student(network=network()), Student(network=network(activation="relu"))]}, "same activation"),
        ({"students": [Student(network=network(activation="relu"))]}, "eps_g_erf is for erf"),
        ({"time": 0}, "time = 0: "),
        ({"evaluate_at": [0, 0.5, 0.5]}, "increasing numbers"),
        ({"evaluate_at": [0, 1.1]}, "end at 1.1: give a last time of at most 1"),
        ({"block": 0}, "block = 0: "),
        ({"rngs": []}, "rngs must hold"),
        ({"rngs": [SHARED, SHARED]}, "rngs must hold"),
        ({"overlaps": lambda W: (W, W, W)}, "overlaps gives Q, R, T of shapes"),
        ({"test": (np.zeros((3, 5)), np.zeros(3))}, r"test inputs have shape \(3, 5\)"),
        ({"test": (np.zeros((3, N)), np.zeros(4))}, r"their labels \(4,\)"),
    ],
)  # fmt: skip
def test_impossible_runs_are_refused(changed, message):
    source, overlaps, _ = problem()
    arguments = dict(students=[student(2)], time=1.0, overlaps=overlaps, rngs=[np.random.default_rng(29)])
    with pytest.raises(ValueError, match=message) as refused:
        train(source, progress=None, **(arguments | changed))
    assert str(refused.value).endswith(".") and "\n" not in str(refused.value)
