"""The theory beyond the experiments of the paper: Gaussian equivalence, online learning in the limit of many inputs."""
