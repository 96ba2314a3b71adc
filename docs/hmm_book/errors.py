"""What stops the book from being built."""


class BookError(RuntimeError):
    """The book cannot be built; the message says what is wrong and what to do."""
