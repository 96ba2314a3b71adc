"""hmm_utils.play: what goes together, trainings that are watched in a thread, and the controls without a browser."""

import asyncio
import functools
import itertools
import threading
import time
import tracemalloc
from dataclasses import asdict, replace
from types import SimpleNamespace
from unittest.mock import Mock

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from helpers.experiments import check_sentence
from ipywidgets import Widget

from hmm_utils import play
from hmm_utils.data import mnist
from hmm_utils.model.observables import sampled_overlaps
from hmm_utils.play import panels, session, settings, widgets
from hmm_utils.play.session import Session, Training, train_pair
from hmm_utils.play.settings import Settings, dataset, differences, problem, without_meaning
from hmm_utils.sgd import training

SMALL = Settings(n_inputs=30, n_latent=5, n_train=300, width=3, teacher_width=2, time=10.0)
ENDLESS = replace(SMALL, time=1e7)
VANILLA = dict(inputs="gaussian", task="teacher")
PATIENCE = 60.0  # seconds after which a test gives up waiting


@pytest.fixture(autouse=True, scope="module")
def no_mnist():
    """Nothing depends on whether MNIST is available."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist, "is_available", lambda: False)
        yield


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def finished(chosen, one=None):
    """A training that has ended by itself."""
    begun = (one or Session()).start(chosen)
    until(lambda: not begun.running)
    return begun


# ---- What goes together ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"n_latent": 300}, "n_latent = 300 exceeds n_inputs = 200: a hidden manifold has D ≤ N"),
        ({"inputs": "gaussian"}, "i.i.d. inputs have no latent coordinates"),
        ({"inputs": "digits"}, "Images have no known latent coordinates"),
        ({"task": "own"}, "Only images come with labels of their own"),
        ({"task": "pretrained"}, "task = 'pretrained': choose one of teacher, latent, own"),
        ({"inputs": "digits", "task": "own", "n_train": 1348}, "n_train must be between 1 and 1347 (8×8 digits), got"),
        ({"n_train": 10**12}, "MB free here: choose a smaller P or N"),
        ({"width": 2.5}, "width = 2.5: give a whole number of at least 1"),
    ],
)
def test_what_cannot_be_trained_is_explained(chosen, sentence):
    """In one sentence, which ends with what to do; a data set of it is refused with the same words."""
    wrong = Settings(**chosen)
    with pytest.raises(ValueError) as refused:
        dataset(wrong, rng=np.random.default_rng(1))
    check_sentence(refused, sentence)
    # how much memory is free changes all the time
    assert str(refused.value) == problem(wrong) or "MB free here" in sentence


@pytest.mark.parametrize(
    ("chosen", "N", "P", "idle"),
    [
        ({}, 200, 15_200, {"data"}),
        (VANILLA, 200, 15_200, {"data", "f", "n_latent"}),
        ({"inputs": "digits", "task": "teacher"}, 64, 1347, {"f", "n_latent", "n_inputs"}),
        ({"inputs": "digits", "task": "own"}, 64, 1347, {"f", "n_latent", "n_inputs", "labels", "teacher_width"}),
    ],
)
def test_what_has_a_meaning(chosen, N, P, idle):
    """N and P as the data will have them, and the settings that change nothing."""
    s = Settings(**chosen)
    assert (s.N, s.P, without_meaning(s)) == (N, P, idle)
    assert problem(s) is None


def test_mnist_where_it_is(monkeypatch):
    """Where it is available, "auto" and "mnist" mean it; the small digits have their name."""
    monkeypatch.setattr(mnist, "is_available", lambda: True)
    images = Settings(inputs="digits", task="own")
    sizes = [(s.N, s.P) for s in (images, replace(images, data="digits"))]
    assert sizes == [(784, 59_584), (64, 1347)]
    assert "between 1 and 60000 (MNIST)" in problem(replace(images, n_train=60_001))


def test_settings_are_a_view_of_an_experiment():
    """Each has the name and the value that it has there; a teacher of images is drawn as any other."""
    s = Settings(
        inputs="gaussian", f="relu", data="digits", task="teacher", labels="real", layers="first", n_inputs=30,
        n_latent=7, n_train=90, width=5, teacher_width=3, lr=0.3, time=7.0, seed=4,
    )  # fmt: skip
    e = s.experiment()
    assert e.widths == (5,) and all(getattr(e, name) == value for name, value in asdict(s).items() if name != "width")
    for inputs in ("gaussian", "digits"):
        data = dataset(replace(s, inputs=inputs), rng=np.random.default_rng(4))
        assert (data.teacher.width, data.teacher.n_inputs) == (3, data.inputs.n_inputs)
        assert (data.teacher.v == 1).all() and len(data.y_train) == 90 and len(np.unique(data.y_train)) > 2


@pytest.mark.parametrize("chosen", [{}, VANILLA, {"inputs": "digits", "task": "own"}])
def test_memory_is_what_the_data_take(chosen):
    """Within 30 % of what numpy asks for while 60 000 samples (or all digits) are drawn: slabs are not counted."""
    s = Settings(**chosen, n_inputs=100, n_train=None if chosen.get("inputs") == "digits" else 60_000)
    dataset(s, rng=np.random.default_rng(1))  # scikit-learn is imported
    tracemalloc.start()
    dataset(s, rng=np.random.default_rng(1))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # the images of scikit-learn, read anew from a text file, are larger than what is made of them
    assert 0.7 * peak < settings.memory(s) < 1.3 * peak or (s.inputs == "digits" and peak < 8e6)


def test_too_large_is_measured_against_what_is_free(monkeypatch):
    """Four fifths of it can be used, and what would be given back counts as free."""
    need = settings.memory(SMALL)
    for part, fits in ((0.79, True), (0.81, False)):
        monkeypatch.setattr(settings, "available_memory", lambda part=part: need / part)
        assert (problem(SMALL) is None) == fits
    one = Session()
    one._data = SMALL, None
    assert one.problem(SMALL) is None


def test_a_container_has_less_memory(monkeypatch):
    """The limit that JupyterHub states is respected, less what the process has already."""
    free = settings.available_memory()
    own = settings.psutil.Process().memory_info().rss
    limit = own + free // 2
    monkeypatch.setenv("MEM_LIMIT", str(int(limit)))
    assert settings.available_memory() == pytest.approx(free / 2, rel=0.2)
    monkeypatch.setenv("MEM_LIMIT", "none")
    assert settings.available_memory() == pytest.approx(free, rel=0.2)


def test_a_profile_is_where_the_controls_start():
    """Its scale, with the values that are given; None keeps what there is."""
    quick, paper = play.at_scale("quick"), play.at_scale("paper", lr=None, width=7)
    assert (quick.n_inputs, paper.n_inputs, paper.width, paper.lr) == (200, 784, 7, 0.2)
    assert problem(quick) is None and problem(paper) is None
    with pytest.raises(ValueError, match="unknown parameter 'widths': choose one of data, f, inputs"):
        play.at_scale("quick", widths=[3])
    with pytest.raises(ValueError, match="width = 0"):
        play.at_scale("quick", width=0)


@pytest.mark.parametrize(
    ("several", "labels"),
    [
        ([{}], ["the same"]),
        ([{}, {}], ["the same, run 1", "the same, run 2"]),
        ([{"lr": 0.1}, {"lr": 0.5}, {"lr": 0.1}], ["η = 0.1, run 1", "η = 0.5", "η = 0.1, run 2"]),
        ([{"width": 1}, {"width": 2, "layers": "first"}], ["both layers, K = 1", "first layer, K = 2"]),
        ([{}, {"task": "teacher", "time": 9.0}], ["latent teacher", "teacher on inputs"]),
        ([{"n_inputs": 100}, {"n_inputs": 400}], ["N = 100", "N = 400"]),
        ([{"n_train": 1000}, {"n_train": 777}], ["P = 5N", "P = 777"]),
        ([{"n_latent": 5}, VANILLA], ["f = sgn, latent teacher, D = 5", "i.i.d. inputs, teacher on inputs"]),
    ],
)
def test_a_legend_says_what_differed(several, labels):
    """Nothing that is the same for all, and nothing that means nothing to one of them; no label twice."""
    assert differences([Settings(**chosen) for chosen in several]) == labels


# ---- Trainings ------------------------------------------------------------------------------------------------------


def trained(s):
    """What `training.train` gives for these settings, and the data."""
    data_rng, train_rng = np.random.default_rng((s.seed, 0)).spawn(2)
    data = dataset(s, rng=data_rng)
    result = training.train(
        data, widths=[s.width], time=s.time, lr=s.lr, layers=s.layers, evaluate_at=session.evaluation_times(s.time),
        n_test_along=2000, n_gauss=2000, rng=train_rng, progress=None,
    )  # fmt: skip
    return result.sel(width=s.width, init=0), data


@pytest.mark.parametrize("layers", ["both", "first"])
@pytest.mark.parametrize("chosen", [{}, VANILLA, {"task": "teacher"}, {"inputs": "digits", "task": "own", "lr": 0.5}])
def test_a_run_is_that_of_the_engine(chosen, layers):
    """Every error, with its standard error, is that of `training.train`, to the last bit."""
    s = replace(SMALL, layers=layers, **chosen)
    result, (expected, _) = train_pair(s), trained(s)
    for name in ("eps_g_mse", "eps_g_frac", "eps_12_mse", "eps_12_frac", "eps_g_mse_se", "eps_12_frac_se"):
        xr.testing.assert_identical(result[name].drop_attrs(), expected[name].drop_attrs())
    assert result.attrs == expected.attrs


@pytest.mark.parametrize(
    ("chosen", "seen"),
    [({}, "c"), ({"task": "teacher"}, "x"), ({"inputs": "digits", "task": "teacher"}, "x"), (VANILLA, None)],
)
def test_order_parameters(chosen, seen):
    """Q, R and T are means over the test inputs of what the teacher sees, or as they are known for i.i.d. inputs."""
    s = replace(SMALL, **chosen)
    result, (expected, data) = train_pair(s).isel(time=-1), trained(s)
    x, z, wt = data.x_test, data.inputs.latent_test if seen == "c" else data.x_test, data.teacher.W
    for student in (1, 2):
        W = expected["W"].sel(student=student).values.astype(float)
        overlaps = sampled_overlaps(W, x=x, z=z, wt=wt) if seen else (W @ W.T / s.N, W @ wt.T / s.N, wt @ wt.T / s.N)
        of_student = result.sel(student=student)
        for name, value in zip("QRT", overlaps, strict=True):
            # fields are in single precision: sums of N ≤ 64 products, each rounded to 6e-8 of numbers up to 10
            np.testing.assert_allclose(of_student[name], value, rtol=1e-4, atol=1e-4)
    assert np.abs(of_student["R"]).max() > 0.1, "there is something to compare"


def test_times_grow_quickly_at_first():
    """From 0.1 on by a few per cent, and never more than a fortieth of the whole."""
    times = session.evaluation_times(1000.0)
    assert times[0] == 0 and times[1] == 0.1 and times[-1] == 1000
    assert np.diff(times).max() <= 25 * (1 + 1e-12) and (np.diff(times) > 0).all()
    assert (times < 1).sum() >= 15


def test_curves_grow_in_a_thread():
    """Curves grow, are never taken back, and end as those of `train_pair`."""
    s, one = replace(SMALL, time=300.0), Session()
    one.prepare(s).join()
    begun = one.start(s)
    until(lambda: begun.waited is not None)
    early = begun.curves()
    until(lambda: not begun.running)
    late = begun.curves()
    assert (begun.state, begun.message) == ("finished", "")
    assert 3 <= early.sizes["time"] <= late.sizes["time"]
    xr.testing.assert_identical(early, late.isel(time=slice(early.sizes["time"])))
    xr.testing.assert_identical(late, train_pair(s))


def test_a_snapshot_measured_after_stop_is_dropped(monkeypatch):
    """The curve ends where the reader saw it stop, even if training takes no notice at once."""
    one, watch = Session(), session.watch

    def late(chosen, data, *, stop):
        for i, snapshot in enumerate(watch(chosen, data)):
            if i == 3:
                one.stop()
            yield snapshot

    monkeypatch.setattr(session, "watch", late)
    begun = finished(SMALL, one)
    until(lambda: begun.state == "stopped")
    assert begun.curves().sizes["time"] == 3


def test_images_are_measured_as_often_as_the_experiment_says(monkeypatch):
    s, watch = replace(SMALL, inputs="digits", task="own", data="digits"), Mock(return_value=iter(()))
    monkeypatch.setattr(session.training, "watch", watch)
    assert list(session.watch(s)) == []
    assert watch.call_args.kwargs["n_test_along"] == s.experiment().n_test_along is not None


def test_a_new_training_stops_the_old_one():
    one = Session()
    old, new = one.start(ENDLESS), one.start(replace(ENDLESS, lr=0.1))
    until(lambda: old.state == "stopped" and new.waited is not None)
    assert new.running and one.trainings == [old, new]
    one.stop()


def test_stopped_while_inputs_are_drawn(monkeypatch):
    """It counts as stopped at once, and is not trained afterwards."""
    drawn, one = threading.Event(), Session()
    monkeypatch.setattr(session, "dataset", lambda *a, **k: drawn.wait(PATIENCE) and dataset(*a, **k))
    begun = one.start(ENDLESS)
    one.stop()
    assert not begun.running and begun.curves() is None
    drawn.set()
    until(lambda: begun.state == "stopped")
    assert begun.waited is None


def test_equal_data_are_drawn_once(monkeypatch):
    """Another η, K or end of training does not change the inputs; another seed, P or teacher does. What was prepared
    is not drawn again, and what nobody wants any more is not drawn at all."""
    session._warm_up()
    drawn = []
    monkeypatch.setattr(session, "dataset", lambda s, *, rng: drawn.append(s) or dataset(s, rng=rng))
    one = Session()

    def train(**changed):
        finished(replace(SMALL, **({"time": 1.0} | changed)), one)
        return len(drawn)

    assert [train(), train(lr=0.1), train(width=1, time=5.0)] == [1, 1, 1]
    assert [train(seed=2), train(n_train=200), train(teacher_width=1), train(layers="first")] == [2, 3, 4, 5]
    one.prepare(replace(SMALL, f="relu")).join()
    assert [s.f for s in drawn[5:]] == ["relu"]
    assert train(f="relu", lr=0.5) == 6
    with one._drawing:
        waiting = [one.prepare(replace(SMALL, f=f)) for f in ("abs", "erf", "tanh")]
    for thread in waiting:
        thread.join()
    assert [s.f for s in drawn[6:]] == ["tanh"]
    wrong, before = replace(SMALL, n_latent=31), one.trainings
    with pytest.raises(ValueError, match="exceeds n_inputs"):
        one.start(wrong)
    assert one.prepare(wrong) is None and one.trainings == before


def test_a_diverging_student_is_reported():
    begun = finished(replace(SMALL, labels="real", lr=1e9, time=1e4))
    assert begun.state == "diverged"
    assert begun.message.startswith("A student diverged before time") and "choose a smaller η." in begun.message


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError("array"), "The memory is used up: choose a smaller P or N."),
        (ValueError("f must act component-wise."), "f must act component-wise."),
        (RuntimeError("boom\nand more"), "Training failed with RuntimeError: boom."),
        (RuntimeError(), "Training failed with RuntimeError."),
    ],
)
def test_an_error_in_the_thread_is_a_sentence(error, message, monkeypatch):
    monkeypatch.setattr(session, "dataset", Mock(side_effect=error))
    begun = finished(SMALL)
    assert (begun.state, begun.message) == ("failed", message)


def test_six_trainings_are_shown_until_cleared():
    """Clearing spares the one that runs."""
    one = Session()
    begun = [one.start(replace(SMALL, seed=seed, time=1.0)) for seed in range(1, 8)]
    last = one.start(ENDLESS)
    assert one.trainings == [*begun[-5:], last]
    one.clear()
    assert one.trainings == [last] and last.running
    one.stop()


# ---- Pictures -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results():
    own = replace(SMALL, inputs="digits", task="own", n_train=100)
    return {"one": train_pair(SMALL), "two": train_pair(replace(SMALL, width=2)), "digits": train_pair(own)}


def test_lines_are_the_data(results):
    """ε_g is the mean of the students, ε₁,₂ solid on test, dashed on Gaussian inputs; from the first time after 0."""
    two = {name: results[name] for name in ("one", "two")}
    fig = panels.figure(two)
    curve, between = fig.axes[:2]
    for i, result in enumerate(two.values()):
        later = result.isel(time=slice(1, None))
        lines = curve.lines[i], *between.lines[1 + 2 * i : 3 + 2 * i]
        expected = (
            later["eps_g_mse"].mean("student"),
            *later["eps_12_frac"].sel(inputs=["test", "gauss"]).transpose("inputs", "time"),
        )
        for line, values, style in zip(lines, expected, ["-", "-", "--"], strict=True):
            np.testing.assert_array_equal(line.get_xydata(), np.stack([later["time"], values], axis=1))
            assert (line.get_linestyle(), line.get_color()) == (style, curve.lines[i].get_color())
    assert curve.lines[0].get_color() != curve.lines[1].get_color()
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["one", "two"]
    assert curve.get_xlim() == (0.1, 10)


def test_matrices_are_those_of_the_last_result(results):
    """Q and R of the first student at the last time, each on a scale that is symmetric about 0."""
    fig = panels.figure({"one": results["one"], "two": results["two"]})
    now = results["two"].isel(student=0, time=-1)
    for axis, name in ((fig.axes[2], "Q"), (fig.axes[4], "R")):
        (image,) = axis.images
        np.testing.assert_array_equal(image.get_array(), now[name])
        low, high = image.get_clim()
        assert -low == high == float(np.abs(now[name]).max())


def test_without_a_teacher_there_is_no_overlap_to_show(results):
    assert results["digits"]["R"].sizes["m"] == 0 and results["digits"]["Q"].shape[-2:] == (3, 3)
    fig = panels.figure({"digits": results["digits"]})
    assert not fig.axes[4].images[0].get_visible() and "no teacher" in fig.axes[4].get_title()
    assert fig.axes[2].images[0].get_visible()


def test_drawing_again_replaces_what_there_was(results, monkeypatch):
    """A figure that is drawn on a hundred times holds no more than one that is drawn on once."""
    fig = panels.canvas()
    monkeypatch.setitem(mpl.rcParams, "figure.constrained_layout.use", True)  # a style that the session may have
    drawn, empty = panels.Panels(fig), panels.png(fig)
    two = {name: results[name] for name in ("one", "two")}
    for n in (1, 5, 10):
        drawn.draw({"one": results["one"].isel(time=slice(n))}, end=500.0)
    drawn.draw(two)
    assert [len(axis.lines) for axis in fig.axes] == [len(axis.lines) for axis in panels.figure(two).axes]
    assert len(fig.legends) == 1 and panels.png(fig) != empty
    drawn.draw({})
    assert fig.legends == [] and panels.png(fig) == empty


def test_long_names_have_room(results):
    """The figure grows with its legend, and no line of it is wider than the figure."""
    names = {f"{i}: f = sgn, latent teacher, labels ±1, both layers, N = 200, D = 10" * 2: results["one"] for i in "ab"}
    long = panels.figure(names)
    assert long.get_figheight() > panels.figure({"a": results["one"], "b": results["two"]}).get_figheight()
    long.canvas.draw()
    box = long.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= long.bbox.x1 and box.y1 <= long.bbox.y1
    assert box.y0 >= max(axis.title.get_window_extent().y1 for axis in long.axes if axis.get_title())


# ---- Controls -------------------------------------------------------------------------------------------------------


@pytest.fixture
def app():
    made = []

    def make(chosen=SMALL, controls=widgets.CONTROLS):
        made.append(widgets.App(chosen, controls))
        return made[-1]

    yield make
    for one in made:
        one.session.stop()


def choose(app, **values):
    for name, value in values.items():
        app._controls[name].value = value


def shown_times(app):
    """The times that the picture's curves end at, of the trainings that have one."""
    curve = app._panels._axes["eps_g"]
    return [line.get_xdata()[-1] for line in curve.lines if line.get_marker() == "None"]


def story(test):
    """A test that goes on while a training runs."""
    return functools.wraps(test)(lambda **fixtures: asyncio.run(test(**fixtures)))


async def eventually(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@story
async def test_pressed_a_curve_grows_and_stops(app):
    """Press, watch several frames, stop, choose something else, press again, clear."""
    one = app(ENDLESS)
    buttons = (one.train, one.stop, one.clear)
    assert [button.disabled for button in buttons] == [False, True, True]
    frames, times = [one.picture.value], []
    one.train.click()
    assert one.train.disabled and not one.stop.disabled
    for _ in range(3):
        await eventually(lambda: one.picture.value != frames[-1])
        frames.append(one.picture.value)
        times += shown_times(one)
    assert times == sorted(times) and times[0] < times[-1]
    assert "training: time" in one.status.value and "after" in one.status.value
    one.stop.click()
    assert [button.disabled for button in buttons] == [False, True, False]
    await eventually(lambda: one.session.trainings[0].state == "stopped" and one._painter.done())
    assert "stopped: time" in one.status.value

    choose(one, lr=0.5)
    one.train.click()
    await eventually(lambda: len(shown_times(one)) == 2)
    one.stop.click()
    await eventually(one._painter.done)
    (legend,) = one._figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["η = 0.2", "η = 0.5"]
    one.clear.click()
    assert shown_times(one) == [] and one.clear.disabled and "Nothing is trained yet" in one.status.value


@story
async def test_a_training_that_ends_by_itself_is_shown_to_the_end(app):
    one = app(replace(SMALL, time=5.0))
    one.train.click()
    await eventually(one._painter.done)
    assert shown_times(one) == [5.0] and "finished: time 5 of 5" in one.status.value
    assert not one.train.disabled and one.stop.disabled


def test_a_curve_has_two_times_after_0(app):
    one, begun, snapshots = app(), Training(SMALL), list(itertools.islice(session.watch(SMALL), 3))
    one.session.trainings = [begun]
    for n, curves in ((2, 0), (3, 1)):
        begun._snapshots = snapshots[:n]
        one.refresh()
        assert len(shown_times(one)) == curves


@pytest.mark.parametrize(("cost", "pause"), [(0.5, 1.0), (0.01, 0.2)])
@story
async def test_frames_are_dropped_not_queued(cost, pause, app, monkeypatch):
    """At most a third of a core draws frames, and no more than five a second, however little one costs."""
    slept, sleep = [], asyncio.sleep

    async def short(seconds):
        slept.append(seconds)
        await sleep(0.01)

    one = app(ENDLESS)
    monkeypatch.setattr(widgets, "thread_time", itertools.count(step=cost).__next__)
    monkeypatch.setattr(asyncio, "sleep", short)
    one.train.click()
    await eventually(lambda: sum(seconds > 0.1 for seconds in slept) == 3)
    one.stop.click()
    await eventually(one._painter.done)
    assert max(slept) == pytest.approx(pause)


def test_what_means_nothing_is_greyed_out(app):
    one = app()
    assert not any(control.disabled for control in one._controls.values())
    choose(one, inputs=("digits", None, "digits"), task="own")
    idle = {name for name, control in one._controls.items() if control.disabled}
    assert idle == {"n_latent", "n_inputs", "labels", "teacher_width"}
    assert one.message.value == "" and not one.train.disabled


def test_what_does_not_go_together_is_explained(app):
    """The button cannot be pressed, a sentence says why, and both are gone when the choice is undone."""
    one = app()
    for n_latent, reason in ((50, "n_latent = 50 exceeds n_inputs = 30"), (5, "")):
        choose(one, n_latent=n_latent)
        assert one.train.disabled == bool(reason) == bool(one.message.value) and reason in one.message.value


def test_a_missing_mnist_is_reported(app):
    """The 8×8 digits stand in, with a notice that does not keep anybody from training."""
    one = app()
    choose(one, task="own", inputs=("digits", None, "mnist"))
    assert "MNIST is not on this machine" in one.message.value and not one.train.disabled
    assert one.settings.N == 64
    choose(one, n_train=76.0)
    assert one.settings.P == 1347 and "all there are" in one.chosen.value
    choose(one, inputs=("digits", None, "digits"))
    assert one.message.value == ""


@pytest.mark.parametrize(
    ("module", "name", "sentence", "status"),
    [
        (session, "dataset", "Training failed with RuntimeError: the disk &lt;is&gt; full.", "Failed."),
        (panels, "png", "The picture cannot be drawn: the disk &lt;is&gt; full.", ""),
    ],
)
@story
async def test_an_error_is_shown(module, name, sentence, status, app, monkeypatch):
    one = app(replace(SMALL, seed=5, time=5.0))
    monkeypatch.setattr(module, name, Mock(side_effect=RuntimeError("the disk <is> full")))
    one.session._data = None
    one.train.click()
    await eventually(one._painter.done)
    assert sentence in one.message.value and status in one.status.value
    assert status == "" or not one.train.disabled


@pytest.mark.parametrize("controls", [widgets.CONTROLS, ["width", "lr"]])
@pytest.mark.parametrize(
    "chosen",
    [
        Settings(**VANILLA, lr=0.3, n_inputs=333, time=77.0, seed=99, n_train=1000),
        Settings(inputs="digits", data="digits", task="own"),
        Settings(f="abs", task="teacher", labels="real", layers="first", width=7),
    ],
)
def test_controls_start_where_they_are_told_to(chosen, controls, app):
    """Values that no slider has are added to it; what has no control stays as it is."""
    one = app(chosen, controls)
    assert list(one._controls) == list(controls)
    choose(one, lr=1.0)
    assert replace(one.settings, n_train=one.settings.P) == replace(chosen, n_train=chosen.P, lr=1.0)


def test_p_follows_n(app):
    """The slider is P/N."""
    one = app(replace(SMALL, n_inputs=100, n_train=None))
    choose(one, n_inputs=50)
    assert one.settings.P == 3800 and "P = 3\u202f800 training samples" in one.chosen.value


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(ValueError, match=r"controls = \['K'\]: choose from inputs, task"):
        play.app(controls=["K"])
    with pytest.raises(ValueError, match="f = 'sin': choose one of"):
        play.app(Settings(f="sin"))


def kernel(**content):
    """IPython in a kernel that executes a request with this content."""
    return Mock(**{"kernel.get_parent.return_value": {"content": content}})


@pytest.mark.parametrize(
    ("shell", "server", "alive"),
    [
        (kernel(allow_stdin=True), "", True), (kernel(allow_stdin=False), "", False), (kernel(), "", False),
        (kernel(allow_stdin=False), "voila/0.5.11", True), (SimpleNamespace(), "", False), (None, "", False),
    ],
)  # fmt: skip
def test_controls_only_where_somebody_can_press(shell, server, alive, monkeypatch):
    """A notebook that is executed by itself gets a sentence, and stores no widget."""
    monkeypatch.setattr(widgets, "get_ipython", lambda: shell)
    monkeypatch.setenv("SERVER_SOFTWARE", server)
    made = []
    monkeypatch.setattr(Widget, "_widget_construction_callback", made.append)
    given = play.app(SMALL)
    assert isinstance(given, widgets.App) == alive == bool(made)
    assert alive or ("JupyterLab" in given.data and "make play" in given.data)


def test_a_training_says_how_long_it_takes(monkeypatch):
    one = Training(SMALL)
    begun = one._begun
    monkeypatch.setattr(session, "monotonic", lambda: begun + 3)
    assert one.seconds == pytest.approx(3) and one.running
