"""Students that learnt in some directions of input space only."""

import numpy as np

from hmm_utils.model import networks


def inputs_in(n_directions, N=12, P=400, seed=0):
    """Inputs in some directions of R^N only, with very different variances along them; and these directions."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((N, n_directions)))[0].T
    return rng.standard_normal((P, n_directions)) * np.geomspace(3, 0.1, n_directions) @ basis + basis.sum(0), basis


def pair_of_students(activation="erf", seed=0):
    """Two students with K = 3 before and after a change that is a combination of inputs, and the inputs."""
    x, basis = inputs_in(7)
    rng = np.random.default_rng((seed, 1))
    start = [networks.random_network(12, 3, rng=rng, activation=activation) for _ in range(2)]
    learnt = 4 * rng.standard_normal((3, 7)) @ basis
    other = np.array([-1.0, 1, -1])[:, None] * learnt[[2, 0, 1]]  # the same units in another order and sign
    change = (learnt, other)
    end = [networks.Network(one.W + d, one.v, one.activation) for one, d in zip(start, change, strict=True)]
    return start, end, x
