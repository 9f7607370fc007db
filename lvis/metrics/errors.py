"""What a metric says where it has no number to give."""


class Unmeasured(Exception):
    """A metric that cannot be had here; the message is the reason, and goes where the number would.

    It is no error of the user's: tables show "unmeasured" and say why underneath.
    """
