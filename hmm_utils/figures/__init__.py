"""Figures: one function per kind of plot, from labelled results to a matplotlib Figure.

Nothing is computed here but means and error bars, so that recolouring a plot costs nothing. By module:

- :mod:`~hmm_utils.figures.curves`: errors of independent students against K and against time
- :mod:`~hmm_utils.figures.paper_figures`: the paper's ten figures, drawn with these
- :mod:`~hmm_utils.figures.pictures`: the model, inputs and the hidden manifold
- :mod:`~hmm_utils.figures.geometry`: spectra and intrinsic dimension of inputs
- :mod:`~hmm_utils.figures.layers`: weights and overlaps of networks
- :mod:`~hmm_utils.figures.validity`: for which N, D, P the claims C9 and C17 hold
- :mod:`~hmm_utils.figures.dynamics`: the equations of motion, chapter T1
- :mod:`~hmm_utils.figures.deep_generators`: chapter T2
- :mod:`~hmm_utils.figures.style`: style sheet, sizes, colours, files

The functions that the paper's notebooks call are available under this one name.
"""

from hmm_utils.figures.curves import independent_students, learning_curves
from hmm_utils.figures.geometry import intrinsic_dimension, spectra
from hmm_utils.figures.layers import first_layers, overlaps, parts, weights
from hmm_utils.figures.pictures import manifold, model, samples
from hmm_utils.figures.style import BLUE, GREEN, ORANGE, save, use_style
from hmm_utils.figures.validity import scan_lines, scan_map, scan_overfitting

__all__ = [
    "BLUE", "GREEN", "ORANGE", "first_layers", "independent_students", "intrinsic_dimension", "learning_curves",
    "manifold", "model", "overlaps", "parts", "samples", "save", "scan_lines", "scan_map", "scan_overfitting",
    "spectra", "use_style", "weights",
]  # fmt: skip
