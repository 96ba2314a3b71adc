"""Batches of fleets on a torch device against the plain loop, the fused kernel against torch operations.

Where there is a GPU, the tests run on it as well. The fused kernel is interpreted and compiled without a GPU where
Triton, which comes with the CUDA build of torch, is installed.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.sgd import NAMES, STABLE, single, tanh

from hmm_utils.model.activations import ACTIVATIONS, Activation
from hmm_utils.model.networks import Network, random_network
from hmm_utils.sgd import gpu, reference

WIDTHS = (1, 3, 2)
DTYPES = {"float64": torch.float64, "float32": torch.float32}

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="needs Triton, which comes with the CUDA build of torch"
)


@pytest.fixture(params=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def where(request):
    """The device to run on: every one there is."""
    return request.param


def fleets_of(rng, G, *, N=23, widths=WIDTHS, name="erf", layers="both", scale=1.0):
    return [
        [single(random_network(N, K, rng=rng, activation=name, layers=layers, scale=scale)) for K in widths]
        for _ in range(G)
    ]


def batch_of(fleets, device, *, lr=1.0, layers="both", data=0, **how):
    """A batch whose fleets have the same η and layers and are trained on the same data set."""
    G = len(fleets)
    return gpu.batch(fleets, lr=[lr] * G, layers=[layers] * G, data=[data] * G, device=device, **how)


def data_of(rng, sizes, *, N=23, coded=False):
    """(x, y) for each size: Gaussian inputs or signs, noisy labels."""
    xs = [rng.standard_normal((P, N)).astype(np.float32) for P in sizes]
    return [(np.sign(x) if coded else x, rng.standard_normal(len(x)).astype(np.float32)) for x in xs]


def host(tensors):
    """What came back from `errors`, as arrays."""
    return {key: value.cpu().numpy() for key, value in tensors.items()}


# ---- Training -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[(name, coded) for name in NAMES for coded in (False, True)], ids=str)
def lesson(request):
    """Four fleets, what they are taught, and what the plain loop makes of them in double precision."""
    name, coded = request.param
    rng = np.random.default_rng(61)
    lr, scale = STABLE[name]
    fleets = fleets_of(rng, 4, name=name, scale=scale)
    data = data_of(rng, (40, 71), coded=coded)
    each = {"lr": [lr, lr / 2, lr / 3, lr], "layers": ["both", "first", "both", "first"], "data": [0, 1, 1, 0]}
    indices = np.stack([rng.integers(len(data[d][0]), size=203) for d in each["data"]])
    truth = [
        [reference.sgd(n, *(part.astype(float) for part in data[d]), i, lr=eta, layers=which) for n in fleet]
        for fleet, i, eta, which, d in zip(fleets, indices, *each.values(), strict=True)
    ]
    return fleets, data, each, indices, truth


@pytest.mark.parametrize("block", [1, 5, 16, 300])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_batch_is_the_plain_loop(lesson, dtype, block, where):
    """Every student of every fleet does what it would do alone, with its own samples, data set, η and layers.

    A step rounds each weight once, by at most eps/2 of the largest, and its update, which is η/√N times a number of
    order 1 and so a tenth of a weight at most, by some tens of eps/2 of itself. Where training is stable no step makes
    earlier roundings larger. After n steps the weights are off by n·eps of the largest at the worst, √n·eps as a rule;
    what is wrong in the recursion is off by η/N = 1e-3 after one block.
    """
    fleets, data, each, indices, truth = lesson
    batch = gpu.batch(fleets, **each, device=where, dtype=DTYPES[dtype])
    gpu.advance(batch, gpu.samples(data, where), indices, block=block)
    eps = torch.finfo(DTYPES[dtype]).eps
    for out, expected, start in zip(gpu.networks(batch), truth, fleets, strict=True):
        moved = max(np.abs(loop.W - before.W).max() for loop, before in zip(expected, start, strict=True))
        for ours, loop in zip(out, expected, strict=True):
            largest = max(np.abs(loop.W).max(), np.abs(loop.v).max())
            tolerance = indices.shape[1] * eps * largest
            assert moved > 300 * tolerance, "there is hardly anything to compare"
            np.testing.assert_allclose(ours.W, loop.W, rtol=0, atol=tolerance)
            np.testing.assert_allclose(ours.v, loop.v, rtol=0, atol=tolerance)
    assert batch.alive.all()
    for g in (1, 3):
        np.testing.assert_array_equal(batch.v[g].cpu(), np.concatenate([n.v for n in fleets[g]]), err_msg="layers")


def test_steps_can_be_taken_in_any_portions(lesson, where, monkeypatch):
    """Calls of any length, also of none, indices on the device, and small temporary arrays change rounding only."""
    fleets, data, each, indices, _ = lesson
    samples = gpu.samples(data, where)
    once, often = (gpu.batch(fleets, **each, device=where, dtype=torch.float64) for _ in range(2))
    gpu.advance(once, samples, indices, block=16)
    monkeypatch.setattr(gpu, "_FLOATS", 4 * 7 * 23 * 3)  # three blocks of 7 steps at a time
    for part in np.split(indices, [0, 1, 100, 110], axis=1):
        gpu.advance(often, samples, torch.from_numpy(part).to(where), block=7)
    # as in the test above
    torch.testing.assert_close(often.W, once.W, rtol=0, atol=203 * 2.3e-16 * 5)
    torch.testing.assert_close(often.v, once.v, rtol=0, atol=203 * 2.3e-16 * 5)


def test_rounding_does_not_grow(where):
    """After 12 000 steps a batch in single precision is where the same batch in double precision is.

    Descent on the error draws the weights to its minimum, in all directions but those that leave the error alone; there
    the roundings, of at most eps/2 of the largest weight each, add up as independent ones: √n·eps/2, less by 1/√3 for
    their spread, more by 4 for the largest of a thousand weights.
    """
    rng = np.random.default_rng(62)
    teacher = random_network(50, 2, rng=rng)
    x = rng.standard_normal((500, 50)).astype(np.float32)
    samples = gpu.samples([(x, teacher(x))], where)
    fleets = fleets_of(rng, 2, N=50, widths=(1, 2, 4), scale=0.3)
    batches = [
        gpu.batch(fleets, lr=[0.1, 0.1], layers=["both", "first"], data=[0, 0], device=where, dtype=dtype)
        for dtype in (torch.float32, torch.float64)
    ]
    n, indices = 12_000, rng.integers(500, size=(2, 12_000))
    for batch in batches:
        gpu.advance(batch, samples, indices)
    short, long = batches
    largest = long.W.abs().max().item()
    tolerance = 4 / 3**0.5 * n**0.5 * torch.finfo(torch.float32).eps / 2 * largest
    torch.testing.assert_close(short.W.double(), long.W, rtol=0, atol=tolerance)
    torch.testing.assert_close(short.v.double(), long.v, rtol=0, atol=tolerance)
    assert (host(gpu.errors(long, samples))["mse"] < 0.1)[0].all(), "the fleet that trains both layers has learnt"


@pytest.mark.parametrize("sick", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_divergence_stays_with_the_student(name, sick, where):
    """A student with huge weights dies alone: the rows of the others are bit for bit those of a batch without it."""
    rng = np.random.default_rng(63)
    lr, scale = STABLE[name]
    fleets = fleets_of(rng, 2, widths=(2, 4, 3), name=name, scale=scale)
    samples = gpu.samples(data_of(rng, (100,)), where)
    indices = rng.integers(100, size=(2, 150))
    healthy = batch_of(fleets, where, lr=lr)
    huge = fleets[1][sick]
    fleets[1][sick] = Network(1e18 * huge.W, 1e25 * huge.v, huge.activation)
    ill = batch_of(fleets, where, lr=lr)
    for batch in (healthy, ill):
        gpu.advance(batch, samples, indices[:, :70], block=16)
        gpu.advance(batch, samples, indices[:, 70:], block=16)
    assert healthy.alive.all()
    expected = np.ones((2, 3), bool)
    expected[1, sick] = False
    np.testing.assert_array_equal(ill.alive.cpu(), expected)
    measured = host(gpu.errors(ill, samples))
    np.testing.assert_array_equal(ill.alive.cpu(), expected)
    for key, value in measured.items():
        alive = expected.all(0, keepdims=True) if key.startswith("12") else expected
        np.testing.assert_array_equal(np.isfinite(value), alive, err_msg=key)
        np.testing.assert_array_equal(value[alive], host(gpu.errors(healthy, samples))[key][alive], err_msg=key)
    for g, (one, other) in enumerate(zip(gpu.networks(ill), gpu.networks(healthy), strict=True)):
        for u in range(3):
            if (g, u) == (1, sick):
                assert np.isnan(one[u].W).all() and np.isnan(one[u].v).all()
            else:
                np.testing.assert_array_equal(one[u].W, other[u].W)
                np.testing.assert_array_equal(one[u].v, other[u].v)


def test_nothing_waits_for_the_device():
    """Neither training nor measuring reads a number back: they run on torch's device without memory, which has none."""
    rng = np.random.default_rng(65)
    batch = batch_of(fleets_of(rng, 2), "meta", data=1)
    data = data_of(rng, (9, 7), coded=True)
    indices = rng.integers(7, size=(2, 10))
    for samples in (gpu.samples(data, "meta"), gpu.samples(data_of(rng, (50, 70)), "meta")):
        gpu.advance(batch, samples, indices, block=4)
        gpu.advance(batch, samples, torch.from_numpy(indices).to("meta"), block=4)
        assert gpu.errors(batch, samples)["mse"].shape == (2, 3)
    assert gpu.errors(batch, gpu.samples(data[:1], "meta"))["12_frac_se"].shape == (1, 3)
    assert gpu.outputs(batch, gpu.samples([(data[0][0], None)], "meta")).shape == (2, 3, 9)


def precision():
    """Whether float32 matrix products may be TF32 now, in the words of this version of torch."""
    matmul = torch.backends.cuda.matmul
    return matmul.fp32_precision == "tf32" if hasattr(matmul, "fp32_precision") else matmul.allow_tf32


@pytest.mark.parametrize("before", [False, True], ids=["before: full", "before: TF32"])
def test_matrix_products_are_in_full_precision_unless_asked(before, monkeypatch):
    """TF32 is on with tf32=True only, whatever it was, never for measuring, and is put back, also after an error."""
    rng = np.random.default_rng(66)
    batch = batch_of(fleets_of(rng, 2), "cpu", lr=0.1)
    samples = gpu.samples(data_of(rng, (9,)), "cpu")
    indices = rng.integers(9, size=(2, 5))
    seen = []
    products = {"baddbmm": torch.baddbmm, "matmul": torch.matmul}
    for name, product in products.items():

        def watched(*arguments, product=product, **options):
            seen.append(precision())
            return product(*arguments, **options)

        monkeypatch.setattr(torch, name, watched)
    with gpu._matmul_precision(before):
        for tf32, use in (
            (False, lambda: gpu.advance(batch, samples, indices)),
            (True, lambda: gpu.advance(batch, samples, indices, tf32=True)),
            (False, lambda: gpu.errors(batch, samples)),
        ):
            seen.clear()
            use()
            assert set(seen) == {tf32}
            assert precision() is before

        def fails(*_):
            assert precision() is True
            raise RuntimeError("no")

        monkeypatch.setattr(gpu, "_advance_blocks", fails)
        with pytest.raises(RuntimeError, match="no"):
            gpu.advance(batch, samples, indices, tf32=True)
        assert precision() is before


# ---- Samples --------------------------------------------------------------------------------------------------------


def bits(x):
    return np.ascontiguousarray(x).view(np.uint32)


def widened(samples, d):
    rows = torch.arange(samples.sizes[d]) + samples.starts[d].cpu()
    device_of = samples.x.device
    return gpu._inputs(samples, torch.full((1,), d).to(device_of), rows.to(device_of), torch.float32).cpu().numpy()


def test_inputs_of_few_values_are_stored_as_codes(where, monkeypatch):
    """Grey levels and signs take one byte and come back bit for bit, −0 as −0, each data set with its own values."""
    monkeypatch.setattr(gpu, "_ROWS", 7)  # values are met for the first time all along
    rng = np.random.default_rng(67)
    grey = ((np.sort(rng.permutation(900) % 256) - 33.1) / 77.7).astype(np.float32).reshape(100, 9)
    signs = np.sign(rng.standard_normal((41, 9))).astype(np.float32)
    zeros = np.where(signs > 0, np.float32(0.0), np.float32(-0.0))
    xs = [grey, signs, zeros, grey[::-1] * np.float32(3)]
    assert [np.unique(bits(x)).size for x in xs] == [256, 2, 2, 256]
    samples = gpu.samples([(x, None) for x in xs], where)
    assert samples.x.dtype == torch.uint8 and samples.y is None
    assert samples.sizes == (100, 41, 41, 100)
    for d, x in enumerate(xs):
        np.testing.assert_array_equal(bits(widened(samples, d)), bits(x))


def test_inputs_of_many_values_are_stored_as_they_are(where):
    """One value too many in one data set, and all are float32."""
    x = np.arange(257, dtype=np.float32)[:, None]
    few = gpu.samples([(x[:256], x[:256, 0])], where)
    many = gpu.samples([(x[:30], x[:30, 0]), (x, -x[:, 0])], where)
    assert few.x.dtype == torch.uint8 and many.x.dtype == torch.float32 and many.table is None
    np.testing.assert_array_equal(widened(few, 0), x[:256])
    np.testing.assert_array_equal(widened(many, 1), x)
    np.testing.assert_array_equal(many.y.cpu(), np.concatenate([x[:30, 0], -x[:, 0]]))


@pytest.mark.parametrize("coded", [False, True], ids=["floats", "codes"])
def test_data_sets_that_share_their_arrays_are_stored_once(coded, where):
    """Runs on one data set do not multiply it; the same inputs with other labels are another data set."""
    rng = np.random.default_rng(75)
    (x, y), other = data_of(rng, (50, 60), coded=coded)
    samples = gpu.samples([(x, y), other, (x[:], y), (x, -y), (x[:20], y[:20])], where)
    assert len(samples.x) == len(samples.y) == 50 + 60 + 50 + 20
    for d, (inputs, labels) in enumerate([(x, y), other, (x, y), (x, -y), (x[:20], y[:20])]):
        np.testing.assert_array_equal(widened(samples, d), inputs)
        start = int(samples.starts[d])
        np.testing.assert_array_equal(samples.y[start : start + len(labels)].cpu(), labels)


@pytest.mark.parametrize("coded", [False, True], ids=["floats", "codes"])
def test_samples_of_any_layout(coded, where):
    """Arrays that are views, of double precision, or not to be written."""
    rng = np.random.default_rng(76)
    (x, y), *_ = data_of(rng, (50,), coded=coded)
    still = x.copy(), y.copy()
    for array in still:
        array.setflags(write=False)
    samples = gpu.samples([(x[::-2], y[::-2]), (x.astype(float), y.astype(float)), still], where)
    for d, inputs in enumerate([x[::-2], x, x]):
        np.testing.assert_array_equal(widened(samples, d), inputs)
    np.testing.assert_array_equal(samples.y.cpu(), np.concatenate([y[::-2], y, y]))
    indices = np.zeros((2, 3), int)
    indices.setflags(write=False)
    batch = gpu.batch(fleets_of(rng, 2), lr=[0.1] * 2, layers=["both"] * 2, data=[0, 2], device=where)
    gpu.advance(batch, samples, indices)


# ---- Measuring ------------------------------------------------------------------------------------------------------


def expected_errors(phi, y):
    """Both errors of outputs φ against y and their standard errors, as the formulas have them."""
    P, square, wrong = len(phi), (phi - y) ** 2 / 2, (phi >= 0) != (y >= 0)
    frac = wrong.mean()
    return {
        "mse": square.mean(),
        "mse_se": square.std(ddof=1) / P**0.5,
        "frac": frac,
        "frac_se": (frac * (1 - frac) / P) ** 0.5,
    }


@pytest.mark.parametrize("floats", [1, 1000, None], ids=["one by one", "in slabs", "at once"])
@pytest.mark.parametrize("coded", [False, True], ids=["floats", "codes"])
@pytest.mark.parametrize("name", NAMES)
def test_errors_and_outputs_are_those_of_the_students(name, coded, floats, where, monkeypatch):
    """Every student is measured on its own data set or on one for all; data sets may differ in size."""
    if floats:
        monkeypatch.setattr(gpu, "_FLOATS", floats)
    rng = np.random.default_rng(68)
    widths = (2, 1, 1, 3, 2)
    fleets = fleets_of(rng, 6, widths=widths, name=name)
    data = data_of(rng, (31, 57, 12), coded=coded)
    each = {"lr": [0.1] * 6, "layers": ["both"] * 6, "data": [2, 2, 0, 0, 1, 1]}
    batch = gpu.batch(fleets, **each, device=where, dtype=torch.float64)
    for tests, of_fleet in ((data, each["data"]), (data[1:2], [0] * 6)):
        samples = gpu.samples(tests, where)
        phi = gpu.outputs(batch, samples).cpu().numpy()
        assert phi.shape == (6, 5, 57)
        ours = host(gpu.errors(batch, samples))
        assert {key: value.shape for key, value in ours.items()} == {
            prefix + kind: (G, 5)
            for prefix, G in (("", 6), ("12_", 3))
            for kind in ("mse", "mse_se", "frac", "frac_se")
        }
        for g, d in enumerate(of_fleet):
            x, y = (part.astype(float) for part in tests[d])
            assert np.isnan(phi[g, :, len(x) :]).all()
            for u in range(5):
                true = fleets[g][u](x)
                # sums of 23 and 3 terms of order 1 to 100
                np.testing.assert_allclose(phi[g, u, : len(x)], true, rtol=0, atol=1e-12)
                for key, value in expected_errors(true, y).items():
                    np.testing.assert_allclose(ours[key][g, u], value, rtol=1e-10, atol=1e-13, err_msg=key)
                for key, value in expected_errors(true, fleets[g ^ 1][u](x)).items():
                    np.testing.assert_allclose(ours["12_" + key][g // 2, u], value, rtol=1e-10, atol=1e-13, err_msg=key)


def test_errors_in_single_precision_do_not_cancel(where):
    """Small differences of large numbers: ε₁,₂ of two students 1e-4 apart, summed over 20 000 inputs."""
    rng = np.random.default_rng(70)
    one = fleets_of(rng, 1, name="identity")[0]
    other = [single(Network(n.W, n.v * (1 + 1e-4), n.activation)) for n in one]
    x = rng.standard_normal((20_000, 23)).astype(np.float32)
    batch = batch_of([one, other], where)
    ours = host(gpu.errors(batch, gpu.samples([(x, None)], where)))
    for u in range(3):
        phi = one[u](x.astype(float)), other[u](x.astype(float))
        expected = expected_errors(*phi)
        # each φ is good to some 1e-7 of its 23 terms of order 1, their difference of 1e-4 to a percent
        np.testing.assert_allclose(ours["12_mse"][0, u], expected["mse"], rtol=0.01)
        np.testing.assert_allclose(ours["12_mse_se"][0, u], expected["mse_se"], rtol=0.02)


def test_sign_of_zero_and_a_single_sample(where):
    """sgn(0) = +1; with one sample nothing varies."""
    zero = Network(np.zeros((1, 3)), np.zeros(1), ACTIVATIONS["identity"])
    batch = batch_of([[zero], [zero]], where)
    x = np.ones((4, 3), np.float32)
    y = np.array([1, 0.0, -0.0, -1], np.float32)
    result = host(gpu.errors(batch, gpu.samples([(x, y)], where)))
    np.testing.assert_array_equal(result["frac"], 0.25)
    np.testing.assert_array_equal(result["12_frac"], 0)
    result = host(gpu.errors(batch, gpu.samples([(x[:1], y[:1])], where)))
    np.testing.assert_array_equal(result["mse"], 0.5)
    np.testing.assert_array_equal(result["mse_se"], 0)


def test_outputs_that_are_infinite_are_found(where):
    """A student that nothing but measuring shows to be infinite is no longer alive, and NaN; labels are not needed."""
    rng = np.random.default_rng(71)
    fleets = fleets_of(rng, 2, name="quadratic")
    fleets[0][2] = Network(1e25 * fleets[0][2].W, fleets[0][2].v, fleets[0][2].activation)
    fleets[0][1] = Network(1e15 * fleets[0][1].W, fleets[0][1].v, fleets[0][1].activation)
    batch = batch_of(fleets, where)
    (x, _), *_ = data_of(rng, (20,))
    result = host(gpu.errors(batch, gpu.samples([(x, None)], where)))
    assert batch.alive.cpu().tolist() == [[True, True, False], [True, True, True]]
    assert set(result) == {"12_mse", "12_mse_se", "12_frac", "12_frac_se"}
    for value in result.values():
        assert np.isfinite(value).tolist() == [[True, True, False]], "large, as 1e30 is, is not infinite"
    (_, large, gone), _ = gpu.networks(batch)
    assert np.isnan(gone.W).all() and np.isnan(gone.v).all() and np.isfinite(large.W).all()


# ---- What is refused ------------------------------------------------------------------------------------------------


def namesake():
    """A custom activation that bears the name of another one."""
    relu = ACTIVATIONS["relu"]
    return Activation(name="erf", g=relu.g, dg=relu.dg, fields=relu.fields)


def one_fleet(*widths, N=5, g="erf"):
    rng = np.random.default_rng(72)
    return [random_network(N, K, rng=rng, activation=g) for K in widths]


@pytest.mark.parametrize(
    ("fleets", "each", "message"),
    [
        (lambda: [], {}, "must have the same widths"),
        (lambda: [[], []], {}, "must have the same widths"),
        (lambda: [one_fleet(1, 2), one_fleet(2, 1)], {}, "must have the same widths"),
        (lambda: [one_fleet(1, 2), one_fleet(1, 2, N=6)], {}, "one number of inputs"),
        (lambda: [one_fleet(1) + one_fleet(2, N=6)] * 2, {}, "one number of inputs"),
        (lambda: [one_fleet(1), one_fleet(1, g="relu")], {}, "and one g"),
        (lambda: [one_fleet(1, g=tanh())] * 2, {}, "activation 'tanh' is not one of erf, relu, identity, quadratic"),
        (lambda: [one_fleet(1, g=namesake())] * 2, {}, "activation 'erf' is not one of"),
        (lambda: [one_fleet(1)] * 2, {"lr": [1]}, "2 fleets have 1 learning rates, 2 layers and 2 data sets"),
        (lambda: [one_fleet(1)] * 2, {"layers": ["both"] * 3}, "2 fleets have 2 learning rates, 3 layers"),
        (lambda: [one_fleet(1)] * 2, {"data": []}, "and 0 data sets"),
        (lambda: [one_fleet(1)] * 2, {"layers": ["both", "second"]}, "layers = 'second': choose one of both, first"),
    ],
)
def test_impossible_batches_are_refused(fleets, each, message):
    """`batch` says what is wrong."""
    with pytest.raises(ValueError, match=message):
        gpu.batch(fleets(), **({"lr": [1, 1], "layers": ["both"] * 2, "data": [0, 0], "device": "cpu"} | each))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], r"inputs have shapes \[\]"),
        ([((4, 3), (4,)), ((4, 2), (4,))], r"inputs have shapes \[\(4, 3\), \(4, 2\)\]"),
        ([((4,), (4,))], r"inputs have shapes \[\(4,\)\]"),
        ([((0, 3), (0,))], r"inputs have shapes \[\(0, 3\)\]"),
        ([((4, 3), (3,))], r"labels have shapes \[\(3,\)\]"),
        ([((4, 3), (4, 1))], r"labels have shapes \[\(4, 1\)\]"),
        ([((4, 3), (4,)), ((4, 3), None)], r"labels have shapes \[\(4,\), None\]"),
    ],
)
def test_impossible_samples_are_refused(data, message):
    """`samples` says what is wrong."""
    with pytest.raises(ValueError, match=message):
        gpu.samples([(np.ones(x), None if y is None else np.ones(y)) for x, y in data], "cpu")


def test_impossible_training_and_measuring_are_refused():
    """Indices outside the data, of which there may be more in the next data set, and data that are not there."""
    rng = np.random.default_rng(73)
    batch = gpu.batch(fleets_of(rng, 2), lr=[1, 1], layers=["both"] * 2, data=[0, 1], device="cpu")
    data = data_of(rng, (7, 9))
    samples = gpu.samples(data, "cpu")
    gpu.advance(batch, samples, np.array([[6], [8]]))
    for indices in ([[7], [8]], [[6], [9]], [[6], [-1]]):
        with pytest.raises(IndexError, match=r"indices reach from (7|9|-1) to (7|9|-1): there are [79] samples"):
            gpu.advance(batch, samples, np.array(indices))
    unlabelled = gpu.samples([(x, None) for x, _ in data], "cpu")
    for given, indices, message in (
        (samples, np.zeros((3, 4), int), r"give \(G, n\), one row for each of 2 fleets"),
        (samples, np.zeros(2, int), r"give \(G, n\), one row for each of 2 fleets"),
        (gpu.samples(data[:1], "cpu"), np.zeros((2, 4), int), r"use data sets \[0, 1\] and there are samples of 1"),
        (unlabelled, np.zeros((2, 4), int), "the samples have no labels"),
    ):
        with pytest.raises(ValueError, match=message):
            gpu.advance(batch, given, indices)
    with pytest.raises(ValueError, match=r"data sets \[0, 1\]: fleets 2j and 2j\+1 must be a pair"):
        gpu.errors(batch, samples)
    three = gpu.batch(fleets_of(rng, 3), lr=[1] * 3, layers=["both"] * 3, data=[0, 0, 2], device="cpu")
    with pytest.raises(ValueError, match="must be a pair"):
        gpu.errors(three, samples)
    with pytest.raises(ValueError, match=r"use data sets \[0, 2\] and there are samples of 2"):
        gpu.outputs(three, samples)


# ---- The fused kernel -----------------------------------------------------------------------------------------------


def run_here(function, tmp_path, **environment):
    """Calls a function of this file in a fresh interpreter, in which Triton can be imported otherwise."""
    subprocess.run(
        [sys.executable, "-c", f"import test_gpu; test_gpu.{function.__name__}()"],
        cwd=Path(__file__).parent,
        env=os.environ | {"TRITON_CACHE_DIR": str(tmp_path)} | environment,
        check=True,
    )


def compare_recursions():
    """_recursion_triton against _recursion_torch: all g, ragged widths, blocks, η, layers, and a diverging student."""
    rng = np.random.default_rng(74)
    for name in NAMES:
        lr, scale = STABLE[name]
        for widths, B in (((1, 3, 2), 1), ((1, 3, 2), 5), ((5, 1), 16), ((1,), 3), ((9, 9, 8), 11)):
            fleets = fleets_of(rng, 3, widths=widths, name=name, scale=scale)
            n = fleets[1][-1]
            fleets[1][-1] = Network(n.W, 1e38 * n.v, n.activation)
            each = {"lr": [lr, lr / 2, lr], "layers": ["both", "both", "first"], "data": [0] * 3, "device": "cpu"}
            batches = [gpu.batch(fleets, **each) for _ in range(2)]
            # views of larger arrays, as `advance` has them
            X = torch.from_numpy(rng.standard_normal((3, 2, B, 23)).astype(np.float32))
            S = (X @ X.mT / 23)[:, 1]
            y = torch.from_numpy(rng.standard_normal((3, 2, B)).astype(np.float32))[:, 1]
            A = (X[:, 1] @ batches[0].W.mT) / 23**0.5
            A[1, :, -1] *= 1e30
            with np.errstate(all="ignore"):
                loop, fused = (
                    recursion(batch, A, S, y)
                    for recursion, batch in zip((gpu._recursion_torch, gpu._recursion_triton), batches, strict=True)
                )
            rows = torch.ones(3, sum(widths), dtype=torch.bool)
            rows[1, -widths[-1] :] = False
            alive = torch.ones(3, len(widths), dtype=torch.bool)
            alive[1, -1] = False
            where = f"{name}, widths {widths}, B = {B}"
            for batch in batches:
                if B > 1:
                    assert torch.equal(batch.alive, alive), where
            # two orders of the same sums of at most B + K terms, and two error functions
            for one, other in ((loop.mT[rows], fused.mT[rows]), (batches[0].v[rows], batches[1].v[rows])):
                assert one.isfinite().all(), where
                assert (one - other).abs().max() <= 2e-6 * one.abs().max(), where
            assert torch.equal(batches[1].v[2], gpu.batch(fleets, **each).v[2]), where


def compile_kernel():
    """The kernel for GPUs of two generations, for all g and for the smallest and largest sizes it is used for."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    floats, flags = dict.fromkeys(("A", "S", "y", "D", "v", "lr", "lr_v"), "*fp32"), {"alive": "*i1", "real": "*i1"}
    numbers = dict.fromkeys(("S_fleet", "y_fleet", "B", "R", "U", "K"), "i32")
    types = floats | flags | numbers | {"rows": "*i64"}
    order = gpu._recursion_kernel.arg_names
    for g_name, K, B in [(name, 10, 64) for name in NAMES] + [("erf", 1, 1), ("erf", 512, 64)]:
        constants = {"g_name": g_name, "K_PADDED": triton.next_power_of_2(K), "B_PADDED": triton.next_power_of_2(B)}
        # Triton makes a constant of every number that is 1
        constants |= {key: 1 for key, value in (("B", B), ("K", K), ("R", K), ("U", K)) if value == 1}
        signature = {key: "constexpr" if key in constants else types[key] for key in order}
        source = ASTSource(fn=gpu._recursion_kernel, signature=signature, constexprs=constants)
        warps = gpu._warps(K, B)
        assert warps <= gpu._MOST_WARPS
        for generation in (80, 90):
            made = triton.compile(
                source, target=GPUTarget("cuda", generation, 32), options={"num_warps": warps, "enable_fp_fusion": True}
            )
            assert made.asm["cubin"]


@needs_triton
def test_the_fused_kernel_is_the_recursion(tmp_path):
    """Interpreted on the processor, the kernel does what the torch operations do."""
    run_here(compare_recursions, tmp_path, TRITON_INTERPRET="1")


@needs_triton
def test_the_fused_kernel_compiles(tmp_path):
    """The compiler takes less than the interpreter; it needs no GPU."""
    run_here(compile_kernel, tmp_path, TRITON_INTERPRET="0")


@needs_triton
def test_students_too_wide_for_the_kernel_do_without_it():
    """One warp while the registers last, the more the wider the student, and no kernel beyond 512 × 64."""
    assert [gpu._warps(K, 64) for K in (1, 10, 32, 33, 100, 512)] == [1, 1, 1, 2, 4, 16]
    assert gpu._warps(513, 64) > gpu._MOST_WARPS >= gpu._warps(512, 64)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_kernel_is_used():
    """Where there is Triton, float32 students go through the fused kernel."""
    if gpu.triton is None:
        pytest.skip("needs Triton")
    assert gpu._triton_works(torch.device("cuda", torch.cuda.current_device()))
