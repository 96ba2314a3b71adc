"""Does once, while the image is built, what the first cells of a notebook would otherwise make a reader wait for.

Compiles what numba compiles (for this kind of processor; another kind compiles it again) and lists the fonts for
matplotlib. What is trained is a hundred times smaller than any figure, and thrown away.
"""

from __future__ import annotations

import numpy as np

from hmm_utils import figures
from hmm_utils.model import networks, nonlinearities
from hmm_utils.runs import experiments
from hmm_utils.theory.online import motion


def main() -> None:
    figures.use_style()
    # every engine function has one signature: one training run, measured, compiles them all
    tiny = dict(n_inputs=20, n_latent=3, widths=[1, 2], n_pairs=1, n_draws=1, time=2.0, n_times=3, n_test=50)
    experiments.run_experiment(experiments.experiment("fig3_left", **tiny), progress=False)
    rng = np.random.default_rng(0)
    F, teacher = rng.standard_normal((5, 20)), networks.random_network(5, 2, rng=rng, layers="first")
    student = networks.random_network(20, 2, rng=rng, layers="first")
    motion.integrate(motion.hidden_manifold(student, teacher, F, nonlinearities.constants("sgn")), [1], lr=0.2, lr_v=0)


if __name__ == "__main__":
    main()
