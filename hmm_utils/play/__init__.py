"""A network to play with: choose, press, and watch two students learn. Every curve is trained while it is watched.

`settings` says what can be chosen and what goes together, `session` trains it in a thread and measures, `panels`
draws labelled results, `widgets` shows them in a notebook. A notebook needs `at_scale` and `app`; `train_pair` and
`figure` are the same without a reader.
"""

from hmm_utils.play.panels import figure
from hmm_utils.play.session import train_pair
from hmm_utils.play.settings import Settings, at_scale
from hmm_utils.play.widgets import app

__all__ = ["Settings", "app", "at_scale", "figure", "train_pair"]
