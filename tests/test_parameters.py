"""One rule per parameter: accepted values come back as plain numbers, others in one sentence."""

import re

import numpy as np
import pytest

from hmm_utils.model import parameters as p


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (p.whole("n_pairs", np.int64(3)), 3),
        (p.whole("seed", 0, 0), 0),
        (p.positive("init_scale", np.float64(0.5)), 0.5),
        (p.learning_rate(1), 1),
        (p.learning_rate(0, "lr_v"), 0.0),
        (p.time(10000), 10000),
        (p.choice("layers", "first", ("both", "first")), "first"),
        (p.choice("teacher_activation", None, (None, "erf")), None),
        (p.known("profile", "quick", ("quick", "paper")), "quick"),
        (p.widths(np.array([4, 1])), (4, 1)),
        (p.n_train(np.int32(1347), 1347, "8×8 digits"), 1347),
        (p.manifold(7, 7), (7, 7)),
    ],
)
def test_accepted_values_come_back_as_plain_python_ones(value, expected):
    assert value == expected and type(value) is type(expected)
    assert not isinstance(value, tuple) or all(type(item) is int for item in value)


def test_times_are_an_array():
    np.testing.assert_array_equal(p.times([0, 1, 2 + 1e-9], end=2), [0, 1, 2 + 1e-9])


@pytest.mark.parametrize(
    ("rule", "arguments", "sentence"),
    [
        *[(p.whole, ("n_pairs", bad), "n_pairs = .*: give a whole number of at least 1.") for bad in (0, 1.0, "2")],
        (p.whole, ("n_pairs", True), "n_pairs = True: give"),
        (p.whole, ("n_test", 1, 2), "n_test = 1: give a whole number of at least 2."),
        (p.whole, ("n_pairs", np.int64(0)), "n_pairs = 0: give"),
        *[(p.positive, ("init_scale", bad), "init_scale = .*: give a positive") for bad in (0, -1.0, "1", True, None)],
        *[(p.learning_rate, (bad,), "lr = .*: give a positive, finite number.") for bad in (0, np.inf, np.nan)],
        (p.learning_rate, (-0.1, "lr_v"), "lr_v = -0.1: give a positive"),
        (p.time, (np.float64(-1),), "time = -1.0: give a positive"),
        (p.times, ([],), "times must be a list of increasing numbers of steps/N"),
        (p.times, ([0, 0],), "times must be"),
        (p.times, ([-1, 0],), "times must be"),
        (p.times, ([[0, 1]],), "times must be"),
        (p.times, ([0, np.nan],), "times must be"),
        (p.times, ([0, np.inf],), "times end at inf: give a last time that is finite."),
        (p.choice, ("layers", "second", ("both", "first")), "layers = 'second': choose one of both, first."),
        (p.choice, ("g", "sin", (None, "erf")), "g = 'sin': choose one of erf."),
        (p.choice, ("f", ["sgn"], {"sgn": 1}), "f = ['sgn']: choose one of sgn."),
        (p.known, ("f", "sin", ["sgn"], ", or pass a function"), "unknown f 'sin': choose one of sgn, or pass a"),
        (p.widths, (3,), "widths = 3: give a list of widths, such as [1, 2, 4]."),
        (p.widths, ("12",), "widths = '12': give a list"),
        (p.widths, ([],), "widths = []: give at least one width."),
        (p.widths, ([1, 0],), "widths = 0: give a whole number of at least 1."),
        (p.widths, ([2, 3, 2],), "widths = [2, 3, 2]: give every width once."),
        (p.n_train, (0,), "n_train = 0: give a whole number of at least 1."),
        (p.n_train, (1348, 1347, "8×8 digits"), "n_train must be between 1 and 1347 (8×8 digits), got 1348."),
        (p.manifold, (8, 7), "n_latent = 8 exceeds n_inputs = 7: a hidden manifold has D ≤ N."),
    ],
)  # fmt: skip
def test_others_are_refused_in_one_sentence(rule, arguments, sentence):
    pattern = re.escape(sentence).replace(r"\.\*", ".*")
    with pytest.raises(ValueError, match=f"^{pattern}") as error:
        rule(*arguments)
    assert str(error.value).count(". ") == 0 and str(error.value).endswith(".")


def test_the_last_time_is_at_most_the_end():
    with pytest.raises(ValueError, match=r"^evaluate_at end at 3: give a last time of at most 2\.$"):
        p.times([0, 3], end=2, name="evaluate_at")
