"""The one exception that commands print as a sentence instead of a traceback."""


class R3DError(Exception):
    """An error a user can cause and mend; its message says what came, where, and what to do."""
