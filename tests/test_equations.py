"""Every numbered equation of the paper, each against torch, a closed form, or a reconstruction in double precision."""

import math

import numpy as np
import pytest
import torch
from helpers.functions import FUNCTIONS
from helpers.sampling import SE, U, standardised

from hmm_utils.model.datasets import gaussian, latent_task, structured, teacher_task
from hmm_utils.model.networks import Network, random_network
from hmm_utils.model.observables import frac, half_mse
from hmm_utils.sgd import reference
from hmm_utils.sgd.block import Fleet, advance


def phi(W, v, x, g="erf"):
    """Eq. (1) in torch: Σ_k v_k g(w_k·x/√N) for inputs x (P, N)."""
    return torch.einsum("k,pk->p", v, FUNCTIONS[g](torch.einsum("kn,pn->pk", W, x) / math.sqrt(x.shape[1])))


def double(*arrays):
    return tuple(torch.tensor(np.asarray(a, dtype=float)) for a in arrays)


@pytest.mark.parametrize("g", ["erf", "relu", "identity", "quadratic"])
def test_equation_1_output_of_a_two_layer_network(g):
    """φ(x; θ) = Σ_k v_k g(w_k x/√N)."""
    rng = np.random.default_rng(91)
    network = random_network(37, 5, rng=rng, activation=g)
    x = rng.standard_normal((64, 37))
    expected = phi(*double(network.W, network.v, x), g=g).numpy()
    # sums of 37 and 5 terms of order 1 in double precision
    np.testing.assert_allclose(network(x), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("layers", ["both", "first"])
@pytest.mark.parametrize("g", ["erf", "relu", "identity", "quadratic"])
def test_equation_2_step_of_stochastic_gradient_descent(g, layers):
    """θ ← θ − η ∇E with E = ½Δ² for one sample: torch's SGD with η for W and, where it is trained, η/N for v."""
    rng = np.random.default_rng(92)
    N, lr = 29, 0.2
    network = random_network(N, 3, rng=rng, activation=g, layers=layers)
    x, y = rng.standard_normal((6, N)), rng.standard_normal(6)
    W, v = (weights.requires_grad_() for weights in double(network.W, network.v))
    groups = [{"params": [W], "lr": lr}]
    if layers == "both":
        groups.append({"params": [v], "lr": lr / N})
    optimiser = torch.optim.SGD(groups)
    sample = 4
    optimiser.zero_grad()
    loss = (phi(W, v, *double(x[[sample]]), g=g)[0] - y[sample]) ** 2 / 2
    loss.backward()
    optimiser.step()
    W, v = W.detach().numpy(), v.detach().numpy()
    assert np.abs(W - network.W).max() > 1e-3

    loop = reference.sgd(network, x, y, [sample], lr=lr, layers=layers)
    # a few dozen roundings of 1.1e-16 of numbers of order 1
    np.testing.assert_allclose(loop.W, W, rtol=0, atol=1e-13)
    np.testing.assert_allclose(loop.v, v, rtol=0, atol=1e-13)

    fleet = Fleet.of([network])
    advance(fleet, x.astype("f4"), y.astype("f4"), np.array([sample]), lr=lr, layers=layers)
    # the same in float32: rounding of weights below 4, of sums of 29 terms, erf to 1e-6
    np.testing.assert_allclose(fleet.W, W, rtol=0, atol=100 * U)
    np.testing.assert_allclose(fleet.v, v, rtol=0, atol=100 * U)


def erf_overlap(weights):
    """E g(a_i) g(a_j) for g(a) = erf(a/√2) and a = weights·x/√N with Gaussian x, all pairs i, j.

    It is (2/π) arcsin(c_ij/√((1 + c_ii)(1 + c_jj))) with c the covariance of the a (Williams 1998; Saad & Solla 1995).
    """
    c = weights @ weights.T / weights.shape[1]
    norm = np.sqrt(1 + np.diag(c))
    return 2 / math.pi * np.arcsin(c / np.outer(norm, norm))


def expected_error(one, other):
    """E ½(φ − φ*)² of two erf networks over Gaussian inputs, in closed form."""
    v = np.concatenate([one.v, -other.v])
    return v @ erf_overlap(np.concatenate([one.W, other.W])) @ v / 2


def test_equation_3_mean_squared_test_error():
    """ε_g = 1/(2P*) Σ (φ − y*)² is a sample mean of the closed form for erf networks and Gaussian inputs."""
    rng = np.random.default_rng(93)
    n_test = 40_000
    one, teacher = random_network(50, 3, rng=rng), random_network(50, 4, rng=rng)
    dataset = teacher_task(gaussian(50, 500, n_test, rng=rng), teacher, labels="real")

    outputs = one(dataset.x_test)
    standard_error = np.std((outputs - dataset.y_test) ** 2 / 2) / math.sqrt(n_test)
    expected = expected_error(one, teacher)
    assert standard_error < expected / 100, "sharp enough to tell a factor of 2"
    assert abs(half_mse(outputs, dataset.y_test) - expected) < SE * standard_error


def test_equation_4_teacher_labels():
    """y* = φ(x; θ*) for regression and its sign for classification; a student with θ = θ* makes no error."""
    rng = np.random.default_rng(94)
    inputs, teacher = gaussian(41, 300, 200, rng=rng), random_network(41, 4, rng=rng)
    real, signs = (teacher_task(inputs, teacher, labels=labels) for labels in ("real", "sign"))
    for x, y, label in ((real.x_train, real.y_train, signs.y_train), (real.x_test, real.y_test, signs.y_test)):
        expected = phi(*double(teacher.W, teacher.v, x)).numpy()
        # float32 sums of 41 terms of order 1
        np.testing.assert_allclose(y, expected, rtol=0, atol=100 * U)
        sure = np.abs(expected) > 100 * U
        np.testing.assert_array_equal(label[sure], np.sign(expected[sure]))
    assert half_mse(teacher(real.x_test), real.y_test) == 0
    assert frac(teacher(signs.x_test), signs.y_test) == 0


@pytest.mark.parametrize("g", ["identity", "erf"])
def test_equation_5_disagreement_of_two_networks(g):
    """ε₁,₂ of two networks with one hidden unit on Gaussian inputs is the angle of their weights over π.

    With the factor 1/(2P*) that the paper prints it would be half of that; with 1/P* random networks disagree on half
    of the inputs, as the text says.
    """
    rng = np.random.default_rng(95)
    P = 50_000
    x = rng.standard_normal((P, 30), dtype=np.float32)
    for cosine in (-0.8, 0.0, 0.5, 0.99):
        first, noise = rng.standard_normal((2, 30))
        noise -= first * (noise @ first) / (first @ first)
        second = cosine * first / np.linalg.norm(first) + math.sqrt(1 - cosine**2) * noise / np.linalg.norm(noise)
        pair = [
            Network(w[None], np.array([scale]), random_network(1, 1, rng=rng, activation=g).activation)
            for w, scale in ((first, 0.3), (second, 2.0))
        ]
        p = math.acos(cosine) / math.pi
        ours = frac(pair[0](x), pair[1](x))
        assert abs(ours - p) < SE * math.sqrt(p * (1 - p) / P)
        # turning the sign of one second layer turns agreement into disagreement
        turned = Network(pair[1].W, -pair[1].v, pair[1].activation)
        assert frac(pair[0](x), turned(x)) == pytest.approx(1 - ours, abs=1e-12)


def bent(u):
    return np.where(u > 0, u, u**2)


@pytest.mark.parametrize(("D", "N"), [(10, 200), (1, 30), (30, 30)])
@pytest.mark.parametrize(("f", "exact"), [("sgn", np.sign), ("tanh", np.tanh), (bent, bent)])
def test_equation_6_structured_inputs(f, exact, D, N):
    """X = f(CF/√D) for a name and for any component-wise function, up to standardisation of the whole matrix."""
    inputs = structured(f, N, D, 100, 50, rng=np.random.default_rng(96))
    assert f"f = {getattr(f, '__name__', f)}, D = {D}" in inputs.description
    for C, x in ((inputs.latent_train, inputs.x_train), (inputs.latent_test, inputs.x_test)):
        assert C.shape == (len(x), D) and inputs.features.shape == (D, N) and x.dtype == np.float32
        u = np.einsum("pd,dn->pn", C.astype(float), inputs.features.astype(float)) / math.sqrt(D)
        # u is a float32 sum of D products below 20; where it is nearly 0 its sign is a matter of rounding
        sure = np.abs(u) > 20 * D * U
        assert sure.mean() > 0.995
        np.testing.assert_allclose(x[sure], standardised(exact(u))[sure], rtol=1e-4, atol=1e-4)


def test_equation_7_latent_labels():
    """ỹ* = Σ_m ṽ_m g(w̃_m c/√D): a function of the coordinates c alone, whatever the manifold looks like."""
    D, labels = 8, []
    teacher = random_network(D, 3, rng=np.random.default_rng(97))
    for f in ("sgn", "relu"):
        inputs = structured(f, 100, D, 300, 100, rng=np.random.default_rng(98))
        dataset = latent_task(inputs, teacher, labels="real")
        for C, y in ((inputs.latent_train, dataset.y_train), (inputs.latent_test, dataset.y_test)):
            expected = phi(*double(teacher.W, teacher.v, C)).numpy()
            # float32 sums of 8 and 3 terms of order 1
            np.testing.assert_allclose(y, expected, rtol=0, atol=50 * U)
        labels.append(dataset.y_train)
        signs = latent_task(inputs, teacher, labels="sign")
        np.testing.assert_array_equal(signs.y_train, np.where(dataset.y_train >= 0, 1, -1))
    np.testing.assert_array_equal(*labels)


def test_equation_8_linear_inputs_span_only_the_features():
    """X = CF has rank D (and one more for the mean): a teacher's weights outside the span of F do not change labels."""
    rng = np.random.default_rng(99)
    D, N = 6, 80
    teacher = random_network(N, 1, rng=rng)
    stranger = rng.standard_normal(N)
    relative_change = {}
    for f in ("identity", "sgn"):
        inputs = structured(f, N, D, 400, 200, rng=np.random.default_rng(100))
        # what is orthogonal to all features, and to the constant vector along which the mean was subtracted
        span = np.linalg.qr(np.column_stack([inputs.features.T.astype(float), np.ones(N)]))[0]
        outside = stranger - span @ (span.T @ stranger)
        other = Network(teacher.W + 3 * outside, teacher.v, teacher.activation)
        one, two = (teacher_task(inputs, network, labels="real").y_test for network in (teacher, other))
        relative_change[f] = np.abs(one - two).max() / np.abs(one).max()
        singular = np.linalg.svd(inputs.x_train.astype(float), compute_uv=False)
        rank = int((singular > 1e-4 * singular[0]).sum())
        # float32 rounding of the entries, U each, has singular values of the order of U · √(400 · 80) against 100
        assert D <= rank <= D + 1 if f == "identity" else rank == N
    # w_⟂·x/√N is a sum of 80 roundings of products of order 3 where it is 0 exactly
    assert relative_change["identity"] < 1e-5
    assert relative_change["sgn"] > 0.1


def test_equation_9_rectified_inputs():
    """X = max(0, CF): half of the entries lie at the minimum, and above it they are proportional to CF."""
    P, N, D = 500, 300, 10
    inputs = structured("relu", N, D, P, 100, rng=np.random.default_rng(101))
    x = inputs.x_train
    at_minimum = x == x.min()
    # the signs of c_i·f_j are pairwise independent: the fraction has the standard error of P N coin tosses
    assert abs(at_minimum.mean() - 0.5) < SE * 0.5 / math.sqrt(P * N)
    CF = inputs.latent_train.astype(float) @ inputs.features.astype(float)
    assert CF[at_minimum].max() < 1e-4 and CF[~at_minimum].min() > -1e-4  # its rounding in float32: 20 D U
    above = (x - x.min())[~at_minimum].astype(float)
    slope = above @ CF[~at_minimum] / (CF[~at_minimum] @ CF[~at_minimum])
    np.testing.assert_allclose(above, slope * CF[~at_minimum], rtol=0, atol=1e-4)
    # the factor 1/√D of Eq. (6) drops out: the slope is one over the deviation of max(0, CF)
    assert slope == pytest.approx(1 / np.maximum(CF, 0).std(), rel=1e-5)
