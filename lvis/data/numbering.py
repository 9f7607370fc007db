"""The order in which people number their pictures, and what is odd about the numbers of a folder."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

_LAST_NUMBER = re.compile(r"(\d+)(?=\D*$)")
_NOBODY_MISSES = ("thumbs.db", "desktop.ini")
_NAMED = 3  # examples in a sentence


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which frame2.png comes before frame10.png."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def ordered(names: Sequence[str]) -> list[str]:
    """File names by their numbers, negative ones first; names of one number by the alphabet.

    A hyphen is a minus where it begins the name, or where other names have the same beginning
    without it (shift-1.png beside shift0.png).
    """
    plain = {split[0] for name in names if (split := _split(name))}

    def key(name: str) -> tuple[list[tuple[int, int, str]], str]:
        split = _split(name)
        if split and _is_negative(split[0], plain):
            before, number, after = split
            return [*natural_key(before[:-1]), (0, -number, ""), *natural_key(after)], name
        return natural_key(name), name

    return sorted(names, key=key)


def oddities(names: Sequence[str]) -> Iterator[str]:
    """Sentences on gaps, doubled and negative numbers in the names of a folder's pictures, which are in order."""
    splits = {name: split for name in names if (split := _split(name))}
    plain = {before for before, _, _ in splits.values()}
    pictures: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    negative = 0
    for name, (before, number, _) in splits.items():
        if _is_negative(before, plain):
            before, number = before[:-1], -number
            negative += 1
        pictures[before][number].append(name)
    if negative:
        yield f"{negative} of its pictures have negative numbers, and come before number 0"
    doubled = [same for numbers in pictures.values() for same in numbers.values() if len(same) > 1]
    if doubled:
        yield (
            f"{_shown([name for same in doubled for name in same])} have numbers in common: each of "
            "them is a frame, in this order"
        )
    missing = [gap for numbers in pictures.values() for gap in _gaps(sorted(numbers))]
    if missing:
        yield (
            f"numbers are missing after {', '.join(map(str, missing[:_NAMED]))}"
            f"{' and elsewhere' if len(missing) > _NAMED else ''}: the pictures follow one another "
            "without a pause"
        )


def passed_over(folder: Path, names: Sequence[str]) -> Iterator[str]:
    """A sentence on what a folder holds beside the pictures that are read."""
    taken = set(names)
    others = [
        path
        for path in folder.iterdir()
        if path.name not in taken
        and not path.name.startswith(".")
        and path.name.lower() not in _NOBODY_MISSES
    ]
    if others:
        first = ordered([path.name + "/" * path.is_dir() for path in others])
        yield f"{len(others)} other entries in it are skipped: {_shown(first)}"


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _split(name: str) -> tuple[str, int, str] | None:
    """What is before a name's last number, the number, and what is after it; None: it has no number."""
    stem = Path(name).stem
    match = _LAST_NUMBER.search(stem)
    if match is None:
        return None
    return name[: match.start()].lower(), int(match[1]), name[match.end() :].lower()


def _is_negative(before: str, plain: set[str]) -> bool:
    return before == "-" or (before.endswith("-") and before[:-1] in plain)


def _gaps(numbers: list[int]) -> Iterator[int]:
    """The numbers after which some are missing; every fifth picture of a film has no gaps."""
    steps = [after - before for before, after in zip(numbers, numbers[1:], strict=False)]
    usual = Counter(steps).most_common(1)[0][0] if steps else 1
    yield from (number for number, step in zip(numbers, steps, strict=False) if step > usual)
