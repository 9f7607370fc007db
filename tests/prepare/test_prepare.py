"""`python -m lvis.prepare`: a run as a user makes it, run again, in parts, and interrupted."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file

from lvis.data import ShardDataModule
from lvis.data.shard_format import read_index, split_of
from lvis.data.shard_reader import ShardReader
from lvis.data.video import VideoReader
from lvis.errors import UserError
from lvis.evaluate.clips import list_clips
from lvis.files import sha256_of
from tests.prepare.conftest import SMALL, digests, moving, run, write_video

# on a crowded machine x264 was seen, rarely, to write other bytes for the same frames
LOSSLESS = ("encoding=ffv1",)


def samples(folder: Path) -> dict[str, dict[str, bytes]]:
    """key -> extension -> content, over all shards of the index."""
    found: dict[str, dict[str, bytes]] = {}
    for shard in read_index(folder).shards:
        with tarfile.open(folder / shard.name) as archive:
            for member in archive:
                key, extension = member.name.split(".")
                content = archive.extractfile(member)
                assert extension not in found.setdefault(key, {})
                found[key][extension] = content.read()
    return found


def facts(folder: Path) -> list[dict]:
    return [json.loads(members["json"]) for members in samples(folder).values()]


def clip_of(content: bytes, extension: str, tmp_path: Path) -> np.ndarray:
    path = tmp_path / f"clip.{extension}"
    path.write_bytes(content)
    with VideoReader(path) as reader:
        return np.stack(list(reader))


def test_good_videos_become_clips_and_bad_ones_lines_of_the_report(prepared, tmp_path):
    index = read_index(prepared)
    counted = {}
    for fact in facts(prepared):
        counted[fact["source"]] = counted.get(fact["source"], 0) + 1
    assert counted == {"a.mkv": 2, "c.mkv": 2, "d": 2, "deep/b.mp4": 3}
    assert sum(shard.samples for shard in index.shards) == 9
    lines = [json.loads(line) for line in (prepared / "report.jsonl").read_text().splitlines()]
    assert {line["source"]: line["problem"] for line in lines} == {
        "copy_of_a.mkv": "duplicate",
        "garbage.mp4": "unreadable",
        "short.mp4": "too short",
    }
    for shard in index.shards:
        assert shard.samples <= 2
        assert shard.bytes == (prepared / shard.name).stat().st_size
        assert shard.sha256 == sha256_of(prepared / shard.name)


def test_evaluation_reads_the_clips_that_were_held_out(prepared):
    held_out = {
        key: fact for key, fact in zip(samples(prepared), facts(prepared), strict=True)
        if split_of(fact["source_sha256"], 0.3) == "held_out"
    }  # fmt: skip
    found = list_clips(str(prepared), None, 5, (32, 32), seed=0)
    assert held_out and {clip.name for clip in found} == set(held_out)
    assert all(clip.load().shape == (1, 3, 5, 32, 32) for clip in found)


def test_a_sample_says_what_it_is_and_splits_follow_the_content(prepared, tmp_path):
    index = read_index(prepared)
    split_of_shard = {}
    for shard in index.shards:
        with tarfile.open(prepared / shard.name) as archive:
            split_of_shard |= {name.split(".")[0]: shard.split for name in archive.getnames()}
    for key, members in samples(prepared).items():
        fact = json.loads(members["json"])
        assert key.split("_")[0] == fact["source_sha256"][:12]
        assert split_of_shard[key] == split_of(fact["source_sha256"], 0.3)
        assert fact["caption"] == ("waves that drift" if fact["source"] == "a.mkv" else "")
        assert (fact["fps"], fact["frames"], fact["height"], fact["width"]) == (16, 5, 32, 32)
        assert clip_of(members["mp4"], "mp4", tmp_path).shape == (5, 32, 32, 3)
    (second,) = (f for f in facts(prepared) if f["source"] == "a.mkv" and f["start"] > 0)
    assert second["start"] == pytest.approx(5 / 16, abs=2e-3)


def test_lossless_clips_are_the_frames_of_their_source_to_the_bit(videos, tmp_path):
    output = tmp_path / "data"
    run(videos, output, "encoding=ffv1")
    expected = {"a.mkv": moving(11, 1), "c.mkv": moving(10, 3), "d": moving(12, 4)}
    seen = 0
    for members in samples(output).values():
        fact = json.loads(members["json"])
        if fact["source"] in expected:
            first = round(fact["start"] * 16)
            clip = clip_of(members["mkv"], "mkv", tmp_path)
            assert np.array_equal(clip, expected[fact["source"]][first : first + 5])
            seen += 1
    assert seen == 6


def test_h264_clips_are_close_to_their_source(prepared, tmp_path):
    for members in samples(prepared).values():
        fact = json.loads(members["json"])
        if fact["source"] == "c.mkv":
            first = round(fact["start"] * 16)
            clip = clip_of(members["mp4"], "mp4", tmp_path).astype(float)
            # in luma: three of four colour samples are gone in 4:2:0
            difference = (clip - moving(10, 3)[first : first + 5]) @ [0.2126, 0.7152, 0.0722]
            assert np.abs(difference).mean() < 2


def test_running_again_changes_nothing_and_makes_nothing(videos, tmp_path):
    output = tmp_path / "data"
    run(videos, output)
    before = digests(output)
    times = {path.name: path.stat().st_mtime_ns for path in output.glob("*.tar")}
    run(videos, output)
    assert digests(output) == before
    assert {path.name: path.stat().st_mtime_ns for path in output.glob("*.tar")} == times


@pytest.mark.parametrize("encoding", ["h264", "ffv1"])
def test_a_bit_that_flips_in_a_clip_is_noticed_when_training_reads_it(videos, tmp_path, encoding):
    output = tmp_path / "data"
    run(videos, output, f"encoding={encoding}", "held_out=0")
    shard = read_index(output).of("train")[0]
    reader = ShardReader(output, [shard])
    key, members = reader.members(0, 0)
    reader.close()
    content = bytearray((output / shard.name).read_bytes())
    video = next(extent for name, extent in members.items() if name in ("mp4", "mkv"))
    content[video.offset + video.size * 3 // 4] ^= 1
    (output / shard.name).write_bytes(content)
    shape = {"size": (32, 32), "frames": 5, "num_workers": 0, "val_clips": 0}
    loader = ShardDataModule(str(output), **shape, max_bad=1.0).train_dataloader()
    batches = iter(loader)
    clips = sum(shard.samples for shard in read_index(output).of("train"))
    last = [next(batches) for _ in range(clips)][-1]
    # FFmpeg would have decoded FFV1 with a word in its log, and H.264 without one
    assert loader.bad == {f"{shard.name}:{key}": "has a video that does not match its checksum"}
    assert last["loader"]["bad"] >= 1


def test_shards_of_an_earlier_way_of_writing_are_made_again(videos, tmp_path, monkeypatch):
    output, fresh = tmp_path / "data", tmp_path / "fresh"
    run(videos, fresh, *LOSSLESS)
    with monkeypatch.context() as earlier:
        earlier.setattr("lvis.prepare.planning.WRITING", 1)
        run(videos, output, *LOSSLESS)
    times = {path.name: path.stat().st_mtime_ns for path in output.glob("*.tar")}
    run(videos, output, *LOSSLESS)
    assert all((output / name).stat().st_mtime_ns > time for name, time in times.items())
    assert digests(output) == digests(fresh)


def test_new_videos_move_no_other_to_the_other_split(videos, tmp_path):
    output = tmp_path / "data"
    run(videos, output)

    def splits() -> dict[str, str]:
        shares = {}
        for shard in read_index(output).shards:
            with tarfile.open(output / shard.name) as archive:
                for member in archive:
                    shares[member.name.split("_")[0]] = shard.split
        return shares

    before = splits()
    for seed in range(6, 12):
        write_video(videos / f"0{seed}.mkv", moving(6, seed))
    run(videos, output)
    after = splits()
    assert len(after) == len(before) + 6
    assert all(after[source] == split for source, split in before.items())
    # and taking them away again leaves none of their shards
    for seed in range(6, 12):
        (videos / f"0{seed}.mkv").unlink()
    run(videos, output)
    assert splits() == before
    assert {p.name for p in output.glob("*.tar")} == {s.name for s in read_index(output).shards}


def test_jobs_and_their_merge_make_what_a_single_run_makes(videos, tmp_path):
    run(videos, tmp_path / "single", *LOSSLESS)
    parts = tmp_path / "parts"
    for job in (2, 0):
        assert run(videos, parts, *LOSSLESS, f"job.index={job}", "job.count=3") is None
    with pytest.raises(UserError, match="are missing"):
        run(videos, parts, *LOSSLESS, "job.merge=true")
    assert not (parts / "index.json").exists()
    run(videos, parts, *LOSSLESS, "job.index=1", "job.count=3")
    run(videos, parts, *LOSSLESS, "job.merge=true")
    assert digests(parts) == digests(tmp_path / "single")


def test_other_settings_in_the_same_folder_are_refused(videos, tmp_path):
    run(videos, tmp_path / "data")
    with pytest.raises(UserError, match="frames=5, not 9"):
        run(videos, tmp_path / "data", "frames=9")


def test_a_folder_of_something_else_is_left_alone(videos, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="is not empty"):
        run(videos, tmp_path / "mine")


def test_nothing_left_is_an_error_that_names_the_report(tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "garbage.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(UserError, match=r"none of the 1 videos .*report\.jsonl"):
        run(tmp_path / "bad", tmp_path / "data")
    assert "garbage.mp4" in (tmp_path / "data" / "report.jsonl").read_text()


def test_prompts_are_embedded_before_padding(videos, tmp_path):
    output = tmp_path / "data"
    run(videos, output, "prompts=model")
    lengths = {}
    for members in samples(output).values():
        embedding = load(members["safetensors"])["embedding"]
        lengths[json.loads(members["json"])["caption"]] = tuple(embedding.shape)
    words, width = lengths["waves that drift"]
    empty, same = lengths[""]
    assert width == same == 64
    assert empty < words < 32


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# stands still within its third shard or a later one, so that no machine is fast enough to end before it is killed
STALLING = """
import time
from pathlib import Path
from lvis.prepare import command

write = command.write_shard

def stalling(shard, settings, prompts, advance):
    def stall(units):
        while len(list(Path(settings.output).glob("[!.]*.tar"))) >= 2:
            time.sleep(0.1)
        advance(units)
    return write(shard, settings, prompts, stall)

command.write_shard = stalling
if __name__ == "__main__":
    command.main()
"""


def test_a_killed_run_is_continued_to_the_same_bytes(tmp_path):
    videos, killed = tmp_path / "videos", tmp_path / "killed"
    for seed in range(4):
        write_video(videos / f"{seed}.mkv", moving(60, seed, 64, 64))
    more = (*LOSSLESS, "size=[64,64]", "samples_per_shard=3", "max_clips=null", "prompts=model")
    words = [f"input={videos}", f"output={killed}", *SMALL, *more, "workers=2"]
    (tmp_path / "stalling.py").write_text(STALLING)
    process = subprocess.Popen([sys.executable, tmp_path / "stalling.py", *words])
    wait_until(lambda: len(list(killed.glob("[!.]*.tar"))) >= 2)
    wait_until(lambda: any(killed.glob(".*.partial.tar")))
    workers = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not any(alive(worker) for worker in workers))
    whole = {p.stem for p in (killed / ".prepare" / "done").glob("*.json")}
    times = {f"{stem}.tar": (killed / f"{stem}.tar").stat().st_mtime_ns for stem in whole}
    assert not (killed / "index.json").exists()

    run(videos, killed, *more)
    run(videos, tmp_path / "whole", *more)
    assert len(whole) < len(read_index(killed).shards)
    assert digests(killed) == digests(tmp_path / "whole")
    assert {name: (killed / name).stat().st_mtime_ns for name in times} == times
    assert not any(killed.rglob("*.partial*"))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["size=[30,32]"], r"size=\[30, 32\] .*use size=\[32,32\]"),
        (["frames=6"], "frames=6 .*use 5 or 9"),
        (["input=null"], "input is not given"),
        (["input=/nowhere/at/all"], "/nowhere/at/all does not exist"),
        (["encoding=h265"], "encoding=h265 is not known; use one of h264, ffv1"),
        (["job.index=1"], "job.index and job.count go together"),
        (["job.index=4", "job.count=4"], "counted from 0"),
        (["held_out=1"], "held_out=1"),
        (["layout=davis"], "JPEGImages"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(videos, tmp_path, overrides, words):
    with pytest.raises(UserError, match=words):
        run(videos, tmp_path / "data", *overrides)
    assert not (tmp_path / "data").exists()


def test_latents_are_made_once_beside_the_shards_by_jobs_too(videos, tmp_path):
    words = ("latents=true", "device=cpu", "held_out=0")
    run(videos, tmp_path / "whole", *words, *LOSSLESS)
    for index in (0, 1):
        run(videos, tmp_path / "jobs", *words, *LOSSLESS, f"job.index={index}", "job.count=2")
    run(videos, tmp_path / "jobs", *words, *LOSSLESS, "job.merge=true")
    whole, jobs = (
        {path.relative_to(tmp_path / name): path for path in (tmp_path / name).glob("latents/*/*")}
        for name in ("whole", "jobs")
    )
    assert set(whole) == set(jobs)
    assert len(whole) == 1 + 5  # facts.json, and five shards of at most two clips
    for name, path in whole.items():
        if path.suffix == ".safetensors":
            one, other = load_file(path), load_file(jobs[name])
            assert set(one) == set(other)
            for key in one:
                assert one[key].shape == (16, 2, 4, 4)
                torch.testing.assert_close(one[key], other[key])
    before = {path: path.stat().st_mtime_ns for path in whole.values() if path.suffix != ".json"}
    run(videos, tmp_path / "whole", *words, *LOSSLESS)
    assert {path: path.stat().st_mtime_ns for path in before} == before
