"""docs/images/teaser.png: python experiments/real/teaser.py

A camera moves over photographs that come with scikit-image and that no training saw. Rows: task; columns: measurement,
pseudo-inverse, what `lvis.restore` gives by default, clean clip; the middle frame of 17, 8 bits, noise 0.02.
"""

import sys
import tempfile
from fractions import Fraction
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[at]) for at in (1, 2)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402

from lvis.data.frames import to_frames, to_video  # noqa: E402
from lvis.data.samples import camera_move  # noqa: E402
from lvis.data.video import open_source  # noqa: E402
from lvis.restorer import Restorer  # noqa: E402

SIZE, FRAMES, NOISE, CAPTION = (160, 240), 17, 0.02, 18
ROWS = (("deblur", "rocket.jpg"), ("inpaint", "coffee.png"), ("sr4", "coffee.png"))
COLUMNS = ("measurement", "pseudo-inverse", "lvis", "clean")
TARGET = Path(__file__).resolve().parents[2] / "docs" / "images" / "teaser.png"


@torch.inference_mode()
def row(task: str, photograph: str) -> np.ndarray:
    """The four pictures of one task side by side, (H, 4 W, 3)."""
    with tempfile.TemporaryDirectory() as folder:
        sample = camera_move(Path(folder), photograph, FRAMES, SIZE, Fraction(16))
        with open_source(str(sample.path)) as source:
            clean = to_video(list(source))
    noise = [f"task.operator.noise_std={NOISE}"]
    restorer = Restorer.from_pretrained(task=task, overrides=noise)
    generator = torch.Generator().manual_seed(0)
    operator = restorer.operator.realise(clean.shape, generator)
    measurement = to_video(to_frames(operator.measure(clean, generator)))
    rcond = [f"task.operator.rcond={2 * NOISE}"] if task == "deblur" else []
    inverse = Restorer.from_pretrained(task=task, solver="pinv", overrides=[*noise, *rcond])
    videos = [operator.lift(measurement)]
    for one in (inverse, restorer):
        acting = one.operator if one is inverse and task != "inpaint" else operator
        with one.solver.open(acting, SIZE) as stream:
            videos.append(torch.cat([*stream.push(measurement), *stream.finish()], dim=2))
    videos.append(clean)
    return np.concatenate([to_frames(video)[FRAMES // 2] for video in videos], axis=1)


def main() -> None:
    torch.set_num_threads(1)
    pictures = np.concatenate([row(*one) for one in ROWS])
    height, width = pictures.shape[:2]
    image = Image.new("RGB", (width, height + CAPTION), "white")
    image.paste(Image.fromarray(pictures), (0, CAPTION))
    draw = ImageDraw.Draw(image)
    for place, caption in enumerate(COLUMNS):
        draw.text((place * SIZE[1] + 4, 3), caption, "black")
    image.save(TARGET, optimize=True)


if __name__ == "__main__":
    main()
