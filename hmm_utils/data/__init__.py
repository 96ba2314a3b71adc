"""Inputs that no formula of the paper draws: images of digits, generators, streams of fresh samples."""
