"""How the book is made from the notebooks, the stored verdicts and the docstrings: see `make`."""
