"""`training.watch`: what `train` reports, piece by piece, and how it is stopped."""

import itertools
import warnings

import numpy as np
import pytest
import xarray as xr
from helpers.sgd import made, quietly
from threadpoolctl import threadpool_info, threadpool_limits

from hmm_utils.sgd import training
from hmm_utils.sgd.backends import CpuBackend

ARGUMENTS = dict(widths=[1, 3], n_pairs=2, time=40.0, layers="both", n_test_along=50, train_error=True)


@pytest.fixture(scope="module")
def data():
    return made(np.random.default_rng(1), N=30, P=400, n_test=90, labels="real")


def joined(snapshots):
    """The snapshots as one result: observables over time, weights of the last one."""
    curves = xr.concat([s.drop_vars(["W", "v"]) for s in snapshots], "time", combine_attrs="override")
    return curves.merge(snapshots[-1][["W", "v"]]).assign_attrs(snapshots[-1].attrs)


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"layers": "first", "lr": 0.5, "n_gauss": 33, "train_error": False},
        {"evaluate_at": [0.0, 0.3, 7.0]},
        # one piece is 585 blocks of 7 steps, 19 blocks of 205 or less than one of 5000
        {"block": 7, "time": 700.0},
        {"block": 205, "time": 700.0},
        {"block": 5000, "time": 700.0},
    ],
)
def test_watched_is_trained(data, other, monkeypatch):
    """Put together, the snapshots of a run are the result of `train` with the same arguments, bit for bit, attributes
    and labels included, although the backend gets its samples in smaller pieces."""
    monkeypatch.setattr(training, "_INDEX_CHUNK", 10_001)
    arguments = ARGUMENTS | other
    expected = quietly(data, **arguments, seed=2)
    snapshots = list(training.watch(data, **arguments, rng=np.random.default_rng(2)))
    assert [s.sizes["time"] for s in snapshots] == [1] * expected.sizes["time"]
    xr.testing.assert_identical(joined(snapshots), expected)


def test_weights_of_a_snapshot_are_those_of_its_time(data):
    """W and v of a snapshot are what training up to that time gives."""
    times = [1.0, 4.0, 9.0]
    snapshots = training.watch(data, widths=[3], time=9, evaluate_at=times, rng=np.random.default_rng(3))
    for time, snapshot in zip(times, snapshots, strict=True):
        alone = quietly(data, widths=[3], time=time, evaluate_at=times[: times.index(time) + 1], seed=3)
        xr.testing.assert_identical(snapshot[["W", "v"]].drop_attrs(), alone[["W", "v"]].drop_attrs())


@pytest.fixture
def steps(monkeypatch):
    """The numbers of steps in the calls that train, as they come."""
    steps, advance = [], CpuBackend.advance
    monkeypatch.setattr(CpuBackend, "advance", lambda self, i: steps.append(len(i[0])) or advance(self, i))
    return steps


def test_nothing_is_trained_before_it_is_asked_for(data, steps):
    """A snapshot is measured when it is asked for; closed, the iterator has trained no further and is at its end."""
    snapshots = training.watch(data, widths=[2], time=20, evaluate_at=[0, 2, 20], rng=np.random.default_rng(4))
    assert sum(steps) == 0
    assert next(snapshots)["time"].item() == 0 and sum(steps) == 0
    assert next(snapshots)["time"].item() == 2 and sum(steps) == 60
    snapshots.close()
    assert list(snapshots) == [] and sum(steps) == 60


def test_stopped_in_the_middle(data, steps):
    """``stop`` is called between pieces of a few thousand steps, not only at evaluation times; nothing follows."""
    snapshots = training.watch(
        data, widths=[2], time=1e6, evaluate_at=[0.0, 1e6], rng=np.random.default_rng(5), stop=lambda: len(steps) == 3
    )
    assert [s["time"].item() for s in snapshots] == [0.0]
    assert steps == [4096] * 3


def test_diverged_students_are_nan_and_not_warned_of():
    """As in the result of `train`, without its warning."""
    data = made(np.random.default_rng(6), N=20, P=100, n_test=50, labels="real")
    arguments = dict(widths=[2], time=30, lr=1e4, activation="relu")
    with pytest.warns(training.DivergenceWarning):
        expected = quietly(data, **arguments, seed=7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        snapshots = list(training.watch(data, **arguments, rng=np.random.default_rng(7)))
    assert np.isnan(snapshots[-1]["eps_g_mse"]).all()
    xr.testing.assert_identical(joined(snapshots), expected)


def test_threads_are_given_back_between_snapshots(data):
    """Whoever watches has the threads of BLAS that they had before."""

    def blas():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    with threadpool_limits(limits=2, user_api="blas"):
        before = blas()
        assert set(before) == {2}
        snapshots = training.watch(data, **ARGUMENTS, rng=np.random.default_rng(9))
        for _ in itertools.islice(snapshots, 3):
            assert blas() == before
        snapshots.close()
