"""The command ``hmm``."""
