"""WebDatasetModule: shards of the library's own writer, from files and over HTTP, split, shuffled and resumed."""

import json
import threading
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
import webdataset as wds
from shard_writing import FRAMES, SIZE, encode, grey

from lvis.cli.config import compose, plain
from lvis.cli.literal_paths import literal
from lvis.data import WebDatasetModule
from lvis.data.webdataset_decode import caption_of, decode_clip, fit
from lvis.errors import UserError
from lvis.train.command import open_data

SHARDS, PER_SHARD = 8, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shards 0 to 7 of five clips; clip n has its caption in a .txt if n is even, else in a .json."""
    folder = tmp_path_factory.mktemp("webdataset")
    with wds.ShardWriter(str(folder / "clips-%03d.tar"), maxcount=PER_SHARD, verbose=0) as writer:
        for clip in range(SHARDS * PER_SHARD):
            sample = {"__key__": f"video/{clip:04d}", "mp4": encode(grey(clip))}
            if clip % 2:
                sample["json"] = json.dumps({"caption": f"clip {clip}"}).encode()
            else:
                sample["txt"] = f"clip {clip}\n"
            writer.write(sample)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    """The folder over HTTP, on this machine only."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


def module(place, rank=0, world_size=1, pattern="clips-{000..007}.tar", **change):
    arguments = {"size": SIZE, "frames": FRAMES, "num_workers": 0, "val_clips": 0, "seed": 3}
    data = WebDatasetModule(f"{place}/{pattern}", **(arguments | {"shuffle": 4} | change))
    data.ranks = lambda: (rank, world_size)
    return data


def take(data, count, start=0):
    data.set_position(start * data.batch_size * data.ranks()[1])
    batches = iter(data.train_dataloader())
    return [next(batches) for _ in range(count)]


def clips(batches):
    return [int(prompt.split()[1]) for batch in batches for prompt in batch["prompt"]]


def test_a_batch_is_what_training_takes(folder):
    for batch in take(module(folder, batch_size=2), 3):
        assert batch["video"].shape == (2, 3, FRAMES, *SIZE)
        assert batch["video"].dtype == torch.float32 and batch["index"].dtype == torch.int64
        for video, clip in zip(batch["video"], clips([batch]), strict=True):
            # 8-bit YUV and H.264 move a flat grey by a level or two
            assert torch.allclose((video + 1) * 127.5, torch.tensor(float(grey(clip))), atol=3.0)
    assert batch["loader"]["clips"] == batch["loader"]["drawn"] == 6


def test_two_ranks_of_two_workers_read_every_clip_once_per_pass_and_resume_to_the_sample(folder):
    seen = []
    for rank in range(2):
        whole = take(module(folder, rank, 2, batch_size=2, num_workers=2), 20)
        seen += clips(whole[:10])
        # an odd number: the next batch is the second worker's
        resumed = take(module(folder, rank, 2, batch_size=2, num_workers=2), 13, start=7)
        assert clips(resumed) == clips(whole[7:])
        assert all(
            torch.equal(one["video"], other["video"])
            for one, other in zip(resumed, whole[7:], strict=True)
        )
        second = clips(whole[10:])
        assert second != clips(whole[:10])
    assert sorted(seen) == list(range(SHARDS * PER_SHARD))


def test_the_buffer_mixes_clips_and_the_seed_decides(folder):
    first = clips(take(module(folder), 20))
    assert clips(take(module(folder), 20)) == first
    assert clips(take(module(folder, seed=4), 20)) != first
    plain_order = clips(take(module(folder, shuffle=0), PER_SHARD))
    assert plain_order == list(range(plain_order[0], plain_order[0] + PER_SHARD))
    assert first[:PER_SHARD] != plain_order


def test_resampling_draws_shards_with_replacement_apart_on_each_rank_and_resumes(folder):
    options = {"resampled": True, "num_workers": 1, "pattern": "clips-{000..002}.tar"}
    ranks = [clips(take(module(folder, rank, 2, **options), 30)) for rank in range(2)]
    assert ranks[0] != ranks[1]
    assert max(Counter(ranks[0]).values()) > 2  # 30 clips of 15 in turn would be 2 each
    assert clips(take(module(folder, 0, 2, **options), 18, start=12)) == ranks[0][12:]


def test_shards_are_read_over_http_as_from_files(folder, server):
    read = clips(take(module(server, num_workers=2), 12))
    assert read == clips(take(module(folder, num_workers=2), 12))


def test_a_shard_that_the_server_does_not_have_is_named(server):
    data = module(server, pattern="clips-{098..099}.tar")
    with pytest.raises(UserError, match=r"clips-09\d\.tar cannot be read .* data.max_bad=0.05"):
        take(data, 1)


def test_a_few_lost_shards_are_said_and_passed_over(server, caplog):
    data = module(server, pattern="clips-{000..008}.tar", max_bad=1.0)
    assert sorted(clips(take(data, 40))) == list(range(40))
    assert "clips-008.tar is left out: it cannot be read" in caplog.text


def test_validation_is_the_last_shard_in_order_and_ranks_repeat_where_none_is_left(folder):
    for rank, mine in enumerate(([35, 37, 39], [36, 38])):
        data = module(folder, rank, 2, val_clips=8)
        batches = list(data.val_dataloader())
        assert clips(batch for batch in batches if not batch.get("repeat")) == mine
        assert len(batches) == 3
        assert max(clips(take(data, 35))) < 35
    data = module(folder, val_urls=f"{folder}/clips-000.tar", val_clips=3)
    assert clips(data.val_dataloader()) == [0, 1, 2]


def test_an_unusable_clip_is_replaced_by_the_next_and_resuming_agrees(folder, tmp_path, caplog):
    with wds.TarWriter(str(tmp_path / "mixed.tar")) as writer:
        for clip in range(6):
            content = b"damaged" if clip in (1, 2) else encode(grey(clip))
            writer.write({"__key__": f"{clip}", "mp4": content, "txt": f"clip {clip}"})
    options = {"pattern": "mixed.tar", "shuffle": 0}
    whole = clips(take(module(tmp_path, **options), 6))
    assert whole == [0, 3, 3, 3, 4, 5]
    for start in range(1, 6):
        assert clips(take(module(tmp_path, **options), 6 - start, start)) == whole[start:]
    assert "mixed.tar:1 is left out: it is not a readable video" in caplog.text
    with pytest.raises(UserError, match=r"2 of 3 samples .* mixed.tar:2"):
        take(module(tmp_path, **options, min_bad=1), 6)


def test_larger_clips_are_shrunk_and_cropped_and_frames_are_taken_at_the_rate():
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = 200
    assert fit(wide, 20, 20).shape == (20, 20, 3) and int(fit(wide, 20, 20).min()) == 200
    content = encode(90, size=(48, 64), frames=9)
    assert decode_clip(content, (32, 32), 4, None).shape == (3, 4, 32, 32)
    with pytest.raises(Exception, match="has 5 of 6 frames"):
        decode_clip(content, (32, 32), 6, 8.0)  # 9 frames at 16 per second are 5 at 8
    with pytest.raises(Exception, match="smaller than 64x64"):
        decode_clip(content, (64, 64), 4, None)


def test_captions_come_from_text_before_metadata():
    assert caption_of({"txt": b"a dog \n", "json": b'{"text": "a cat"}'}) == "a dog"
    assert caption_of({"json": b'{"text": "a cat"}'}) == "a cat"
    assert caption_of({"json": b'{"fps": 24}'}) == caption_of({}) == ""
    with pytest.raises(Exception, match="caption that is not text"):
        caption_of({"json": b'{"caption": 3}'})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"pattern": "clips-{000..009}.tar"}, "clips-008.tar, which does not exist"),
        ({"num_workers": 9}, "8 shards to train on for 9 readers"),
        ({"val_clips": 1, "pattern": "clips-000.tar"}, "none is left for validation"),
        ({"max_bad": 2}, "data.max_bad is 2"),
        ({"rate": 0}, "data.rate is 0"),
        ({"batch_size": 0}, "data.batch_size is 0"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(folder, change, sentence):
    with pytest.raises(UserError, match=sentence):
        module(folder, **change).train_dataloader()


def test_a_url_is_never_a_command():
    with pytest.raises(UserError, match="only local files and http"):
        WebDatasetModule("pipe:cat /dev/null", val_clips=0)


def test_the_command_line_takes_brace_patterns_as_they_are_typed(folder):
    urls = f"data.urls={folder}/clips-{{000..007}}.tar"
    cfg = compose("train", ["data=webdataset", *literal([urls]), "data.size=[32,32]"])
    assert plain(cfg.data)["urls"] == urls.removeprefix("data.urls=")
    data = open_data(cfg)
    assert len(data.urls) == 7 and data.identity.startswith("webdataset ")
    with pytest.raises(UserError, match="add data.urls="):
        open_data(compose("train", ["data=webdataset"]))
