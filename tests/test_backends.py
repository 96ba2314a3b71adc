"""backends: both backends against networks in double precision and the plain loop, one student at a time."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers.sgd import KINDS, check_errors, single

from hmm_utils.model.networks import Network, random_network
from hmm_utils.sgd import backends, reference
from hmm_utils.sgd.backends import CpuBackend, TorchBackend

N, WIDTHS = 17, (2, 5, 1)
LR, LAYERS = (0.2, 0.1, 0.3), ("both", "first", "both")


@pytest.fixture(params=["threads", "torch"])
def backend(request):
    """Makes a backend of either kind; torch's runs on its processor device."""
    if request.param == "torch":
        pytest.importorskip("torch")
        yield lambda *given, block=None: TorchBackend(*given, block=block, where="cpu", tf32=False)
        return
    with ThreadPoolExecutor(max_workers=3) as pool:
        yield lambda *given, block=None: CpuBackend(*given, block=block, pool=pool)


def pairs_of(rng, activation="erf"):
    """The students of three pairs of fleets."""
    return [
        tuple(
            [single(random_network(N, K, rng=rng, activation=activation, layers=layers)) for K in WIDTHS]
            for _ in range(2)
        )
        for layers in LAYERS
    ]


def sets_of(rng, sizes, labels=True):
    """Inputs and labels for each pair."""
    xs = [rng.standard_normal((n, N)).astype(np.float32) for n in sizes]
    return [(x, rng.standard_normal(len(x)).astype(np.float32) if labels else None) for x in xs]


def check(measured, index, phi, y, prefix=""):
    """The entry ``index`` of the measured errors is that of outputs φ against y."""
    check_errors(phi, y, *(float(np.asarray(measured[prefix + kind])[index]) for kind in KINDS))


@pytest.mark.parametrize("small", [False, True], ids=["whole", "slabs"])
def test_errors_are_those_of_every_student(backend, small, monkeypatch):
    """(pairs, 2, U) errors against the labels and (pairs, U) within pairs, on the inputs of each pair."""
    if small:
        monkeypatch.setattr(backends, "_SLAB", 7)
    rng = np.random.default_rng(81)
    pairs, data = pairs_of(rng), sets_of(rng, (60, 131, 2))
    fleets = backend(pairs, {"train": data, "test": data}, LR, LAYERS)
    measured = fleets.errors("test")
    assert {key: tuple(value.shape) for key, value in measured.items()} == {
        **{kind: (3, 2, 3) for kind in KINDS},
        **{f"12_{kind}": (3, 3) for kind in KINDS},
    }
    for p, (x, y) in enumerate(data):
        for u in range(3):
            phi = [pairs[p][s][u](x.astype(float)) for s in range(2)]
            for s in range(2):
                check(measured, (p, s, u), phi[s], y)
            check(measured, (p, u), *phi, prefix="12_")
    assert np.asarray(fleets.alive()).all()


def test_samples_have_their_names(backend):
    """Errors are measured on the samples of the given name; those without labels have disagreements only."""
    rng = np.random.default_rng(82)
    pairs = pairs_of(rng)
    samples = {"train": sets_of(rng, (9, 9, 9)), "test": sets_of(rng, (40, 30, 20))}
    samples["gauss"] = sets_of(rng, (50, 60, 70), labels=False)
    fleets = backend(pairs, samples, LR, LAYERS)
    gauss = fleets.errors("gauss")
    assert set(gauss) == {f"12_{kind}" for kind in KINDS}
    for name in samples:
        measured = fleets.errors(name)
        for p, (x, y) in enumerate(samples[name]):
            phi = [pairs[p][s][1](x.astype(float)) for s in range(2)]
            check(measured, (p, 1), *phi, prefix="12_")
            if y is not None:
                check(measured, (p, 1, 1), phi[1], y)


@pytest.mark.parametrize("block", [None, 3])
def test_every_stream_trains_its_own_students(backend, block):
    """Stream 2r + s trains students s of pair r with that pair's samples, η and layers: each as the plain loop does.

    A step rounds a weight, and what is added to it, by less than a unit in the last place of the largest: n of these
    after n steps, as training is stable. Another η, sample or student is off by η/√N or so.
    """
    rng = np.random.default_rng(83)
    pairs, data = pairs_of(rng), sets_of(rng, (40, 71, 25))
    streams = [rng.integers(len(data[stream // 2][0]), size=101) for stream in range(6)]
    fleets = backend(pairs, {"train": data}, LR, LAYERS, block=block)
    for part in (slice(0, 0), slice(0, 60), slice(60, 101)):
        fleets.advance([stream[part] for stream in streams])
    for p, (before, after) in enumerate(zip(pairs, fleets.pairs(), strict=True)):
        x, y = (array.astype(float) for array in data[p])
        for s in range(2):
            for ours, start in zip(after[s], before[s], strict=True):
                loop = reference.sgd(start, x, y, streams[2 * p + s], lr=LR[p], layers=LAYERS[p])
                largest = max(np.abs(loop.W).max(), np.abs(loop.v).max())
                tolerance = 101 * float(np.spacing(np.float32(largest)))
                assert np.abs(loop.W - start.W).max() > 100 * tolerance, "there is hardly anything to compare"
                np.testing.assert_allclose(ours.W, loop.W, rtol=0, atol=tolerance)
                np.testing.assert_allclose(ours.v, loop.v, rtol=0, atol=tolerance)
                if LAYERS[p] == "first":
                    np.testing.assert_array_equal(ours.v, start.v)
    assert np.asarray(fleets.alive()).all()


def test_pairs_are_copies_in_order(backend):
    """What is given back before training is what was given, and is not changed by what follows; nor is the argument."""
    rng = np.random.default_rng(84)
    pairs, data = pairs_of(rng), sets_of(rng, (9, 9, 9))
    given = [[[network.W.copy() for network in students] for students in pair] for pair in pairs]
    fleets = backend(pairs, {"train": data}, LR, LAYERS)
    out = fleets.pairs()
    fleets.advance([np.arange(9)] * 6)
    for p in range(3):
        for s in range(2):
            for u in range(3):
                np.testing.assert_array_equal(out[p][s][u].W, given[p][s][u])
                np.testing.assert_array_equal(pairs[p][s][u].W, given[p][s][u])
                assert not np.any(given[p][s][u] == fleets.pairs()[p][s][u].W)


@pytest.mark.parametrize("slab", [3, None])
def test_a_student_without_finite_outputs_is_found(backend, slab, monkeypatch):
    """One output that is not finite, wherever it is, marks its student and no other, when it is measured."""
    if slab:
        monkeypatch.setattr(backends, "_SLAB", slab)
    rng = np.random.default_rng(85)
    pairs, data = pairs_of(rng, "quadratic"), sets_of(rng, (20, 20, 20))
    sick = pairs[1][1][2]
    pairs[1][1][2] = Network(1e25 * sick.W, sick.v, sick.activation)
    # the other students see nothing that is too large; nor does the sick one before the last input
    test = [(np.concatenate([np.zeros((19, N), "f4"), x[:1]]), y) for x, y in data]
    fleets = backend(pairs, {"train": data, "test": test, "zeros": [(np.zeros((5, N), "f4"), None)] * 3}, LR, LAYERS)
    fleets.errors("zeros")
    before = fleets.alive()
    measured = fleets.errors("test")
    expected = np.ones((3, 2, 3), bool)
    assert np.asarray(before).all()
    expected[1, 1, 2] = False
    np.testing.assert_array_equal(fleets.alive(), expected)
    assert np.asarray(before).all(), "alive() was changed by what came later"
    for kind in KINDS:
        assert np.isfinite(np.asarray(measured[kind])[expected]).all()


def test_slabs_are_bounded(monkeypatch):
    """Outputs are computed for _SLAB inputs at a time, and for so few that R times their number is at most
    _SLAB_ENTRIES; for one input at least."""
    sizes = []

    def watched(fleet, x):
        sizes.append((len(fleet.W), len(x)))
        return np.zeros((3, len(x)), np.float32)

    monkeypatch.setattr(backends, "outputs", watched)
    monkeypatch.setattr(backends, "_SLAB", 10)
    rng = np.random.default_rng(86)
    samples = {"test": sets_of(rng, (25, 25, 25))}
    for entries, slab in ((1000, 10), (40, 5), (7, 1)):
        monkeypatch.setattr(backends, "_SLAB_ENTRIES", entries)
        sizes.clear()
        with ThreadPoolExecutor(max_workers=1) as pool:
            CpuBackend(pairs_of(rng), samples, LR, LAYERS, block=None, pool=pool).errors("test")
        assert {rows for rows, _ in sizes} == {8} and max(n for _, n in sizes) == slab
        assert sum(n for _, n in sizes) == 3 * 2 * 25


@pytest.mark.parametrize(
    ("block", "tf32", "passed"), [(None, True, {"tf32": True, "block": 64}), (3, False, {"tf32": False, "block": 3})]
)
def test_block_and_precision_reach_the_device(block, tf32, passed, monkeypatch):
    """`block` and `tf32`, which change rounding only, are handed on; where no block is given the device has its own."""
    pytest.importorskip("torch")
    from hmm_utils.sgd import gpu

    seen = []
    monkeypatch.setattr(gpu, "advance", lambda *given, **named: seen.append(named))
    rng = np.random.default_rng(87)
    samples = {"train": sets_of(rng, (9, 9, 9))}
    fleets = TorchBackend(pairs_of(rng), samples, LR, LAYERS, block=block, where="cpu", tf32=tf32)
    fleets.advance([np.arange(9)] * 6)
    assert seen == [passed]
