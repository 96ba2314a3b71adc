"""Online learning in the limit of many inputs, by the Gaussian equivalence."""
