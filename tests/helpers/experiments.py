"""Experiments that run in a fraction of a second, what is computed of them, and results of theirs without numbers."""

import dataclasses
import re

import numpy as np
import xarray as xr

from hmm_utils.runs import experiments, sweep
from hmm_utils.runs.experiments import experiment

TINY = dict(n_inputs=20, n_latent=3, widths=[1, 2], n_pairs=2, n_draws=2, time=3.0, n_times=5, n_test=50, data="digits")


def tiny(name, profile="quick", **more):
    """A set-up, given as NAME or NAME/LAYERS, made small."""
    name, _, layers = name.partition("/")
    values = TINY | ({"layers": layers} if layers else {}) | more
    return dataclasses.replace(experiment(name, profile, **values), time=values["time"])


def tiny_plan(*names, **more):
    return {name: tiny(name, **more) for name in names}


def run_cached(plan, folder, **how):
    return sweep.run_cached(plan, folder, progress=False, **how)


def counted(monkeypatch):
    """The jobs that are computed from now on."""
    computed, run_draws = [], experiments.run_draws

    def watched(plan, jobs, **how):
        computed.extend(jobs)
        return run_draws(plan, jobs, **how)

    monkeypatch.setattr(experiments, "run_draws", watched)
    return computed


def check_same(result, expected):
    """Equal to the single precision that files hold, named and labelled alike."""
    assert {k: v.dims for k, v in result.variables.items()} == {k: v.dims for k, v in expected.variables.items()}
    for name, variable in expected.data_vars.items():
        np.testing.assert_array_equal(result[name], variable.astype("float32"), err_msg=name)
    for name in expected.coords:
        np.testing.assert_array_equal(result[name], expected[name])
    assert {k: result.attrs.get(k) for k in expected.attrs} == expected.attrs


def check_sentence(refusal, *words):
    """The message is one sentence that holds the words."""
    message = str(refusal.value)
    assert message.endswith(".") and "\n" not in message and not re.search(r"(?<!i\.i\.d)\.\s", message), message
    for word in words:
        assert word in message


def at_scale(name, **attrs):
    """A result at the paper's scale but for these attributes, "inits" and "draws", without numbers."""
    e = experiment(name, "paper", layers="both")
    sizes = {"draw": attrs.pop("draws", e.n_draws), "init": attrs.pop("inits", e.n_pairs)}
    attrs = {key: value for key, value in (dataclasses.asdict(e) | attrs).items() if value is not None}
    attrs.setdefault("n_train", 76 * attrs["n_inputs"])
    return xr.Dataset(coords={dim: np.arange(n) for dim, n in sizes.items()}, attrs=attrs)
