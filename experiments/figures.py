"""Pictures of one clip by every method, from the videos that evaluations kept: the papers' qualitative figures.

    python experiments/figures.py sequences RESULTS OUTPUT     # a row for each method, a column for each frame
    python experiments/figures.py details RESULTS OUTPUT       # a column for each method: a frame, and a detail of it

RESULTS is the folder of an evaluation with clips.videos; OUTPUT gets <task>.jpg. Beside a method's name is its PSNR in
dB, of the tensors; the videos are H.264, finer than what can be seen.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lvis.cli.config import fail  # noqa: E402
from lvis.data.comparison import GAP, PAPER, SideBySide  # noqa: E402
from lvis.data.video import open_source  # noqa: E402
from lvis.errors import UserError  # noqa: E402
from lvis.evaluate.table import Row, read_rows  # noqa: E402
from lvis.evaluate.videos import CLEAN, MEASUREMENT, video_path  # noqa: E402
from lvis.files import replacing  # noqa: E402

# method and VAE (None: any) -> caption, in the papers' order
METHODS = {
    ("dps", None): "DPS",
    ("svi", None): "SVI",
    ("lvtino", None): "LVTINO",
    ("vision_xl", None): "VISION-XL",
    ("avis_flash", None): "AVIS Flash",
    ("avis", None): "AVIS",
    ("student", "wan"): "ours, wan",
    ("student", "lean"): "ours, lean",
}
FRAMES = 5  # of a sequence
ENLARGED, DETAIL = 2, 1 / 3  # of frames beside their details; a detail's side over the frame's
MARK = (255, 64, 64)
QUALITY = 92  # of JPEG
Picture = Callable[[Mapping[str, np.ndarray]], Image.Image]


def draw(results: Path, output: Path, picture: Picture) -> list[Path]:
    """A picture of each task in the results.

    Raises:
        UserError: there are no videos, or one cannot be read.
    """
    found: dict[str, dict[tuple[str, str | None], Row]] = {}
    for row in read_rows(results / "results.jsonl"):
        for key in ((row["method"], None), (row["method"], row["vae"])):
            if key in METHODS and video_path(results, row, row["method"]).is_file():
                found.setdefault(row["task"], {})[key] = row
    if not found:
        raise UserError(f"{results} has no videos; evaluate with clips.videos=1")
    written = []
    for task, rows in found.items():
        ordered = {key: rows[key] for key in METHODS if key in rows}
        some = next(iter(ordered.values()))
        videos = {MEASUREMENT: frames_of(video_path(results, some, MEASUREMENT))}
        for key, row in ordered.items():
            name = f"{METHODS[key]} {row['psnr']:.1f}"
            videos[name] = frames_of(video_path(results, row, row["method"]))
        videos[CLEAN] = frames_of(video_path(results, some, CLEAN))
        written.append(output / f"{task}.jpg")
        with replacing(written[-1]) as partial:
            picture(videos).save(partial, quality=QUALITY, subsampling=0)
    return written


def frames_of(path: Path) -> np.ndarray:
    """uint8 (T, H, W, 3).

    Raises:
        UserError: unreadable.
    """
    with open_source(str(path)) as frames:
        return np.stack(list(frames))


def sequences(videos: Mapping[str, np.ndarray]) -> Image.Image:
    """Rows of frames, evenly spread over each clip, under the methods' names."""
    rows = []
    for name, frames in videos.items():
        chosen = frames[np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)]
        board = SideBySide([name, *[""] * (FRAMES - 1)], *chosen.shape[1:3])
        rows.append(board(list(chosen)))
    return Image.fromarray(np.concatenate(rows))


def details(videos: Mapping[str, np.ndarray]) -> Image.Image:
    """Columns of a middle frame and, below, the detail that is marked in it; where the clean clip has most contrast."""
    clean = videos[CLEAN]
    side = int(clean.shape[1] * DETAIL)
    top, left = busiest(clean[len(clean) // 2].mean(axis=-1), side)
    columns = []
    for frames in videos.values():
        frame = frames[len(frames) // 2]
        height, width = (ENLARGED * n for n in frame.shape[:2])
        whole = Image.fromarray(frame).resize((width, height), Image.Resampling.NEAREST)
        box = [ENLARGED * n for n in (left, top, left + side, top + side)]
        ImageDraw.Draw(whole).rectangle(box, outline=MARK, width=2)
        part = Image.fromarray(frame[top : top + side, left : left + side])
        below = part.resize((width, width), Image.Resampling.NEAREST)
        between = np.full((GAP, width, 3), PAPER, np.uint8)
        columns.append(np.concatenate([np.asarray(whole), between, np.asarray(below)]))
    return Image.fromarray(SideBySide(list(videos), *columns[0].shape[:2])(columns))


def busiest(picture: np.ndarray, side: int) -> tuple[int, int]:
    """Top and left of the square of the largest variance, on a grid of half its side."""
    steps = [range(0, length - side + 1, max(1, side // 2)) for length in picture.shape]
    places = [(top, left) for top in steps[0] for left in steps[1]]
    return max(places, key=lambda p: picture[p[0] : p[0] + side, p[1] : p[1] + side].var())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("kind", choices=("sequences", "details"))
    parser.add_argument("results", type=Path)
    parser.add_argument("output", type=Path)
    given = parser.parse_args()
    pictures = {"sequences": sequences, "details": details}
    try:
        for path in draw(given.results, given.output, pictures[given.kind]):
            print(f"wrote: {path}")
    except UserError as error:
        fail(error)


if __name__ == "__main__":
    main()
