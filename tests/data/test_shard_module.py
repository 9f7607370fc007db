"""ShardDataModule: the same batches whatever the workers, the ranks and the interruptions."""

import pytest
import torch
from hydra.utils import instantiate
from lightning import LightningModule, Trainer
from omegaconf import OmegaConf
from shard_writing import FRAMES, SIZE, grey

from lvis.cli.config import CONF
from lvis.data import ShardDataModule
from lvis.data.shard_format import HELD_OUT, TRAIN, Index, write_index
from lvis.errors import UserError

TRAINING, HELD = 11, 3


def module(folder, **change):
    arguments = {"size": SIZE, "frames": FRAMES, "batch_size": 2, "num_workers": 0, "seed": 7}
    return ShardDataModule(folder, **(arguments | {"shuffle": 4} | change))


def take(loader, count):
    batches = iter(loader)
    return [next(batches) for _ in range(count)]


def same(one, other):
    return (
        torch.equal(one["index"], other["index"])
        and torch.equal(one["video"], other["video"])
        and one["prompt"] == other["prompt"]
    )


def of_rank(folder, rank, world_size, batch_size, count):
    data = module(folder, batch_size=batch_size)
    data.ranks = lambda: (rank, world_size)
    return take(data.train_dataloader(), count)


def test_a_batch_is_what_training_takes(shards):
    for batch in take(module(shards).train_dataloader(), 6):
        assert batch["video"].shape == (2, 3, FRAMES, *SIZE)
        assert batch["video"].dtype == torch.float32 and batch["index"].dtype == torch.int64
        for video, prompt, index in zip(
            batch["video"], batch["prompt"], batch["index"].tolist(), strict=True
        ):
            clip = int(prompt.split()[1])
            # the clips are numbered in the order of the index
            assert clip == index
            # 8-bit YUV and H.264 move a flat grey by a level or two
            level = (video + 1) * 127.5
            assert torch.allclose(level, torch.tensor(float(grey(clip))), atol=3.0)


def test_embeddings_come_along_where_there_are_any(shards):
    for batch in take(module(shards, batch_size=TRAINING).train_dataloader(), 1):
        for index, embedding in zip(batch["index"].tolist(), batch["embedding"], strict=True):
            if index % 2:
                assert embedding is None
            else:
                assert torch.equal(embedding, torch.full((3, 4), float(index)))


def test_every_clip_comes_once_a_pass_and_none_is_held_out(shards):
    batches = take(module(shards, batch_size=1).train_dataloader(), 3 * TRAINING)
    seen = [int(batch["index"]) for batch in batches]
    for begin in range(0, 3 * TRAINING, TRAINING):
        assert sorted(seen[begin : begin + TRAINING]) == list(range(TRAINING))
    assert all(int(batch["prompt"][0].split()[1]) < 1000 for batch in batches)


def test_workers_do_not_change_a_batch(shards):
    alone = take(module(shards).train_dataloader(), 8)
    helped = take(module(shards, num_workers=2).train_dataloader(), 8)
    assert all(map(same, alone, helped))
    assert helped[-1]["loader"]["clips"] >= 16  # the counts of both workers


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resuming_goes_on_with_the_next_clip(shards, num_workers):
    whole = take(module(shards).train_dataloader(), 9)
    resumed = module(shards, num_workers=num_workers)
    resumed.set_position(10)
    assert all(map(same, whole[5:], take(resumed.train_dataloader(), 4)))


def test_position_can_be_set_after_the_loader_was_made(shards):
    whole = take(module(shards).train_dataloader(), 5)
    data = module(shards)
    loader = data.train_dataloader()
    data.set_position(8)
    assert same(next(iter(loader)), whole[4])


def test_two_ranks_make_the_global_batches_of_one(shards):
    one = of_rank(shards, 0, 1, 4, 6)
    two = [of_rank(shards, rank, 2, 2, 6) for rank in range(2)]
    for step, batch in enumerate(one):
        parts = [two[rank][step]["index"] for rank in range(2)]
        assert torch.equal(torch.cat(parts), batch["index"])


def test_validation_is_the_held_out_clips_in_order(shards):
    batches = list(module(shards, val_clips=8).val_dataloader())
    assert [batch["prompt"] for batch in batches] == [[f"clip {1000 + n}"] for n in range(HELD)]
    assert len(list(module(shards, val_clips=2).val_dataloader())) == 2
    assert module(shards, val_clips=0).val_dataloader() == []


@pytest.mark.parametrize("ranks", [2, 5])
def test_ranks_divide_the_validation_and_repeat_where_none_is_left(shards, ranks):
    data, counted, lengths = module(shards), [], set()
    for rank in range(ranks):
        data.ranks = lambda rank=rank: (rank, ranks)
        batches = list(data.val_dataloader())
        lengths.add(len(batches))
        counted += [batch["prompt"] for batch in batches if not batch.get("repeat")]
    assert sorted(counted) == [[f"clip {1000 + n}"] for n in range(HELD)]
    assert len(lengths) == 1


def test_the_loader_says_what_it_achieves(shards):
    loader = take(module(shards).train_dataloader(), 3)[-1]["loader"]
    assert loader["clips"] == loader["drawn"] == 6 and loader["bad"] == 0
    assert loader["clips_per_second"] > 0 and loader["megabytes_per_second"] > 0
    assert loader["waited"] > 0


class Recorder(LightningModule):
    """Trains one number and notes which clips came."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.trained: list[int] = []

    def training_step(self, batch, batch_idx):
        self.trained += batch["index"].tolist()
        return (self.weight - batch["video"].mean()) ** 2

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_trainer_loses_no_clip_when_it_resumes(shards, tmp_path, num_workers):
    def run(position: int, steps: int) -> list[int]:
        recorder = Recorder()
        data = module(shards, num_workers=num_workers)
        data.set_position(position)
        trainer = Trainer(
            max_steps=steps,
            limit_val_batches=0,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(recorder, datamodule=data)
        return recorder.trained

    assert run(0, 3) + run(6, 2) == run(0, 5)


def test_the_configuration_builds_it(shards):
    config = OmegaConf.create(
        {
            "seed": 3,
            "model": {"size": list(SIZE), "frames": FRAMES},
            "distill": {"batch_size": 2},
            "data": OmegaConf.load(CONF / "data" / "shards.yaml"),
        }
    )
    with pytest.raises(Exception, match="data.folder"):
        instantiate(config.data)
    config.data.folder = str(shards)
    data = instantiate(config.data)
    assert isinstance(data, ShardDataModule)
    assert next(iter(data.val_dataloader()))["video"].shape == (1, 3, FRAMES, *SIZE)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"batch_size": 0}, "data.batch_size is 0"),
        ({"num_workers": -1}, "data.num_workers is -1"),
        ({"val_clips": -1}, "data.val_clips is -1"),
        ({"max_bad": 1.5}, "data.max_bad is 1.5"),
        ({"verify": "md5"}, "data.verify is 'md5'"),
        ({"size": (16, 32)}, r"data.size=\[16, 32\] but the clips of .* are \[32, 32\]"),
        ({"frames": 9}, "data.frames=9 but the clips of .* have 5"),
    ],
)
def test_impossible_settings_say_what_is_wrong(shards, change, sentence):
    with pytest.raises(UserError, match=sentence):
        module(shards, **change)


def test_fewer_frames_are_the_first_ones(shards):
    whole, short = (take(module(shards, frames=n).train_dataloader(), 1)[0] for n in (FRAMES, 3))
    assert torch.equal(whole["video"][:, :, :3], short["video"])


def test_no_held_out_clips_is_said(damaged):
    data = module(damaged)
    assert data.index.of(HELD_OUT)
    write_index(damaged, Index(data.index.settings, data.index.of(TRAIN)))
    with pytest.raises(UserError, match="no held-out clips"):
        module(damaged)
    assert module(damaged, val_clips=0).val_dataloader() == []
