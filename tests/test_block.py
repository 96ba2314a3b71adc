"""Both matrix products against numpy, and blocks of steps against the plain loop, in double precision."""

import numpy as np
import pytest
from helpers.sgd import LAYERS, NAMES, STABLE, single
from numba import float32, njit, types

from hmm_utils.model.networks import Network, random_network
from hmm_utils.sgd import block, reference
from hmm_utils.sgd.block import SGEMM, SGEMM_SIGNATURE, Fleet, advance, outputs

# ---- Products -------------------------------------------------------------------------------------------------------

# one compiled version for arrays of any layout, as the slices in a block are
_ANY = types.Array(float32, 2, "A")
_SIGNATURE = types.void(types.FunctionType(SGEMM_SIGNATURE), float32, _ANY, _ANY, _ANY)
ALPHA = np.float32(-0.3)
U = 2.0**-24  # a rounding to float32 changes a number by at most this part of it


@njit(_SIGNATURE)
def _product(sgemm, alpha, a, b, out):
    block.product_with_transposed(sgemm, alpha, a, b, out)


@njit(_SIGNATURE)
def _add(sgemm, alpha, a, b, out):
    block.add_transposed_product(sgemm, alpha, a, b, out)


# rows before, columns before, rows after, columns after: how a matrix is cut out of a larger one
CUTS = {"whole": (0, 0, 0, 0), "rows": (3, 0, 2, 0), "columns": (0, 5, 0, 1), "rows and columns": (2, 4, 1, 7)}
# (m, n, k): products of m·k and n·k numbers, the last so large that BLAS copies its factors
SHAPES = [
    (13, 7, 21), (1, 6, 9), (6, 1, 9), (1, 1, 9), (6, 5, 1), (1, 1, 1), (64, 32, 784), (130, 120, 100),
    (0, 4, 5), (4, 0, 5), (4, 5, 0), (0, 0, 0),
]  # fmt: skip


def cut(rng, shape, where):
    """A random matrix of this shape inside a larger one, and the larger one."""
    above, left, below, right = CUTS[where]
    around = rng.standard_normal((above + shape[0] + below, left + shape[1] + right)).astype(np.float32)
    return around[above : above + shape[0], left : left + shape[1]], around


def check_written(around, before, where):
    """What lies around the output is as it was."""
    above, left, below, right = CUTS[where]
    outside = np.ones(around.shape, bool)
    outside[above : around.shape[0] - below, left : around.shape[1] - right] = False
    np.testing.assert_array_equal(around[outside], before[outside])


def tolerance(a, b, k, c):
    """What float32 may make of c + α Σ a b, k products in a sum, in any order.

    Every number passes through at most k + 2 roundings: its product with α, k of the sum, one of the addition to c. To
    first order the error is that many parts U of the sum of the absolute values; a hundredth is for the rest.
    """
    return 1.01 * (k + 2) * U * (abs(float(ALPHA)) * np.abs(a) @ np.abs(b) + np.abs(c))


@pytest.mark.parametrize("where", CUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("adds", [False, True], ids=["αabᵀ", "c + αaᵀb"])
def test_products(adds, shape, where):
    """Both products up to rounding; the first whatever was in ``out``, NaN included; nothing else is written."""
    m, n, k = shape
    rng = np.random.default_rng(71)
    shapes = ((k, m), (k, n)) if adds else ((m, k), (n, k))
    (a, _), (b, _), (out, around) = (cut(rng, shape, where) for shape in (*shapes, (m, n)))
    if not adds:
        out[:] = np.nan
    before, a64, b64, c64 = around.copy(), a.astype(float), b.astype(float), out.astype(float) if adds else np.zeros(())
    (_add if adds else _product)(SGEMM, ALPHA, a, b, out)
    left, right = (a64.T, b64) if adds else (a64, b64.T)
    assert np.all(np.abs(out - (c64 + float(ALPHA) * left @ right)) <= tolerance(left, right, k, c64))
    check_written(around, before, where)
    np.testing.assert_array_equal(a, a64)
    np.testing.assert_array_equal(b, b64)


def test_a_single_row_may_have_any_stride():
    """numpy counts a row as contiguous whatever its stride: where there is one row only, BLAS is told a lawful one."""
    a = np.arange(9, dtype=np.float32)[:, None].T
    assert a.shape == (1, 9) and a.strides[0] < a.nbytes
    b, out = np.ones((2, 9), np.float32), np.full(2, np.nan, np.float32)[:, None].T
    _product(SGEMM, np.float32(1), a, b, out)
    np.testing.assert_array_equal(out, [[36, 36]])
    b, out = np.ones(9, np.float32)[:, None].T, np.zeros((9, 9), np.float32)
    _add(SGEMM, np.float32(1), a, b, out)
    np.testing.assert_array_equal(out, np.repeat(a.T, 9, axis=1))


def test_not_a_number_is_passed_on_by_the_factors():
    """A NaN in a factor or in what is added to reaches the numbers that it belongs to, and no others."""
    a, b = np.ones((3, 5), np.float32), np.ones((4, 5), np.float32)
    a[1, 2] = np.nan
    out = np.zeros((3, 4), np.float32)
    _product(SGEMM, ALPHA, a, b, out)
    np.testing.assert_array_equal(np.isnan(out), [[False] * 4, [True] * 4, [False] * 4])
    out = np.zeros((5, 5), np.float32)
    out[4, 0] = np.nan
    _add(SGEMM, ALPHA, a, a, out)
    expected = np.zeros((5, 5), bool)
    expected[2] = expected[:, 2] = expected[4, 0] = True
    np.testing.assert_array_equal(np.isnan(out), expected)


# ---- Steps ----------------------------------------------------------------------------------------------------------


def check_advance(networks, *, lr, layers, steps, blocks, rng):
    """Trains the networks as one fleet and one by one with the plain loop, and compares.

    The double-precision loop is the truth. The single-precision loop and the blocks round the same number of times, by
    amounts of the same size, in a different order; what the dynamics then makes of a rounding is the same for both. So
    the largest error of the blocks is that of the float32 loop up to a factor of order 1: four times, plus four units
    in the last place of the largest weight for a loop that was lucky.
    """
    N = networks[0].n_inputs
    x = rng.standard_normal((1013, N)).astype(np.float32)
    y = random_network(N, 2, rng=rng, activation=networks[0].activation, layers=layers, scale=0.5)(x)
    indices = rng.integers(len(x), size=steps)

    def loops(dtype):
        how = {"lr": lr, "layers": layers}
        return [reference.sgd(single(n, dtype), x.astype(dtype), y.astype(dtype), indices, **how) for n in networks]

    def layer(students, name):
        return np.concatenate([getattr(n, name) for n in students])

    truth, rounded = loops(float), loops(np.float32)
    allowed = {}
    for name in "Wv":
        exact = layer(truth, name)
        unit = float(np.spacing(np.float32(np.abs(exact).max())))
        allowed[name] = 4 * np.abs(layer(rounded, name) - exact).max() + 4 * unit
    moved = np.abs(layer(truth, "W") - layer(networks, "W")).max()
    assert moved > 1000 * allowed["W"], "there is hardly anything to compare"
    for B in blocks:
        fleet = Fleet.of(networks)
        advance(fleet, x, y, indices, lr=lr, layers=layers, block=B)
        for name in "Wv":
            error = np.abs(layer(fleet.networks(), name) - layer(truth, name)).max()
            assert error <= allowed[name], f"{name}, block = {B}"
        assert fleet.alive.all()
        if layers == "first":
            np.testing.assert_array_equal(fleet.v, 1)


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("name", NAMES)
def test_blocks_are_the_plain_loop(name, layers):
    """Blocks of any size give the weights of one-sample SGD up to rounding: 1 step, many, more than there are."""
    rng = np.random.default_rng(23)
    lr, scale = STABLE[name]
    network = random_network(101, 3, rng=rng, activation=name, layers=layers, scale=scale)
    check_advance([network], lr=lr, layers=layers, steps=2309, blocks=(1, 7, 64, 100, 2310, None), rng=rng)


# tiles of up to 9 rows: 12; 7; 6; 5 and 4; 4, 3 and 2; 1; of up to 20: 12 and 7; 6, 5, 4 and 4; 3, 2 and 1
MANY = (3, 5, 12, 1, 2, 6, 7, 4, 4)


@pytest.mark.parametrize("direct", [False, True], ids=["whole", "pieces"])
@pytest.mark.parametrize(("widths", "rows"), [(MANY, 1), (MANY, 9), (MANY, 20), (MANY, 512), ([1], 30), ([35], 30)])
@pytest.mark.parametrize("layers", LAYERS)
def test_students_of_a_fleet_do_not_mix(layers, widths, rows, direct, monkeypatch):
    """Every student of a fleet does what it would do alone, also where tiles have a few rows or one student of any
    width, and where the matrix products of a tile are done in pieces."""
    monkeypatch.setattr(block, "_TILE_ROWS", rows)
    monkeypatch.setattr(block, "_direct_products", lambda: direct)
    # pieces of 16 rows in blocks of 33 steps, of 528 in blocks of one; and none small enough for blocks of 100
    monkeypatch.setattr(block, "_DIRECT_PRODUCT", 16 * 33 * 53)
    assert block.piece_rows(33, 53) == (16 if direct else rows)
    assert block.piece_rows(100, 53) == rows
    rng = np.random.default_rng(24)
    networks = [random_network(53, K, rng=rng, layers=layers, scale=K**-0.5) for K in widths]
    check_advance(networks, lr=0.1, layers=layers, steps=500, blocks=(1, 33, 100, None), rng=rng)


def test_rows_are_laid_out_as_documented():
    """A fleet holds every hidden unit of every student once, in tiles of few rows or one wide student."""
    widths = [int(K) for K in np.random.default_rng(29).integers(1, 700, 200)]
    owner, unit, levels = block._layout(widths)
    expected = {(u, k) for u, K in enumerate(widths) for k in range(K)}
    assert len(owner) == sum(widths) and set(zip(owner.tolist(), unit.tolist(), strict=True)) == expected
    assert levels[0, 0] == 0 and levels[-1, -1] == len(owner)
    np.testing.assert_array_equal(levels[1:, 0], levels[:-1, -1])
    rows, students = levels[:, -1] - levels[:, 0], levels[:, 1] - levels[:, 0]
    assert students.sum() == 200 and np.all((rows <= block._TILE_ROWS) | (students == 1))
    assert rows.max() > block._TILE_ROWS > rows.min(), "the test needs tiles of both kinds"
    for level in levels:
        tile = owner[level[0] : level[1]]
        for k in range(max(widths)):
            rows = slice(level[k], level[k + 1])
            assert np.all(unit[rows] == k)
            np.testing.assert_array_equal(owner[rows], tile[: level[k + 1] - level[k]])


@pytest.mark.parametrize("direct", [True, False])
def test_size_of_blocks_and_pieces(direct, monkeypatch):
    """Blocks grow with the fleet between fixed bounds; pieces of W stay below the size at which BLAS starts copying."""
    monkeypatch.setattr(block, "_direct_products", lambda: direct)
    blocks = [block.default_block(rows) for rows in range(1, 5000)]
    assert blocks[0] == 8 and blocks[-1] == (32 if direct else 64) and blocks == sorted(blocks)
    for N in (10, 100, 784, 10_000):
        for B in (1, 8, 32, 1000):
            rows = block.piece_rows(B, N)
            assert rows == block._TILE_ROWS if not direct else rows > 0
            assert rows == block._TILE_ROWS or (rows % 16 == 0 and rows * B * N <= 1_000_000)


@pytest.mark.parametrize("index", [-1, 7])
def test_indices_outside_the_data_are_refused(index):
    """Compiled code would read whatever lies beside the data."""
    fleet = Fleet.of([random_network(5, 2, rng=np.random.default_rng(30))])
    with pytest.raises(IndexError, match="there are 7 samples"):
        advance(fleet, np.ones((7, 5), "f4"), np.ones(7, "f4"), np.array([0, index]), lr=0.1, layers="both")


def test_no_step_is_taken_without_samples():
    """An empty list of indices leaves the fleet as it is."""
    rng = np.random.default_rng(25)
    network = random_network(11, 2, rng=rng)
    fleet = Fleet.of([network])
    x = rng.standard_normal((5, 11)).astype(np.float32)
    advance(fleet, x, x[:, 0].copy(), np.empty(0, np.int64), lr=0.2, layers="both")
    np.testing.assert_array_equal(fleet.W, network.W.astype(np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_outputs_of_a_fleet_are_those_of_its_students(name):
    """``outputs`` is φ of every student, in order, to single precision."""
    rng = np.random.default_rng(26)
    networks = [random_network(40, K, rng=rng, activation=name) for K in (1, 5, 2)]
    x = rng.standard_normal((30, 40)).astype(np.float32)
    ours = outputs(Fleet.of(networks), x)
    assert ours.shape == (3, 30) and ours.dtype == np.float32
    for phi, network in zip(ours, networks, strict=True):
        # 40-term sums in float32 (a few units of 6e-8), erf to 1e-6, times Σ|v| and, for the square, 2|a| ≤ 8
        tolerance = 4e-6 * max(1, np.abs(network.v).sum()) * (8 if name == "quadratic" else 1)
        np.testing.assert_allclose(phi, network(x.astype(float)), rtol=0, atol=tolerance)


def test_a_fleet_copies_its_networks():
    """A fleet is trained in place without touching the networks it was made of, and gives out copies."""
    rng = np.random.default_rng(27)
    networks = [random_network(9, K, rng=rng) for K in (2, 3)]
    fleet = Fleet.of([single(n, np.float32) for n in networks])
    originals = [single(n, np.float32) for n in networks]
    out = fleet.networks()
    fleet.W[:] = 0
    fleet.v[:] = 0
    for made, network in zip(out, originals, strict=True):
        np.testing.assert_array_equal(made.W, network.W)
        np.testing.assert_array_equal(made.v, network.v)
        assert made.activation is network.activation


@pytest.mark.parametrize("other", [(10, "erf"), (9, "relu")], ids=str)
def test_a_fleet_refuses_unlike_networks(other):
    """The students of a fleet must share N and g."""
    rng = np.random.default_rng(28)
    networks = [random_network(9, 2, rng=rng), random_network(other[0], 2, rng=rng, activation=other[1])]
    with pytest.raises(ValueError, match="same number of inputs and the same activation"):
        Fleet.of(networks)


@pytest.mark.parametrize("name", NAMES)
def test_divergence_stays_with_the_student(name):
    """A student with huge weights dies alone: the rows of the others are bit for bit those of a run without it."""
    rng = np.random.default_rng(51)
    lr, scale = STABLE[name]
    networks = [random_network(31, K, rng=rng, activation=name, scale=scale) for K in (2, 3, 4)]
    huge = Network(1e25 * networks[1].W, 1e25 * networks[1].v, networks[1].activation)
    x = rng.standard_normal((100, 31)).astype(np.float32)
    y, indices = np.sign(x[:, 0]), rng.integers(100, size=300)
    healthy, sick = Fleet.of(networks), Fleet.of([networks[0], huge, networks[2]])
    for fleet in (healthy, sick):
        advance(fleet, x, y, indices[:150], lr=lr, layers="both")
        advance(fleet, x, y, indices[150:], lr=lr, layers="both")
    assert healthy.alive.tolist() == [True, True, True]
    assert sick.alive.tolist() == [True, False, True]
    others = healthy.owner != 1
    np.testing.assert_array_equal(sick.W[others], healthy.W[others])
    np.testing.assert_array_equal(sick.v[others], healthy.v[others])
    assert not np.isfinite(sick.W[~others]).any()
