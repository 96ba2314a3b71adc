"""The paper's objects as formulas: networks, data sets, observables. The first half of the core, to be read first."""
