"""Finding the videos: files and folders of images below a folder, or what a list names."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lvis.data.frames import IMAGE_SUFFIXES
from lvis.errors import UserError
from lvis.prepare.tables import TABLE_SUFFIXES, has_paths, read_table

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts"),
    *(".flv", ".wmv", ".3gp", ".ogv", ".y4m"),
)
METADATA_LAYOUTS = ("opensora", "mixkit", "pexels")


@dataclass(frozen=True)
class Source:
    """A video file or a folder of images: its name below the input, where it is, its caption."""

    name: str
    path: Path
    caption: str = ""


def find_sources(given: str, layout: str) -> list[Source]:
    """The sources of an input, by name; each once.

    Layouts: `folder`, every video and every folder of images below, with `<name>.txt` beside it as its caption;
    `list`, what a file names, relative to its folder; `opensora`, `mixkit`, `pexels`, a folder with such lists
    beside the videos; `reds`, the sharp sequences only; `davis`, JPEGImages at the highest resolution there is;
    `auto`, the one of these that the input looks like.

    Raises:
        UserError: nothing there, or not in this layout.
    """
    place = Path(given).absolute()
    if layout == "auto":
        layout = _recognise(place)
    if layout == "list" or (layout in METADATA_LAYOUTS and place.is_file()):
        if place.is_dir():
            raise UserError(f"input={given} is a folder; name the list in it, or layout=folder")
        found = list(_listed([place], place.parent))
    elif not place.is_dir():
        raise UserError(f"input={given} is a file; layout={layout} needs a folder")
    elif layout in METADATA_LAYOUTS:
        tables = _tables(place)
        if not tables:
            raise UserError(
                f"input={given} has no list of videos (.csv .json .jsonl with a path column) in it; "
                "use layout=folder"
            )
        found = list(_listed(tables, place))
    elif layout == "davis":
        found = list(_below(place, _davis_images(place)))
    else:
        found = [s for s in _below(place, place) if layout != "reds" or _is_sharp(s.name)]
    sources = {source.name: source for source in reversed(found)}
    if not sources:
        raise UserError(
            f"input={given} has no videos ({' '.join(VIDEO_SUFFIXES)}) and no folders of images "
            f"for layout={layout}; give another folder or layout"
        )
    return [sources[name] for name in sorted(sources)]


def sample_of(sources: list[Source], count: int | None, seed: int) -> list[Source]:
    """`count` sources, by name; all for None, or where there are no more.

    Which ones depends on names and seed alone, and a larger sample contains the smaller.
    """
    if count is None:
        return sources

    def place(source: Source) -> bytes:
        return hashlib.sha256(f"{seed}/{source.name}".encode()).digest()

    return sorted(sorted(sources, key=place)[:count], key=lambda source: source.name)


def _recognise(place: Path) -> str:
    if place.is_file():
        if place.suffix.lower() in TABLE_SUFFIXES:
            return "list"
        raise UserError(f"input={place} is one file; give a folder of videos or a list of them")
    if (place / "JPEGImages").is_dir():
        return "davis"
    if _tables(place):
        return "opensora"
    blurred = any("_sharp" in child.name for child in place.rglob("*_sharp") if child.is_dir())
    return "reds" if blurred else "folder"


def _tables(place: Path) -> list[Path]:
    files = sorted(path for path in place.iterdir() if path.suffix.lower() in TABLE_SUFFIXES)
    return [path for path in files if path.is_file() and has_paths(path)]


def _listed(tables: list[Path], root: Path) -> Iterator[Source]:
    for table in tables:
        for written, caption in read_table(table):
            path = Path(os.path.normpath(root / written))
            yield Source(os.path.relpath(path, root), path, caption)


def _below(root: Path, start: Path) -> Iterator[Source]:
    """Videos and folders of images below `start`, named from `root`; hidden ones are skipped."""
    for folder, children, files in os.walk(start):
        children[:] = sorted(name for name in children if not name.startswith("."))
        shown = [name for name in files if not name.startswith(".")]
        here = Path(folder)
        for name in shown:
            if name.lower().endswith(VIDEO_SUFFIXES):
                yield _captioned(root, here / name)
        if any(name.lower().endswith(IMAGE_SUFFIXES) for name in shown) and here != root:
            yield _captioned(root, here)


def _captioned(root: Path, path: Path) -> Source:
    beside = path.with_name(f"{path.stem if path.is_file() else path.name}.txt")
    caption = ""
    if beside.is_file():
        caption = beside.read_text(encoding="utf-8", errors="replace").strip()
    return Source(str(path.relative_to(root)), path, caption)


def _davis_images(place: Path) -> Path:
    images = place / "JPEGImages"
    if not images.is_dir():
        raise UserError(f"input={place} has no JPEGImages folder; use layout=folder")
    sizes = ("Full-Resolution", "1080p", "480p")
    return next((images / name for name in sizes if (images / name).is_dir()), images)


def _is_sharp(name: str) -> bool:
    # beside the sharp sequences REDS has *_blur, *_sharp_bicubic and *_blur_comp ones of the same scenes
    parts = Path(name).parts
    marked = [part for part in parts if "_sharp" in part or "_blur" in part]
    return not marked or all(part.endswith("_sharp") for part in marked)
