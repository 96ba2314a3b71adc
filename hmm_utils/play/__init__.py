"""A network to play with: choose settings, press a button, and watch two students learn.

:mod:`~hmm_utils.play.settings` says what can be chosen and what goes together, :mod:`~hmm_utils.play.session` trains
it in a thread, :mod:`~hmm_utils.play.panels` draws results, :mod:`~hmm_utils.play.widgets` shows them in a notebook.
A notebook needs ``at_scale`` and ``app``; ``train_pair`` and ``figure`` do the same without a reader.
"""

from hmm_utils.play.panels import figure
from hmm_utils.play.session import train_pair
from hmm_utils.play.settings import Settings, at_scale
from hmm_utils.play.widgets import app

__all__ = ["Settings", "app", "at_scale", "figure", "train_pair"]
