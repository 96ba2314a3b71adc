"""Companion to "Modelling the influence of data structure on learning in neural networks" (arXiv:1909.11500v1).

The modules, in the order data flows through them: `activations`, `networks`, `mnist`, `datasets`, `engine` (`oracle`:
the same algorithm as a plain loop), `observables`, `training`, `experiments`, `claims`, `figures`; `notebooks`,
`terminal`, `running`, `verdicts` and `cli` run the notebooks.
"""

__version__ = "0.1.0"
