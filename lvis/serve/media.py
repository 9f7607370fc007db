"""Sample clips, uploaded clips and uploaded masks, in a folder that is deleted when the server ends."""

import re
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lvis.data.frames import VideoInfo, fit_to, read_image
from lvis.data.samples import camera_move, synthetic
from lvis.data.video import open_source
from lvis.errors import UserError
from lvis.operators.mask_files import IMAGES, load_mask
from lvis.serve.settings import ServeSettings

RATE = 24  # frames per second of the samples
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}\Z")


@dataclass
class Item:
    """A file, and the name under which its visitor knows it. `info` is None for masks; `users` counts the
    sessions that read it; samples are `lasting`."""

    identifier: str
    path: Path
    name: str
    info: VideoInfo | None = None
    prompt: str = ""
    lasting: bool = False
    users: int = 0
    used: float = field(default_factory=time.monotonic)

    def shown(self) -> dict[str, object]:
        """For the page, as JSON."""
        info = self.info
        facts: dict[str, object] = {
            "id": self.identifier,
            "name": self.name,
            "prompt": self.prompt,
        }
        if info is not None:
            facts |= {"width": info.width, "height": info.height, "rate": float(info.rate)}
            facts["frames"] = info.count
        return facts


class Media:
    """Everything that a session may read, by an identifier that cannot be guessed.

    Args:
        folder: private to this server.
        settings: the limits.
    """

    def __init__(self, folder: Path, settings: ServeSettings) -> None:
        self.folder, self.settings = folder, settings
        self._items: dict[str, Item] = {}

    def add_samples(self) -> list[Item]:
        """Make the sample clips; takes seconds."""
        size, frames = self.settings.sample_size, self.settings.sample_frames
        rate = Fraction(RATE)
        clips = [
            camera_move(self.folder, "coffee.png", frames, size, rate),
            synthetic(self.folder, self.settings.seed, 3, frames, size, rate),
        ]
        items = []
        for clip in clips:
            info = VideoInfo(size[0], size[1], rate, frames)
            item = Item(_name(), clip.path, clip.path.name, info, clip.prompt, lasting=True)
            self._items[item.identifier] = item
            items.append(item)
        return items

    def get(self, identifier: str | None, kind: str = "clip") -> Item:
        """Raises UserError where there is none (any more)."""
        item = self._items.get(identifier or "")
        if item is None or (item.info is None) != (kind == "mask"):
            raise UserError(f"this server no longer has that {kind}; upload it again")
        item.used = time.monotonic()
        return item

    async def receive(self, chunks: AsyncIterator[bytes], name: str) -> Path:
        """Write an upload to a file of its own.

        Raises:
            UserError: it is empty or larger than max_upload; nothing is left of it.
        """
        suffix = match[0].lower() if (match := _SUFFIX.search(name)) else ""
        path = self.folder / f"{_name()}{suffix}"
        most, received = self.settings.max_upload, 0
        try:
            with path.open("wb") as file:
                async for chunk in chunks:
                    received += len(chunk)
                    if received > most:
                        raise UserError(
                            f"{_shown(name)} is larger than {most / 1e6:.0f} MB (max_upload); cut it"
                        )
                    file.write(chunk)
            if not received:
                raise UserError(f"{_shown(name)} is empty; choose another file")
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def add_clip(self, path: Path, name: str) -> Item:
        """Accept an upload that is a video within the limits; its file is removed otherwise.

        Raises:
            UserError: it is not a video, or exceeds max_pixels or max_seconds.
        """
        try:
            with open_source(str(path), most_pixels=self.settings.max_pixels) as source:
                info = source.info
            longest = self.settings.max_seconds
            if info.count is not None and info.count > longest * info.rate + 1:
                raise UserError(
                    f"{_shown(name)} takes {float(info.count / info.rate):.0f} s, and this server "
                    f"takes {longest:g} s (max_seconds); cut it"
                )
            return self._keep(Item(_name(), path, _shown(name), info))
        except UserError as error:
            path.unlink(missing_ok=True)
            raise UserError(str(error).replace(str(path), _shown(name))) from error

    def add_mask(self, path: Path, name: str) -> Item:
        """Accept an uploaded picture as a black-and-white mask; its file is removed otherwise.

        Raises:
            UserError: it is not a picture, or exceeds max_pixels.
        """
        try:
            if path.suffix not in IMAGES:
                raise UserError(f"{_shown(name)} is not a picture; give one of {', '.join(IMAGES)}")
            read_image(path, self.settings.max_pixels)
            white = load_mask(path)[0, 0, 0].numpy()
            kept = path.with_name(f"{_name()}.png")
            Image.fromarray(np.where(white, 255, 0).astype(np.uint8)).save(kept)
            return self._keep(Item(_name(), kept, _shown(name)))
        except UserError as error:
            raise UserError(str(error).replace(str(path), _shown(name))) from error
        finally:
            path.unlink(missing_ok=True)

    def first_frame(self, item: Item, size: tuple[int, int] | None) -> bytes:
        """A clip's first frame, scaled as a restoration would, as a JPEG."""
        with open_source(str(item.path), most_pixels=self.settings.max_pixels) as source:
            picture = fit_to(next(iter(source))[None], size)[0]
        return cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()

    def concealed(self, sentence: str) -> str:
        """The sentence without paths of this machine."""
        for item in list(self._items.values()):
            sentence = sentence.replace(str(item.path), item.name)
        return re.sub(rf"{re.escape(str(self.folder))}\S*", "the file", sentence)

    def _keep(self, item: Item) -> Item:
        uploads = [one for one in self._items.values() if not one.lasting]
        if len(uploads) >= self.settings.max_clips:
            idle = [one for one in uploads if not one.users]
            if not idle:
                raise UserError(
                    f"this server holds {len(uploads)} files in use (max_clips); try again later"
                )
            oldest = min(idle, key=lambda one: one.used)
            del self._items[oldest.identifier]
            oldest.path.unlink(missing_ok=True)
        self._items[item.identifier] = item
        return item


def _name() -> str:
    return secrets.token_urlsafe(16)


def _shown(name: str) -> str:
    """A visitor's file name, safe to show: its last part, printable and short."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(letter for letter in last if letter.isprintable())[:80] or "the file"
