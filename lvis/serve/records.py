"""What is kept of a session so that its page can be reloaded: the blocks sent so far and the result."""

import asyncio
import secrets
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvis.serve.choices import Choice, Menu
from lvis.serve.media import Item


@dataclass
class Record:
    """One clip with its choice, independent of who is connected.

    `lock` is held by the session that serves it; `gone` is how another one asks it to stop; `grown` is
    set when blocks have been added, or when no more will come.
    """

    choice: Choice
    clip: Item | None
    mask: Item | None
    folder: Path
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    started: dict[str, Any] | None = None
    done: dict[str, Any] | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    offsets: list[int] = field(default_factory=lambda: [0])

    @property
    def blocks(self) -> int:
        """Messages kept."""
        return len(self.offsets) - 1

    @property
    def result(self) -> Path:
        return self.folder / f"{self.token}.mp4"

    @property
    def _spool(self) -> Path:
        return self.folder / f"{self.token}.blocks"

    def keep(self, message: bytes) -> None:
        with self._spool.open("ab") as file:
            file.write(message)
        self.offsets.append(self.offsets[-1] + len(message))

    def kept(self, number: int) -> bytes:
        with self._spool.open("rb") as file:
            file.seek(self.offsets[number])
            return file.read(self.offsets[number + 1] - self.offsets[number])

    def remove(self) -> None:
        for path in (self.result, self._spool):
            path.unlink(missing_ok=True)

    def command(self, menu: Menu, size: tuple[int, int] | None) -> str:
        """The equivalent command line, with the clip and the mask in the current folder."""
        assert self.clip is not None
        words = [f"input={self.clip.name}", *self.choice.overrides(menu)]
        if self.mask is not None:
            words.append("mask=mask.png")
        if self.choice.prompt:
            words.append(f"prompt={self.choice.prompt}")
        if size is not None:
            words.append(f"size=[{size[0]},{size[1]}]")
        words.append("output=restored.mp4")
        return shlex.join(["python", "-m", "lvis.restore", *words])
