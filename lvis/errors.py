"""The one exception that a user may see."""


class UserError(Exception):
    """Something the user can mend: a missing file, a wrong size, an unknown key.

    The message is one sentence that names the thing, its value and the way out. Entry points print it without a
    traceback and exit with status 2 (`lvis.config.run`).
    """
