"""Synthetic clips, video files and pipes, and the DataModule that feeds training."""

from typing import TYPE_CHECKING, Any

from lvis.data.synthetic import Clip, SyntheticVideos, synthetic_clip

if TYPE_CHECKING:
    from lvis.data.module import VideoDataModule

__all__ = ["Clip", "SyntheticVideos", "VideoDataModule", "synthetic_clip"]


def __getattr__(name: str) -> Any:
    # Restoring a file needs this package too, and should not wait for Lightning.
    if name == "VideoDataModule":
        from lvis.data.module import VideoDataModule

        return VideoDataModule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
