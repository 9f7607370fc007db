"""Masks as people make them: whatever their order, levels, colour and turn, the pixels meant are the pixels read."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lvis.data.video import VideoWriter
from lvis.errors import UserError
from lvis.operators import Inpainting
from lvis.operators.mask_files import load_mask
from lvis.restore.masks import with_mask

FRAMES, SIZE = 12, (24, 32)
OBSERVED = np.ones(SIZE, bool)
OBSERVED[4:16, 8:20] = False
LEVELS = OBSERVED.astype(np.uint8) * 255
BLACK = np.zeros(SIZE, np.uint8)
KINDS = {
    "white": LEVELS,
    "zeros and ones": OBSERVED.astype(np.uint8),
    "red on black": np.dstack([LEVELS, BLACK, BLACK]),
    "alpha alone": np.dstack([BLACK, BLACK, BLACK, LEVELS]),
    "16 bits": LEVELS.astype(np.uint16) * 257,
}


def folder_of(folder: Path, pictures: list[np.ndarray]) -> str:
    folder.mkdir()
    for number, picture in enumerate(pictures, start=1):
        Image.fromarray(picture).save(folder / f"m{number}.png")
    return str(folder)


def read(path: str, count: int | None = None) -> np.ndarray:
    """What `mask=` makes of it, bool (T, H, W)."""
    operator = with_mask(Inpainting(), path, SIZE, count)
    block, _ = operator.block(None, FRAMES)
    shape = (1, 3, FRAMES, *SIZE)
    return block.observed(shape)[0, 0].expand(FRAMES, *SIZE).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_single_images_and_folders_of_every_kind_mean_the_same(tmp_path, kind):
    folder = folder_of(tmp_path / "masks", [KINDS[kind]] * FRAMES)
    assert (read(folder) == OBSERVED).all()
    assert (read(f"{folder}/m1.png") == OBSERVED).all()
    assert (load_mask(folder).numpy() == OBSERVED).all()


def test_folders_are_read_in_the_order_of_their_numbers(tmp_path):
    moving = [np.zeros(SIZE, np.uint8) for _ in range(FRAMES)]
    for number, picture in enumerate(moving):
        picture[:, number : number + 3] = 255
    folder = folder_of(tmp_path / "masks", moving)
    expected = np.stack(moving) > 0
    assert (load_mask(folder).numpy()[0, 0] == expected).all()
    assert (read(folder, FRAMES) == expected).all()


def test_a_turned_photograph_of_a_mask_is_read_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways = Image.fromarray(np.ascontiguousarray(np.rot90(LEVELS)))
    sideways.save(tmp_path / "m.png", exif=exif)
    assert (read(str(tmp_path / "m.png")) == OBSERVED).all()


@pytest.mark.parametrize("kind", ["folder", "video"])
def test_masks_that_observe_nothing_are_refused(tmp_path, kind):
    path = tmp_path / "masks.mkv"
    if kind == "folder":
        path = Path(folder_of(tmp_path / "masks", [BLACK] * FRAMES))
    else:
        with VideoWriter(path, Fraction(25)) as writer:
            for _ in range(FRAMES):
                writer.write(np.dstack([BLACK] * 3))
    with pytest.raises(UserError, match="observes no pixel"):
        read(str(path))


@pytest.mark.parametrize("count, said", [(2 * FRAMES, "ends after 12"), (6, "one mask per frame")])
def test_a_mask_of_another_length_is_refused_before_the_run(tmp_path, count, said):
    folder = folder_of(tmp_path / "masks", [LEVELS] * FRAMES)
    with pytest.raises(UserError, match=said):
        read(folder, count)


def test_the_share_that_is_missing_is_said(tmp_path, capsys):
    read(folder_of(tmp_path / "masks", [LEVELS] * FRAMES))
    assert "holds 18.8% of the pixels missing" in capsys.readouterr().err.replace("\n", " ")
