"""The playground as a reader sees it: controls, three buttons, one picture. Nothing is trained or computed here.

The controls become :class:`~hmm_utils.play.settings.Settings`, the buttons act on a
:class:`~hmm_utils.play.session.Session`, and its curves are drawn a few times a second. On a slow machine frames are
dropped: each shows the state at its moment, and none waits for another.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from time import thread_time

import ipywidgets as widgets
import xarray as xr
from IPython import get_ipython
from IPython.display import Markdown, display

from hmm_utils.model.nonlinearities import NONLINEARITIES
from hmm_utils.play import panels
from hmm_utils.play.session import Session, Training
from hmm_utils.play.settings import Settings, differences, found, image_count, without_meaning

__all__ = ["App", "app"]

# shortest time between two frames, in seconds and in units of what a frame costs the core, which training needs as well
_FRAME, _SHARE = 0.2, 2.0
# seconds between two looks for a first snapshot
_LOOK = 0.02

_Inputs = tuple[str, str | None, str | None]  # inputs, f and data
_INPUTS: dict[str, _Inputs] = {
    "i.i.d. Gaussian": ("gaussian", None, None),
    **{f"structured, f = {f}": ("structured", f, None) for f in NONLINEARITIES},
    "MNIST": ("digits", None, "mnist"),
    "8×8 digits": ("digits", None, "digits"),
}
_MENUS = {
    "task": ("labels from", {"teacher on x": "teacher", "teacher on latent c": "latent", "odd / even digit": "own"}),
    "labels": ("labels are", {"real": "real", "±1": "sign"}),
    "layers": ("trained", {"both layers": "both", "first layer": "first"}),
}
_SLIDERS = {
    "n_inputs": ("inputs N", (50, 100, 200, 400, 784, 1000)),
    "n_latent": ("latent D", (1, 2, 5, 10, 20, 50, 100, 200, 400)),
    "width": ("student K", (1, 2, 3, 4, 5, 6, 8, 12, 16)),
    "teacher_width": ("teacher M", (1, 2, 3, 4, 5, 6, 8, 12, 16)),
    "lr": ("rate η", (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)),
    "time": ("end, steps/N", (30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)),
    "seed": ("seed", tuple(range(1, 11))),
}
_RATIO = ("data P/N", (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 38.0, 76.0, 152.0))

CONTROLS = (
    *("inputs", "task", "labels", "n_inputs", "n_latent", "n_train"),
    *("width", "teacher_width", "layers", "lr", "time", "seed"),
)

_NOT_ALIVE = (
    "*Here are controls, buttons and a picture that grows while two students train. They need a running kernel and "
    "somebody to press: open this notebook in JupyterLab (`make lab`) or on Binder, or the playground as a page of its "
    "own (`make play`).*"
)


def app(settings: Settings | None = None, *, controls: Sequence[str] = CONTROLS) -> App | Markdown:
    """Show controls with a button that trains what they say.

    In a notebook that is executed without a reader, a sentence stands in their place: a stored widget is dead, and
    different every time. Settings that do not go together are explained to the reader.

    Parameters
    ----------
    settings : Settings, optional
        Where the controls start.
    controls : sequence of str
        Names of the settings that can be changed, from ``CONTROLS``; the others stay as they are.

    Raises
    ------
    ValueError
        For an impossible value and for an unknown control.
    """
    settings = Settings() if settings is None else settings
    settings.experiment()
    if unknown := [name for name in controls if name not in CONTROLS]:
        raise ValueError(f"controls = {unknown}: choose from {', '.join(CONTROLS)}.")
    return App(settings, controls) if _is_interactive() else Markdown(_NOT_ALIVE)


class App:
    """Controls, buttons and picture of a :class:`~hmm_utils.play.session.Session`.

    Parameters
    ----------
    settings : Settings
        Where the controls start.
    controls : sequence of str
        Names of the settings that can be changed.

    Attributes
    ----------
    session : Session
        What the buttons act on.
    box : ipywidgets.VBox
        The widget that holds all others.
    """

    def __init__(self, settings: Settings, controls: Sequence[str]) -> None:
        self.session = Session()
        self._start = settings
        self._controls = {name: _control(name, settings) for name in controls}
        self.train = widgets.Button(description="train", icon="play", button_style="success", layout=_BUTTON)
        self.stop = widgets.Button(description="stop", icon="stop", disabled=True, layout=_BUTTON)
        self.clear = widgets.Button(description="clear", icon="eraser", disabled=True, layout=_BUTTON)
        self.chosen, self.message, self.status = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.picture = widgets.Image(format="png", layout=_PICTURE)
        self._figure = panels.canvas()
        self._panels = panels.Panels(self._figure)
        self._shown: tuple[object, ...] = ()
        self._painter: asyncio.Task | None = None
        for control in self._controls.values():
            control.observe(lambda _: self._changed(), names="value")
        self.train.on_click(lambda _: self._pressed())
        self.stop.on_click(lambda _: self._stopped())
        self.clear.on_click(lambda _: self._cleared())
        self.box = widgets.VBox(
            [
                widgets.GridBox(list(self._controls.values()), layout=_GRID),
                self.chosen,
                widgets.HBox([self.train, self.stop, self.clear, self.status], layout=_ROW),
                self.message,
                widgets.Box([self.picture], layout={"overflow": "auto hidden"}),
            ],
            layout=_APP,
        )
        self.box.add_class("hmm-play")
        self._changed()
        self.refresh()

    def _ipython_display_(self) -> None:
        display(self.box)

    # ---- what is chosen ------------------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """Settings that the controls show."""
        values = {name: control.value for name, control in self._controls.items()}
        if "inputs" in values:
            inputs, f, data = values["inputs"]
            values |= {"inputs": inputs, "f": f or self._start.f, "data": data or self._start.data}
        ratio = values.pop("n_train", None)
        chosen = replace(self._start, **values)
        if ratio is not None:
            chosen = replace(chosen, n_train=_samples(ratio, chosen))
        return chosen

    def _changed(self) -> None:
        chosen = self.settings
        unused = without_meaning(chosen)
        for name, control in self._controls.items():
            control.disabled = name in unused
        self.chosen.value = _small(_summary(chosen))
        self._guide()
        self.session.prepare(chosen)

    def _guide(self) -> None:
        """Enable the buttons that can be pressed; show the reason why not, or a notice, in one sentence."""
        chosen, last = self.settings, self.session.trainings[-1:]
        wrong = self.session.problem(chosen)
        self.train.disabled = self.session.running or wrong is not None
        self.stop.disabled = not self.session.running
        self.clear.disabled = not last
        failed = bool(last) and last[0].state in ("diverged", "failed")
        message = wrong or (last[0].message if last else "") or _stand_in(chosen)
        self.message.value = _sentence(message, "wrong" if wrong or failed else "notice")

    # ---- what is pressed -----------------------------------------------------------------------------------------

    def _pressed(self) -> None:
        try:
            self.session.start(self.settings)
        except ValueError as error:
            self.message.value = _sentence(str(error), "wrong")
            return
        self.refresh()
        if self._painter is None or self._painter.done():
            self._painter = asyncio.get_running_loop().create_task(self._paint())

    def _stopped(self) -> None:
        self.session.stop()
        self.refresh()

    def _cleared(self) -> None:
        self.session.clear()
        self.refresh()

    # ---- what is shown -------------------------------------------------------------------------------------------

    async def _paint(self) -> None:
        """Draw frames while a training runs, and a last one."""
        while self.session.running:
            cost = self._frame() if self.session.trainings[-1].waited is not None else 0.0
            await asyncio.sleep(max(_FRAME, _SHARE * cost) if cost else _LOOK)
        self._frame()

    def _frame(self) -> float:
        """Show the current state; returns the seconds of a core that it took."""
        begun = thread_time()
        try:
            self.refresh()
        except Exception as error:
            self.message.value = _sentence(f"The picture cannot be drawn: {error}.", "wrong")
        return thread_time() - begun

    def refresh(self) -> None:
        """Show the current state; the picture is drawn again only if it has changed."""
        trainings = self.session.trainings
        labels = differences([training.settings for training in trainings])
        known = [training.curves() for training in trainings]
        # with two times after 0 there is a curve
        curves = {k: v for k, v in zip(labels, known, strict=True) if v is not None and v.sizes["time"] > 2}
        status = _status(trainings[-1], known[-1]) if trainings else "Nothing is trained yet."
        shown = tuple((label, curve.sizes["time"]) for label, curve in curves.items())
        picture = self.picture.value
        if shown != self._shown or not picture:
            end = max((t.settings.time for t in trainings), default=self.settings.time)
            self._panels.draw(curves, end=end)
            picture = panels.png(self._figure)
            self._shown = shown
        self._guide()
        self.status.value, self.picture.value = _small(status), picture


# ---- the controls ------------------------------------------------------------------------------------------------

# layouts are widgets themselves: plain dictionaries make none before one is shown
_NAME = {"description_width": "92px"}
_CONTROL, _BUTTON = {"width": "auto"}, {"width": "92px"}
# as wide as the picture in its own size
_APP = {"max_width": "1056px"}
# on a phone the picture is moved sideways, and not the page
_PICTURE = {"width": "100%", "min_width": "640px"}
_ROW = {"align_items": "center", "flex_flow": "row wrap"}
_GRID = {"grid_template_columns": "repeat(auto-fill, minmax(270px, 1fr))", "grid_gap": "2px 14px"}


def _control(name: str, settings: Settings) -> widgets.DOMWidget:
    """Control of one setting, at its value; a value that a slider lacks is added to it."""
    if name == "inputs":
        value: _Inputs = (settings.inputs, settings.f if settings.inputs == "structured" else None, None)
        if settings.inputs == "digits":
            value = ("digits", None, "digits" if settings.data == "digits" else "mnist")
        return _menu("inputs x", _INPUTS, value)
    if name in _MENUS:
        return _menu(*_MENUS[name], getattr(settings, name))
    if name == "n_train":
        return _slider(*_RATIO, settings.P / settings.N)
    return _slider(*_SLIDERS[name], getattr(settings, name))


def _menu(name: str, options: Mapping[str, object], value: object) -> widgets.Dropdown:
    return widgets.Dropdown(options=list(options.items()), value=value, description=name, style=_NAME, layout=_CONTROL)


def _slider(name: str, values: Sequence[float], value: float) -> widgets.SelectionSlider:
    options = [(str(int(v)) if v == int(v) else f"{v:.3g}", v) for v in sorted({*values, value})]
    # inputs are drawn for every reported value: none is reported before the hand lets go
    return widgets.SelectionSlider(
        options=options, value=value, description=name, continuous_update=False, style=_NAME, layout=_CONTROL
    )


def _samples(ratio: float, settings: Settings) -> int:
    """P = ratio × N, or all images if that is more."""
    wanted = max(round(ratio * settings.N), 1)
    return min(wanted, image_count(settings)) if settings.inputs == "digits" else wanted


# ---- in words ----------------------------------------------------------------------------------------------------

_COLOURS = {"wrong": "#b3261e", "notice": "#7a5b00"}


def _sentence(text: str | None, kind: str) -> str:
    if not text:
        return ""
    return f'<span role="status" class="hmm-{kind}" style="color:{_COLOURS[kind]}">{escape(text)}</span>'


def _small(text: str) -> str:
    """Line in grey, with an index g set as one."""
    text = escape(text).replace("_g", "<sub>g</sub>")
    return f'<span style="color:var(--jp-ui-font-color2, #555)">{text}</span>'


def _grouped(n: int) -> str:
    """59 584, with narrow spaces."""
    return f"{n:,}".replace(",", "\u202f")


def _summary(s: Settings) -> str:
    all_images = s.inputs == "digits" and image_count(s) == s.P
    which = ", all there are" if all_images else ""
    return (
        f"N = {s.N} inputs, P = {_grouped(s.P)} training samples{which}; in one unit of time a student takes "
        f"{s.N} steps, one sample each."
    )


def _stand_in(s: Settings) -> str | None:
    if s.inputs == "digits" and s.data == "mnist" and found(s.data) != "mnist":
        return "MNIST is not on this machine, so the 8×8 digits stand in: `hmm data` downloads it."
    return None


def _status(training: Training, known: xr.Dataset | None) -> str:
    """State of a training with these curves, in one line."""
    if known is None:
        return "Drawing the inputs …" if training.running else ("Stopped." if training.state != "failed" else "Failed.")
    now = known.isel(time=-1)
    state = "training" if training.running else {"training": "stopped"}.get(training.state, training.state)
    test, gauss = (float(now["eps_12_frac"].sel(inputs=inputs)) for inputs in ("test", "gauss"))
    return (
        f"{state}: time {float(now['time']):.4g} of {training.settings.time:g} after {training.seconds:.1f} s. "
        f"ε_g = {float(now['eps_g_mse'].mean()):.3g}; ε₁,₂ = {test:.3f}, on Gaussian inputs {gauss:.3f}"
    )


def _is_interactive() -> bool:
    """Whether a person may press the buttons: a front end that can be asked for input, or Voilà's page.

    Programs that execute notebooks (papermill, nbclient, nbval) cannot answer.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return False
    asked = kernel.get_parent("shell").get("content", {})
    return bool(asked.get("allow_stdin")) or os.environ.get("SERVER_SOFTWARE", "").startswith("voila")
