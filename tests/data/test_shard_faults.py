"""Bad shards and bad samples: counted, said once, replaced; hostile ones never run and never unpack."""

import json
import os
import pickle
import random
import re
import resource
import tarfile
import zlib
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save
from shard_writing import (
    FRAMES,
    SIZE,
    describe,
    encode,
    members_of,
    rewrite,
    write_tar,
)

from lvis.data import ShardDataModule
from lvis.data.shard_format import HELD_OUT, TRAIN, Index, read_index, write_index
from lvis.errors import UserError

FIRST = "train-00000.tar"  # clips 0 to 3 of 11
CLIPS = 11


def module(folder, **change):
    arguments = {"size": SIZE, "frames": FRAMES, "batch_size": 1, "num_workers": 0, "val_clips": 0}
    return ShardDataModule(folder, **(arguments | {"max_bad": 1.0, "shuffle": 4} | change))


def read(folder, count=CLIPS, **change):
    """The clips' numbers, and the loader."""
    loader = module(folder, **change).train_dataloader()
    batches = iter(loader)
    found = [next(batches) for _ in range(count)]
    assert all(batch["video"].shape == (len(batch["prompt"]), 3, FRAMES, *SIZE) for batch in found)
    return [int(number) for batch in found for number in batch["index"]], loader, found


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def fill_with_garbage(path):
    path.write_bytes(random.Random(0).randbytes(path.stat().st_size))


def rename(path):
    path.rename(path.with_name("renamed.tar"))


def become_fifo(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("verify", ["none", "sizes", "sha256"])
@pytest.mark.parametrize("damage", [truncate, fill_with_garbage, rename, os.remove, become_fifo])
def test_a_bad_shard_is_said_once_and_replaced_by_clips_of_the_others(
    damaged, damage, verify, caplog
):
    whole, _, _ = read(damaged, 2 * CLIPS)
    damage(damaged / FIRST)
    found, loader, batches = read(damaged, 2 * CLIPS, verify=verify)
    assert list(loader.bad) == [FIRST]
    assert [record.message.split()[0] for record in caplog.records].count(FIRST) == 1
    assert min(found) >= 4 and batches[-1]["loader"]["bad"] >= 8
    # no other clip moved, and the replacements are the same again
    assert all(old == new for old, new in zip(whole, found, strict=True) if old >= 4)
    assert read(damaged, 2 * CLIPS, verify=verify)[0] == found


def test_replacements_do_not_depend_on_workers_batches_or_where_it_began(damaged):
    truncate(damaged / FIRST)
    found, _, _ = read(damaged, 12)
    assert read(damaged, 6, batch_size=2, num_workers=2)[0] == found
    resumed = module(damaged, batch_size=2)
    resumed.set_position(6)
    batches = iter(resumed.train_dataloader())
    assert [n for _ in range(3) for n in next(batches)["index"].tolist()] == found[6:]


def test_swapped_shards_are_noticed_by_what_is_in_them(damaged):
    # two shards of one length, so that only their content tells
    held_out, first = damaged / "held_out-00000.tar", damaged / FIRST
    members = members_of(1000, HELD_OUT) | members_of(1001, HELD_OUT)
    rewrite(damaged, held_out.name, members, 2)
    rewrite(damaged, FIRST, members_of(0) | members_of(1), 2)
    size = max(held_out.stat().st_size, first.stat().st_size)
    index = read_index(damaged)
    for path in (held_out, first):
        os.truncate(path, size)
    shards = tuple(
        describe(damaged / shard.name, shard.split, shard.samples) for shard in index.shards
    )
    write_index(damaged, Index(index.settings, shards))
    swap = damaged / "swap"
    held_out.rename(swap), first.rename(held_out), swap.rename(first)
    _, loader, batches = read(damaged, verify="sizes")
    assert all(int(batch["prompt"][0].split()[1]) < 1000 for batch in batches)
    assert all("belongs to the split held_out" in reason for reason in loader.bad.values())
    assert len(loader.bad) == 2
    _, loader, _ = read(damaged, verify="sha256")
    assert loader.bad == {FIRST: "has a different sha256 from the index"}


def test_the_budget_stops_with_one_sentence(damaged):
    truncate(damaged / FIRST)
    sentence = r"^\d+ of \d+ samples drawn could not be used, .* \(the last: train-00000.tar has "
    for num_workers in (0, 2):
        with pytest.raises(UserError, match=sentence) as error:
            read(damaged, 100, max_bad=0.05, min_bad=3, num_workers=num_workers)
        assert "\n" not in str(error.value)
    # fewer than min_bad are put up with whatever their share
    read(damaged, 4, max_bad=0.0, min_bad=100)


def test_when_nothing_can_be_used_it_stops_too(damaged):
    for path in damaged.glob("train-*.tar"):
        path.unlink()
    with pytest.raises(UserError, match="none of 100 samples drawn in a row"):
        read(damaged)


def one_bad_sample(folder, change):
    """Shard 0 again, clip 1's members (by extension) passed through `change`."""
    members = {}
    for clip in range(4):
        mine = members_of(clip)
        if clip == 1:
            stem = next(iter(mine)).partition(".")[0]
            by_extension = {name.partition(".")[2]: content for name, content in mine.items()}
            mine = {f"{stem}.{e}": content for e, content in change(by_extension).items()}
        members |= mine
    rewrite(folder, FIRST, members, 4)


def altered(members, **metadata):
    return members | {"json": json.dumps(json.loads(members["json"]) | metadata).encode()}


def damaged_in_the_middle(members):
    video = bytearray(encode(99, noise=99))
    # from within the first frame to the middle: of less, x264's bytes decide whether it decodes
    first, middle = 64, len(video) // 2
    video[first:middle] = bytes(middle - first)
    return members | {"mp4": bytes(video)}


def with_a_flipped_bit(members):
    """A clip that still decodes, but for its checksum."""
    video = bytearray(encode(99, noise=99))
    members = altered(members, video_crc32=zlib.crc32(video))
    video[len(video) * 3 // 4] ^= 1
    return members | {"mp4": bytes(video)}


BAD_SAMPLES = {
    "a flipped bit": (with_a_flipped_bit, "does not match its checksum"),
    "a checksum of a wrong type": (
        lambda m: altered(m, video_crc32="none"),
        "does not match its checksum",
    ),
    "another size": (lambda m: m | {"mp4": encode(9, size=(64, 48))}, "is 64x48, not 32x32"),
    "too short": (lambda m: m | {"mp4": encode(9, frames=3)}, "has 3 frames of 5"),
    "zeroed bytes": (damaged_in_the_middle, "is not a readable video|is damaged"),
    "garbage": (lambda m: m | {"mp4": random.Random(0).randbytes(5000)}, "is not a readable video"),
    "empty": (lambda m: m | {"mp4": b""}, "is not a readable video"),
    "another container": (lambda m: m | {"mp4": encode(9, "mkv")}, "is not a readable video"),
    "no metadata": (lambda m: {"mp4": m["mp4"]}, "has no json"),
    "nested metadata": (lambda m: m | {"json": b"[" * 10**6}, "has unreadable metadata"),
    "metadata of a wrong type": (lambda m: altered(m, caption=3), "of a wrong type"),
    "huge metadata": (lambda m: m | {"json": b" " * (2**20 + 1)}, "more than 1048576"),
    "too many frames": (lambda m: altered(m, frames=10**9), "has 1000000000 frames"),
    "huge video": (lambda m: m | {"mp4": bytes(2**20 + 10**5)}, "more than"),
    "pickled embedding": (
        lambda m: m | {"safetensors": pickle.dumps(torch.ones(2))},
        "has an unreadable embedding",
    ),
    "embedding of nothing finite": (
        lambda m: m | {"safetensors": save({"embedding": torch.full((2, 2), torch.nan)})},
        "not finite",
    ),
    "absurd embedding header": (
        lambda m: m | {"safetensors": b"\xff" * 8 + b"{}"},
        "has an unreadable embedding",
    ),
    "held out": (
        lambda m: altered(m, source_sha256="0" * 64),
        "belongs to the split held_out, not train",
    ),
}


@pytest.mark.parametrize("name", BAD_SAMPLES)
def test_a_bad_sample_is_said_once_and_replaced(damaged, name):
    change, reason = BAD_SAMPLES[name]
    one_bad_sample(damaged, lambda members: members)
    whole, loader, _ = read(damaged, 2 * CLIPS)
    assert not loader.bad
    one_bad_sample(damaged, change)
    found, loader, batches = read(damaged, 2 * CLIPS)
    (bad,) = loader.bad
    assert bad.startswith(f"{FIRST}:") and bad.endswith("_00001")
    assert re.search(reason, loader.bad[bad])
    assert 1 not in found and batches[-1]["loader"]["bad"] >= 2
    assert [old for old in whole if old != 1] == [
        new for old, new in zip(whole, found, strict=True) if old != 1
    ]


def test_a_header_that_promises_a_small_picture_cannot_unpack_a_large_one(damaged):
    # the container's size is patched to 32x32, the bit stream within still says 4096x4096
    bomb = encode(9, size=(4096, 4096), frames=1)
    bomb = bomb.replace((4096).to_bytes(2, "big"), (32).to_bytes(2, "big"))
    one_bad_sample(damaged, lambda members: members | {"mp4": bomb})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found, loader, _ = read(damaged, 2 * CLIPS)
    assert len(loader.bad) == 1 and 1 not in found
    # one frame would be 50 MB as RGB alone
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


class Exploit:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_hostile_names_and_pickles_are_never_followed(damaged, tmp_path):
    marker = tmp_path / "executed"
    payload = pickle.dumps(Exploit(marker))
    members = {}
    for clip in range(3):
        members |= members_of(clip)
    stem = next(iter(members)).partition(".")[0]
    hostile = {
        f"{stem}.pyd": payload,
        f"{stem}.pickle": payload,
        "../../escape.pyd": payload,
        "../../escape.mp4": next(iter(members.values())),
        "../../escape.json": list(members.values())[1],
        "/tmp/absolute.json": b"{}",
    }
    rewrite(damaged, FIRST, members | hostile, 4)
    outside = sorted(path.name for path in damaged.parent.iterdir())
    found, loader, _ = read(damaged, 2 * CLIPS)
    assert not marker.exists()
    assert sorted(path.name for path in damaged.parent.iterdir()) == outside
    assert loader.bad == {f"{FIRST}:'../../escape'": "has a name that is not a valid sample key"}
    assert 3 not in found and {0, 1, 2} <= set(found)
    # the payload would have worked
    pickle.loads(payload)
    assert marker.exists()


def test_links_and_absurd_sizes_in_a_tar_are_refused(damaged):
    members = members_of(0) | members_of(1) | members_of(2)
    write_tar(damaged / FIRST, members)
    with tarfile.open(damaged / FIRST, "a") as archive:
        for extension in ("mp4", "json"):
            link = tarfile.TarInfo(f"aaaaaaaaaaaa_00003.{extension}")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
    _, loader, _ = read(damaged, verify="none")
    assert loader.bad == {FIRST: "holds 3 samples where the index says 4"}
    entry = tarfile.TarInfo("aaaaaaaaaaaa_00003.mp4")
    entry.size = 2**50
    (damaged / FIRST).write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    _, loader, _ = read(damaged, verify="none")
    assert "declares 1125899906842624 bytes at byte 0, past its end" in loader.bad[FIRST]


@pytest.mark.parametrize("folder", ["pipe:touch executed", "https://example.org/shards", "s3://b"])
def test_urls_and_commands_are_refused(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="URLs and commands are not read"):
        module(folder)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["pipe:touch executed", "..", "-", "https:x.tar", "a\nb.tar"])
def test_an_index_that_names_no_file_is_refused(damaged, name):
    index = read_index(damaged)
    first = index.of(TRAIN)[0]
    write_index(damaged, Index(index.settings, (replace(first, name=name), *index.shards[1:])))
    with pytest.raises(
        UserError, match="which is not a tar file in its folder|outside of its folder"
    ):
        module(damaged)


@pytest.mark.parametrize("samples", [-1, 10**12, "many"])
def test_an_index_with_absurd_numbers_is_refused(damaged, samples):
    path = damaged / "index.json"
    document = json.loads(path.read_text())
    document["shards"][0]["samples"] = samples
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match="the index gives train-00000.tar .* samples"):
        module(damaged)
