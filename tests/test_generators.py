"""generators: against closed forms, plain loops, sampled numbers; and the trained decoder with its script."""

import math
from dataclasses import replace
from functools import partial
from unittest.mock import Mock

import numpy as np
import pytest
import safetensors.numpy
import xarray as xr
from helpers.sampling import SE, U, check_standard_normal

from hmm_utils.data import mnist
from hmm_utils.data.generators import (
    TRAINED,
    Generator,
    Layer,
    convolutional,
    covariances,
    field_moments,
    fully_connected,
    load_layers,
    local_fields,
    participation_ratio,
    random_layers,
    recoverability,
    save_layers,
    standardised,
)
from hmm_utils.files import DamagedFileWarning
from hmm_utils.model.nonlinearities import NONLINEARITIES, constants
from hmm_utils.theory.online.asymptotics import estimable_fraction
from hmm_utils.theory.online.layers import propagated


def plain(push, D, N, content="plain"):
    return Generator(name="plain", n_latent=D, n_inputs=N, push=push, content=content)


def latent(n, D, seed=0):
    return np.random.default_rng(seed).standard_normal((n, D), dtype=np.float32)


def rms(x):
    return float(np.sqrt(np.mean(np.square(x))))


# ---- Fully connected ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", NONLINEARITIES)
def test_one_random_layer_is_the_hidden_manifold(f):
    """x_i = f(Σ_r c_r F_ri/√D), sample by sample and sum by sum, with F_ri ~ N(0, 1)."""
    D, N = 30, 50
    (layer,) = random_layers((D, N), f, rng=np.random.default_rng(1))
    F, c = layer.F.astype(float) * math.sqrt(D), latent(7, D)
    check_standard_normal(F)
    u = np.array([[sum(c[n, r] * F[r, i] for r in range(D)) for i in range(N)] for n in range(7)]) / math.sqrt(D)
    x = fully_connected([layer])(c)
    assert x.shape == (7, N) and x.dtype == np.float32
    # signs are clear away from 0; else D products and their sum, and f with a slope of at most 1, in float32
    clear = np.abs(u) > (1e-5 if f == "sgn" else 0)
    np.testing.assert_allclose(x[clear], NONLINEARITIES[f](u)[clear], rtol=0, atol=0 if f == "sgn" else 2 * D * U)


def test_layers_with_biases_follow_each_other():
    """Three layers of different widths and functions, written out."""
    rng = np.random.default_rng(2)
    a, b, d = rng.standard_normal((3, 4)), rng.standard_normal((4, 5)), rng.standard_normal((5, 2))
    p, q = rng.standard_normal(4), rng.standard_normal(2)
    generator = fully_connected([Layer(a, "relu", p), Layer(b, "tanh"), Layer(d, "sigmoid", q)], "three layers")
    c = latent(6, 3)
    u = np.tanh(np.maximum(c @ a + p, 0) @ b) @ d + q
    np.testing.assert_allclose(generator(c), 1 / (1 + np.exp(-u)), rtol=1e-12)
    assert (generator.n_latent, generator.n_inputs) == (3, 2)
    assert repr(generator) == "Generator(three layers; D=3, N=2)"


def test_content_names_the_function():
    """The same layers have the same content; another weight, bias, function or shape has another."""
    F = np.random.default_rng(3).standard_normal((4, 4))
    layer = Layer(F, "relu")
    others = [Layer(F + 1e-12 * np.eye(4), "relu"), Layer(F, "abs"), Layer(F, "relu", np.zeros(4))]
    others += [Layer(F.reshape(2, 8), "relu")]
    made = [[layer], [layer, layer], *([other] for other in others)]
    assert len({fully_connected(layers).content for layers in made}) == len(made)
    assert fully_connected([Layer(F.copy(), "relu")]).content == fully_connected([layer], "a name").content


def test_layers_survive_a_file(tmp_path):
    """Weights, biases, functions and metadata come back as they were, and the generator is the same."""
    rng = np.random.default_rng(4)
    a, b, bias = (rng.standard_normal(shape, dtype=np.float32) for shape in ((3, 4), (4, 6), 4))
    layers = [Layer(a, "relu", bias), Layer(b, "sigmoid")]
    path = tmp_path / "new" / "layers.safetensors"
    save_layers(path, layers, {"data": "none"})
    back, metadata = load_layers(path)
    assert metadata == {"data": "none"} and back[1].bias is None
    assert fully_connected(back).content == fully_connected(layers).content
    assert list(path.parent.iterdir()) == [path]


def test_files_that_hold_no_layers(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_layers(tmp_path / "none")
    for content in (b"not a file of tensors", safetensors.numpy.save({"weights": np.ones(3)})):
        (tmp_path / "some").write_bytes(content)
        with pytest.raises(ValueError, match=r"some holds no layers .*: train again with tools/train_generator.py"):
            load_layers(tmp_path / "some")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plain(None, 0, 3), "n_latent = 0: give"),
        (lambda: plain(None, 3, -1), "n_inputs = -1: give"),
        (lambda: convolutional(5, (4, 0), 3, rng=np.random.default_rng(0)), "n_calibration are .*: give at least 1"),
        (lambda: random_layers((3, 0), "sgn", rng=np.random.default_rng(0)), r"sizes = \(3, 0\): give D, …, N"),
        (lambda: Layer(np.ones((2, 3)), "sign"), "unknown f 'sign': choose one of sgn, .*, sigmoid"),
        (lambda: Layer(np.ones((2, 3)), "sgn", np.ones(2)), r"F has shape \(2, 3\) and the bias \(2,\)"),
        (lambda: fully_connected([]), "a generator without layers was asked for"),
        (
            lambda: fully_connected([Layer(np.ones((2, 3)), "sgn"), Layer(np.ones((2, 3)), "sgn")]),
            "a layer of 3 units is followed by one that takes 2",
        ),
        (lambda: plain(lambda c: c, 2, 2)(latent(5, 3)), r"shape \(5, 3\): plain takes \(n, 2\)"),
        (
            lambda: plain(lambda c: c, 2, 3)(latent(5, 2)),
            r"of shape \(5, 2\) to inputs of shape \(5, 2\): \(5, 3\) was announced",
        ),
        (lambda: plain(lambda c: c * np.nan, 2, 2)(latent(5, 2)), "plain gives inputs that are not finite"),
    ],
    ids=range(11),
)
def test_impossible_generators_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---- Convolutional --------------------------------------------------------------------------------------------------


def transposed_convolution(x, kernel, stride, padding):
    """Every pixel of x (n, a, h, h) paints the kernel (a, b, s, s) onto the output, `stride` pixels further each."""
    n, _, h, _ = x.shape
    b, s = kernel.shape[1:3]
    out = np.zeros((n, b, stride * (h - 1) + s, stride * (h - 1) + s))
    for i in range(h):
        for j in range(h):
            patch = np.einsum("na,abkl->nbkl", x[:, :, i, j], kernel)
            out[:, :, stride * i : stride * i + s, stride * j : stride * j + s] += patch
    return out[:, :, padding:-padding, padding:-padding] if padding else out


def test_convolutional_generator_is_the_plain_loop():
    """The same draws, painted pixel by pixel in double precision, normalised by what the calibration shows."""
    D, channels, colours, n = 5, (4, 3, 2), 2, 40
    generator = convolutional(D, channels, colours, rng=np.random.default_rng(5), n_calibration=n)
    assert generator.n_inputs == 2 * 16 * 16
    rng = np.random.default_rng(5)

    def draw(*shape):
        return rng.standard_normal(shape, dtype=np.float32).astype(float)

    kernels = [draw(5, 4, 4, 4) / math.sqrt(5), draw(4, 3, 4, 4) / 4, draw(3, 2, 4, 4) / math.sqrt(12)]
    last = draw(2, 2, 1, 1)  # variance 2/fan-in = 1
    calibration, c = draw(n, D), latent(3, D)
    both = np.concatenate([calibration, c])[:, :, None, None]
    for i, kernel in enumerate(kernels):
        both = transposed_convolution(both, kernel, stride=2 if i else 1, padding=1 if i else 0)
        seen = both[:n].transpose(1, 0, 2, 3).reshape(both.shape[1], -1)
        mean, deviation = (y[:, None, None] for y in (seen.mean(axis=1), seen.std(axis=1, ddof=1)))
        both = np.maximum((both - mean) / deviation, 0)
    expected = np.tanh(transposed_convolution(both[n:], last, stride=1, padding=0)).reshape(3, -1)
    # four convolutions with up to 16 terms each in float32, and divisions by deviations of order one
    np.testing.assert_allclose(generator(c), expected, rtol=0, atol=200 * U)


def test_convolutional_generator_is_a_function_of_c():
    """An image does not depend on the others of its batch, nor on how they are cut into slabs; a seed fixes it."""
    made = [convolutional(5, (8, 4), rng=np.random.default_rng(seed), n_calibration=16) for seed in (6, 6, 7)]
    c = latent(70, 5)
    x = made[0](c)
    alone = np.concatenate([made[0](c[i : i + 1]) for i in (0, 63, 64, 69)])
    # other batch sizes may add the same numbers in another order
    np.testing.assert_allclose(alone, x[[0, 63, 64, 69]], rtol=0, atol=50 * U)
    assert made[0].content == made[1].content != made[2].content
    np.testing.assert_array_equal(made[1](c), x)
    assert made[0].name == "random convolutional generator, 3 × 8 × 8"
    assert convolutional.__defaults__ == (100, (512, 256, 128, 64), 3)


# ---- Covariances ----------------------------------------------------------------------------------------------------


def test_sampled_moments_of_a_linear_generator():
    """x = cF + m has μ = m, Ω = FᵀF and Φ = Fᵀ, up to errors that are as large as announced."""
    D, N = 30, 40
    rng = np.random.default_rng(9)
    F, m = rng.standard_normal((N, D)).T / math.sqrt(D), np.linspace(-3, 300, N)
    linear = plain(lambda c: c @ F + m, D, N)
    measured = covariances(linear, n_samples=20_001, batch=200, rng=rng)
    assert measured.sizes == {"input": N, "other": N, "latent": D}
    for name, exact in (("mean", m), ("omega", F.T @ F), ("phi", F.T)):
        announced = float(measured[f"{name}_error"])
        # μ comes from D independent numbers, Ω from D²/2, Φ from D²; 101 batches tell their scatter to 7%
        independent = {"mean": D, "omega": D * D / 2, "phi": D * D}[name]
        slack = math.hypot(1 / math.sqrt(2 * independent), 1 / math.sqrt(200))
        assert rms(measured[name].values - exact) == pytest.approx(announced, rel=SE * slack), name
    # E[u v] of two Gaussian numbers of variance one: a standard error of at least 1/√n
    assert 1 <= float(measured["phi_error"]) * math.sqrt(20_001) < 1.1
    np.testing.assert_array_equal(measured["omega"], measured["omega"].values.T)


def test_sampled_moments_do_not_depend_on_the_batches():
    """All samples count once: large and small batches of the same latent numbers give the same moments."""
    D, N, n = 3, 4, 1003
    generator = fully_connected(random_layers((D, N), "relu", rng=np.random.default_rng(10)))
    few, many = (covariances(generator, n_samples=n, batch=b, rng=np.random.default_rng(11)) for b in (4096, 7))
    (child,) = np.random.default_rng(11).spawn(1)
    c = child.standard_normal((n, D), dtype=np.float32)
    x = generator(c).astype(float)
    exact = {"mean": x.mean(axis=0), "omega": np.cov(x.T), "phi": (x - x[:101].mean(axis=0)).T @ c / n}
    for measured in (few, many):
        for name in ("mean", "omega"):
            np.testing.assert_allclose(measured[name], exact[name], rtol=0, atol=1e-12)
        # Φ is about the mean of the first batch, which E c = 0 allows; it differs by (mean of x) (mean of c)
        assert np.abs(measured["phi"] - exact["phi"]).max() < SE * 1 / math.sqrt(7 * n)


def test_sampled_covariance_of_inputs_far_from_zero():
    """A mean of 1000 costs no digits of Ω: nothing is subtracted from a sum of squares of that size."""
    shifted = plain(lambda c: c.astype(float) + 1e8, 3, 3)
    measured = covariances(shifted, n_samples=2000, rng=np.random.default_rng(12))
    # squares of 1e8 would leave 1e16 eps = 2 of Ω = 1; differences leave 1e8 eps = 2e-8
    at_zero = covariances(plain(lambda c: c.astype(float), 3, 3), n_samples=2000, rng=np.random.default_rng(12))
    np.testing.assert_allclose(measured["omega"], at_zero["omega"], rtol=0, atol=1e-6)


def test_stored_covariances_are_found_again(tmp_path):
    """The file is read instead of asking the generator; rng is left the same; other contents have other files."""
    push = Mock(side_effect=np.tanh)
    generator, rngs = plain(push, 3, 3), [np.random.default_rng(13) for _ in range(3)]
    first = covariances(generator, n_samples=100, rng=rngs[0], folder=tmp_path)
    asked = push.call_count
    again = covariances(generator, n_samples=100, rng=rngs[1], folder=tmp_path)
    assert push.call_count == asked == 10
    xr.testing.assert_identical(again, first)
    xr.testing.assert_identical(covariances(generator, n_samples=100, rng=rngs[2]), first)
    assert len({rng.spawn(1)[0].standard_normal() for rng in rngs}) == 1
    other = replace(generator, content="other")
    for one, n, rng in ((generator, 101, 13), (generator, 100, 14), (generator, 100, rngs[0]), (other, 100, 13)):
        covariances(one, n_samples=n, rng=np.random.default_rng(rng), folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 5


def test_damaged_moments_are_sampled_again(tmp_path):
    def moments():
        return covariances(plain(np.tanh, 3, 3), n_samples=100, rng=np.random.default_rng(15), folder=tmp_path)

    first, (path,) = moments(), tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:500])
    with pytest.warns(DamagedFileWarning, match="was renamed to"):
        xr.testing.assert_identical(moments(), first)


def test_standardised_generator():
    """Fresh inputs have mean 0 and overall variance 1, and the moments are those of the new generator."""
    D, N = 20, 30
    generator = fully_connected(random_layers((D, N), "relu", rng=np.random.default_rng(21)))
    measured = covariances(generator, n_samples=20_000, rng=np.random.default_rng(22))
    centred, moments = standardised(generator, measured)
    fresh = covariances(centred, n_samples=20_000, rng=np.random.default_rng(23))
    assert np.trace(moments["omega"]) == pytest.approx(N, rel=1e-12) and not moments["mean"].values.any()
    for name in ("mean", "omega", "phi"):
        # both are sampled, with errors of the same size; entries move together, hence the factor 2
        assert rms(fresh[name] - moments[name]) < 2 * math.sqrt(2) * float(fresh[f"{name}_error"])
        assert float(moments[f"{name}_error"]) == pytest.approx(float(fresh[f"{name}_error"]), rel=0.3)
    assert centred(latent(3, D)).dtype == np.float32
    other, _ = standardised(generator, propagated([Layer(np.eye(30), "relu")]))
    assert len({one.content for one in (generator, centred, other)}) == 3


def test_participation_ratio():
    """N equal modes count N, one counts 1, two with variances 3 and 1 count 16/10; zeros do not count."""
    assert participation_ratio(np.eye(7)) == pytest.approx(7)
    assert participation_ratio(np.ones((7, 7))) == pytest.approx(1)
    assert participation_ratio(np.diag([3.0, 1.0, 0.0])) == pytest.approx(1.6)


def test_recoverability():
    """All of c from D ≤ N linear inputs, N/D of it from fewer; for signs the fraction s(δ) of large N and D."""
    rng = np.random.default_rng(24)
    for D, N, expected in ((20, 40, 1), (40, 40, 1), (50, 20, 0.4)):
        # 40 single-precision modes, the smallest with a variance of 1/D²
        assert recoverability(propagated(random_layers((D, N), "identity", rng=rng))) == pytest.approx(expected, 1e-3)
    signs = propagated(random_layers((300, 600), "sgn", rng=rng))
    # a mean over 300 modes of one F: fluctuations and the bias of finite D are O(1/D)
    assert recoverability(signs) == pytest.approx(estimable_fraction(constants("sgn"), 0.5), abs=2 / 300)


# ---- Local fields ---------------------------------------------------------------------------------------------------


def test_local_fields_have_the_covariance_of_the_inputs():
    """E λ λᵀ = WΩWᵀ/N and E λ = 0 over 40 000 inputs with a mean, in unequal portions."""
    rng = np.random.default_rng(25)
    F = rng.standard_normal((12, 5))
    linear = plain(lambda c: c @ F.T + 3, 5, 12)
    W = rng.standard_normal((3, 12))
    lam = local_fields(linear, W, mean=np.full(12, 3.0), n_samples=40_000, rng=rng, batch=7000)
    assert lam.dims == ("sample", "unit") and lam.shape == (40_000, 3)
    exact = W @ F @ F.T @ W.T / 12
    products = lam.values[:, :, None] * lam.values[:, None, :]
    for samples, expected in ((lam.values, 0), (products, exact)):
        assert np.all(np.abs(samples.mean(axis=0) - expected) <= SE * samples.std(axis=0) / 200)


def test_field_moments():
    """Skewness E z³ and excess kurtosis E z⁴ − 3 of z = (λ − E λ)/σ, of three distributions."""
    rng, n = np.random.default_rng(26), 5000
    columns = np.stack([3 * rng.standard_normal(n) + 1, rng.standard_exponential(n), rng.random(n)], axis=1)
    moments = field_moments(xr.DataArray(columns, dims=("sample", "unit")))
    assert float(moments["skewness_error"]) == pytest.approx(math.sqrt(6 / n))
    assert float(moments["excess_kurtosis_error"]) == pytest.approx(math.sqrt(24 / n))
    z = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    np.testing.assert_allclose(moments["skewness"], (z**3).mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(moments["excess_kurtosis"], (z**4).mean(axis=0) - 3, atol=1e-9)


def tanh(c):
    return np.tanh(c)


def sampled(n_samples, batch=10, D=3, push=tanh):
    return covariances(plain(push, D, D), n_samples=n_samples, batch=batch, rng=np.random.default_rng(0))


def fields(shape, n_samples):
    rng = np.random.default_rng(0)
    return local_fields(plain(tanh, 3, 3), np.ones(shape), mean=np.zeros(3), n_samples=n_samples, rng=rng)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        *[(partial(sampled, n, b), "give at least 20 samples and batches of 2") for n, b in ((19, 10), (100, 1))],
        (lambda: standardised(plain(None, 3, 3), sampled(20, push=lambda c: 0 * c)), "the same input for every c"),
        (lambda: standardised(plain(None, 3, 4), sampled(20)), "the moments are of 3 inputs: plain has 4"),
        (partial(participation_ratio, np.diag([1.0, -0.1])), "Ω has the eigenvalue -0.1 beside 1: a covariance is pos"),
        (partial(participation_ratio, np.zeros((2, 2))), "Ω is 0"),
        (partial(participation_ratio, np.ones((2, 3))), r"Ω has shape \(2, 3\): give a square matrix"),
        (partial(participation_ratio, np.full((2, 2), np.nan)), "Ω holds values that are not finite"),
        (partial(fields, (2, 4), 5), r"W has shape \(2, 4\) and the mean \(3,\): give W as \(K, 3\)"),
        (partial(fields, (2, 3), 0), "n_samples = 0: give a whole number of at least 1"),
    ],
    ids=range(10),
)
def test_impossible_moments_and_fields_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---- The trained generator ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def script(load):
    return load("train_generator")


def test_the_trained_generator_makes_digits():
    """It is small, says where it comes from, and its pixels are probabilities that vary as those of digits do."""
    layers, metadata = load_layers(TRAINED)
    generator = fully_connected(layers)
    assert TRAINED.stat().st_size <= 2e6
    assert metadata["data"] == "the first 10000 training images of MNIST" and metadata["epochs"] == "30"
    assert (generator.n_latent, generator.n_inputs) == (64, 784)
    # the content identifies stored moments: another one would sample them all again
    assert generator.content.startswith("26df78a1ff3abb51")
    x = generator(latent(500, 64))
    assert x.min() >= 0 and x.max() <= 1
    # MNIST's grey values have mean 0.13 and deviation 0.31; a decoder blurs, which lowers the deviation
    assert 0.08 < x.mean() < 0.18 and 0.2 < x.std() < 0.35
    corner = x.reshape(-1, 28, 28)[:, :3, :3]
    assert corner.mean() < 0.01


def test_elbo(script):
    """−ELBO written out pixel by pixel: Bernoulli log-likelihood and the divergence of q from N(0, I)."""
    import torch

    torch.manual_seed(0)
    model = script.Autoencoder(6, 2, 5).double()
    rng = np.random.default_rng(27)
    x, noise = rng.random((3, 6)), rng.standard_normal((3, 2))
    weight = {name: p.detach().numpy() for name, p in model.named_parameters()}

    def linear(name, y):
        return y @ weight[f"{name}.weight"].T + weight[f"{name}.bias"]

    code = linear("code", np.maximum(linear("into", x), 0))
    mean, deviation = code[:, :2], np.exp(code[:, 2:] / 2)
    p = fully_connected(model.decoder())(mean + deviation * noise)
    likelihood = np.sum(x * np.log(p) + (1 - x) * np.log(1 - p))
    divergence = np.sum(mean**2 + deviation**2 - 1 - 2 * np.log(deviation)) / 2
    ours = model.minus_elbo(torch.tensor(x), torch.tensor(noise)).item()
    assert ours == pytest.approx((divergence - likelihood) / 3, rel=1e-12)


def test_training_without_mnist(script, monkeypatch, tmp_path, capsys):
    """Without MNIST the script says that small digits stand in, learns them, and writes that into the file."""
    monkeypatch.setattr(mnist, "load", Mock(side_effect=mnist.DataError("MNIST is missing.")))
    out = tmp_path / "generator.safetensors"
    command = ["train_generator.py", "--out", str(out), "--latent", "4", "--images", "400", "--epochs", "3"]
    monkeypatch.setattr("sys.argv", command)
    monkeypatch.setattr("torch.set_num_threads", lambda n: None)
    script.main()
    said = capsys.readouterr().out
    assert "8 × 8 digits stand in. MNIST is missing." in said
    losses = [float(line.split("−ELBO ")[1].split()[0]) for line in said.splitlines() if line.startswith("epoch")]
    assert losses[0] > losses[1] > losses[2]
    layers, metadata = load_layers(out)
    assert metadata["data"] == "400 of scikit-learn's 8 × 8 digits, in place of MNIST"
    assert metadata["minus_elbo"] == f"{losses[2]:.2f} nats per image"
    assert fully_connected(layers)(latent(2, 4)).shape == (2, 64)
