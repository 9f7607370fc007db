"""Paths on the command line as the shell hands them over, kept out of Hydra's grammar."""

PATH_KEYS = (
    *("input", "output", "mask", "save_measurement", "report", "depth", "prompt"),
    *("data.urls", "data.val_urls"),
)
MULTIRUN = ("-m", "--multirun")


def literal(arguments: list[str], keys: tuple[str, ...] = PATH_KEYS) -> list[str]:
    """The arguments, with the values of `keys` quoted for Hydra, so that they are text as they stand.

    Hydra reads 2023_12_24 and 1e5 as numbers and refuses spaces at the ends, brackets, &, ! and much
    else. Left as they are: null, lists, values that are quoted already, interpolations, and with -m
    values with a comma, which are several.
    """
    several = any(argument in MULTIRUN for argument in arguments)
    return [_literal(argument, keys, several) for argument in arguments]


def _literal(argument: str, keys: tuple[str, ...], several: bool) -> str:
    key, equals, value = argument.partition("=")
    if not equals or key not in keys or value in ("", "null") or (several and "," in value):
        return argument
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    if quoted or "${" in value or _is_list(value) or _is_sweep(value, several):
        return argument
    # in Hydra's quoted values a backslash escapes quotes, and itself only in front of one
    body, escaped = "", 0
    for letter in value:
        if letter == "\\":
            escaped += 1
            continue
        body += "\\" * (2 * escaped + 1 if letter == "'" else escaped) + letter
        escaped = 0
    return f"{key}='{body}{chr(92) * 2 * escaped}'"


def _is_list(value: str) -> bool:
    return value.startswith("[") and value.endswith("]") and "," in value


def _is_sweep(value: str, several: bool) -> bool:
    return several and value.endswith(")") and value.startswith(("glob(", "choice(", "range("))
