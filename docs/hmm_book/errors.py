"""The error that stops the build of the book."""


class BookError(RuntimeError):
    """The book cannot be built; the message names the problem and what to do."""
