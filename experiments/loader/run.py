"""The loader's cost per clip beside the decoder's own: python experiments/loader/run.py (README.md)."""

import io
import json
import os
import platform
import tarfile
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import torch

from lvis.data import ShardDataModule
from lvis.data.frames import to_frames
from lvis.data.shard_decode import decode_video
from lvis.data.shard_format import TRAIN, Index, Shard, shard_name, write_index
from lvis.data.shard_module import to_floats
from lvis.data.synthetic import synthetic_clip
from lvis.data.video import VideoWriter
from lvis.files import sha256_of, write_text
from lvis.provenance import code_version, today

HERE = Path(__file__).parent
WORKERS = (0, 1, 2)
# height, width, frames, clips stored, clips loaded a measurement
SIZES = ((128, 128, 33, 8, 24), (480, 832, 81, 2, 4))


def write_shards(folder: Path, height: int, width: int, frames: int, clips: int) -> list[bytes]:
    """One shard of synthetic clips as H.264; returns the videos."""
    videos, path = [], folder / shard_name(TRAIN, 0)
    with tarfile.open(path, "w") as archive:
        for number in range(clips):
            clip = synthetic_clip(0, number, frames, (height, width))
            file = folder / "clip.mp4"
            with VideoWriter(file, Fraction(16)) as writer:
                for frame in to_frames(clip.video[None]):
                    writer.write(frame)
            videos.append(file.read_bytes())
            file.unlink()
            source = f"{number:064x}"
            metadata = {"caption": clip.caption, "source_sha256": source, "frames": frames}
            members = {"mp4": videos[-1], "json": json.dumps(metadata).encode()}
            for extension, content in members.items():
                entry = tarfile.TarInfo(f"{number:012x}_00000.{extension}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    shard = Shard(path.name, TRAIN, clips, path.stat().st_size, sha256_of(path))
    write_index(folder, Index({"size": [height, width], "frames": frames}, (shard,)))
    return videos


def cpu_seconds(count: int, work: Callable[[int], object]) -> float:
    """This process's processor time for each of `count` calls."""
    before = time.process_time()
    for number in range(count):
        work(number)
    return (time.process_time() - before) / count


def decode_only(content: bytes) -> None:
    """What FFmpeg itself needs: frames in the codec's format, one thread, no conversion."""
    with av.open(io.BytesIO(content), format="mp4") as container:
        container.streams.video[0].codec_context.thread_type = "NONE"
        for _ in container.decode(video=0):
            pass


def load(folder: Path, size: tuple[int, int], frames: int, workers: int, count: int) -> dict:
    """Float32 batches of one clip: wall seconds, and processor seconds of all processes, a clip."""
    data = ShardDataModule(str(folder), size, frames, num_workers=workers, val_clips=0, min_bad=0)
    loader = data.train_dataloader()
    data.stream.samples = count
    began, before = time.perf_counter(), sum(os.times()[:4])
    assert (
        sum(len(batch["prompt"]) for batch in loader) == count
    )  # workers have ended and count too
    wall, cpu = time.perf_counter() - began, sum(os.times()[:4]) - before
    assert not loader.bad
    return {"wall_seconds": wall / count, "cpu_seconds": cpu / count}


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for height, width, frames, stored, count in SIZES:
        with tempfile.TemporaryDirectory() as name:
            folder, size = Path(name), (height, width)
            videos = write_shards(folder, *size, frames, stored)
            clip = torch.from_numpy(decode_video(videos[0], "mp4", size, frames))[None]
            stages = {
                "decoder": lambda n: decode_only(videos[n % stored]),  # noqa: B023
                "decode_video": lambda n: decode_video(videos[n % stored], "mp4", size, frames),  # noqa: B023
                "to_floats": lambda n: to_floats(clip),  # noqa: B023
            }
            row = {
                "size": [height, width, frames],
                "clips": count,
                "megabytes_per_clip": sum(map(len, videos)) / stored / 1e6,
                **{name: cpu_seconds(count, work) for name, work in stages.items()},
            }
            for workers in WORKERS:
                row[f"workers_{workers}"] = load(folder, size, frames, workers, count)
            print(json.dumps(row), flush=True)
            rows.append(row)
    about = {
        "date": today(),
        "commit": code_version(),
        "torch": torch.__version__,
        "av": av.__version__,
        "python": platform.python_version(),
        "cores": sorted(os.sched_getaffinity(0)),
        "load_average": os.getloadavg(),
    }
    write_text(HERE / "results.json", json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
