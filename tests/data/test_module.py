"""The DataModule: the same samples whatever the workers, the ranks and the interruptions."""

import pytest
import torch
from hydra.utils import instantiate
from lightning import LightningModule, Trainer
from omegaconf import OmegaConf

from lvis.cli.config import CONF
from lvis.data import VideoDataModule, synthetic_clip
from lvis.data.module import StepStream
from lvis.data.synthetic import SyntheticVideos
from lvis.errors import UserError

SMALL = {"size": (16, 24), "frames": 2}


def take(loader, count):
    batches = iter(loader)
    return [next(batches) for _ in range(count)]


def test_workers_do_not_change_the_order_or_the_pixels():
    alone = take(VideoDataModule(**SMALL, batch_size=2).train_dataloader(), 5)
    helped = take(VideoDataModule(**SMALL, batch_size=2, num_workers=2).train_dataloader(), 5)
    for first, second in zip(alone, helped, strict=True):
        assert torch.equal(first["index"], second["index"])
        assert torch.equal(first["video"], second["video"])
        assert first["prompt"] == second["prompt"]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resuming_goes_on_with_the_next_clip(num_workers):
    whole = take(VideoDataModule(**SMALL, batch_size=2).train_dataloader(), 6)
    resumed = VideoDataModule(**SMALL, batch_size=2, num_workers=num_workers)
    resumed.set_position(6)
    for first, second in zip(whole[3:], take(resumed.train_dataloader(), 3), strict=True):
        assert torch.equal(first["index"], second["index"])
        assert torch.equal(first["video"], second["video"])


def test_position_can_be_set_after_the_loader_was_made():
    data = VideoDataModule(**SMALL, batch_size=2)
    loader = data.train_dataloader()
    data.set_position(8)
    assert next(iter(loader))["index"].tolist() == [8, 9]


def test_ranks_together_read_every_clip_once_and_in_order():
    videos = SyntheticVideos(0, 1, (16, 16), length=24)
    streams = [StepStream(videos, 2, rank, world_size=3) for rank in range(3)]
    assert {len(stream) for stream in streams} == {4}
    steps = zip(*(list(stream) for stream in streams), strict=True)
    order = [int(i) for step in steps for batch in step for i in batch["index"]]
    assert order == list(range(24))


def test_another_number_of_ranks_and_another_batch_skip_and_repeat_no_clip():
    videos = SyntheticVideos(0, 1, (16, 16), length=40)
    read, done = [], 0
    for ranks, batch, steps in ((2, 2, 3), (3, 1, 2), (1, 4, 2)):
        streams = [StepStream(videos, batch, rank, ranks) for rank in range(ranks)]
        for stream in streams:
            stream.first = done
        for _, step in zip(range(steps), zip(*streams, strict=True), strict=False):
            read += [int(i) for part in step for i in part["index"]]
        done += ranks * batch * steps
    assert read == list(range(done))


@pytest.mark.parametrize(("clips", "ranks"), [(4, 8), (1, 3), (5, 2), (6, 3), (3, 1)])
def test_every_validation_clip_counts_once_and_no_rank_waits(clips, ranks):
    data = VideoDataModule(**SMALL, val_clips=clips)
    found, lengths = [], set()
    for rank in range(ranks):
        data.ranks = lambda rank=rank: (rank, ranks)
        batches = list(data.val_dataloader())
        lengths.add(len(batches))
        found += [int(batch["index"]) for batch in batches if not batch.get("repeat")]
    assert sorted(found) == list(range(clips))
    assert lengths == {-(-clips // ranks)}


def test_ranks_get_equally_many_batches_when_the_clips_do_not_divide():
    videos = SyntheticVideos(0, 1, (16, 16), length=8)
    assert [len(list(StepStream(videos, 1, rank, 3))) for rank in range(3)] == [2, 2, 2]


def test_start_index_moves_the_whole_run():
    data = VideoDataModule(**SMALL, batch_size=2, start_index=100, seed=7)
    data.set_position(2)
    batch = next(iter(data.train_dataloader()))
    assert batch["index"].tolist() == [102, 103]
    assert torch.equal(batch["video"][0], synthetic_clip(7, 102, 2, (16, 24)).video)


def test_validation_is_a_fixed_set_from_the_other_split():
    data = VideoDataModule(**SMALL, seed=7, val_clips=3)
    first, second = list(data.val_dataloader()), list(data.val_dataloader())
    assert [int(batch["index"]) for batch in first] == [0, 1, 2]
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one["video"], other["video"])
    assert torch.equal(first[1]["video"][0], synthetic_clip(7, 1, 2, (16, 24), "val").video)


class Recorder(LightningModule):
    """Trains one number and notes which clips came."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.trained: list[int] = []
        self.validated: list[int] = []

    def training_step(self, batch, batch_idx):
        self.trained += batch["index"].tolist()
        return (self.weight - batch["video"].mean()) ** 2

    def validation_step(self, batch, batch_idx):
        self.validated += batch["index"].tolist()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_trainer_reads_the_clips_in_order_and_resumes_at_the_position(tmp_path):
    def run(position: int, steps: int) -> Recorder:
        recorder = Recorder()
        data = VideoDataModule(**SMALL, batch_size=2, num_workers=1, val_clips=2)
        data.set_position(position)
        trainer = Trainer(
            max_steps=steps,
            val_check_interval=steps,
            num_sanity_val_steps=0,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(recorder, datamodule=data)
        return recorder

    assert run(0, 5).trained == list(range(10))
    resumed = run(6, 2)
    assert resumed.trained == [6, 7, 8, 9]
    assert resumed.validated == [0, 1]


def test_the_configuration_builds_it():
    group = OmegaConf.load(CONF / "data" / "synthetic.yaml")
    config = OmegaConf.create(
        {
            "seed": 3,
            "model": {"size": [16, 24], "frames": 2},
            "distill": {"batch_size": 2},
            "data": group,
        }
    )
    data = instantiate(config.data)
    assert isinstance(data, VideoDataModule)
    assert next(iter(data.val_dataloader()))["video"].shape == (1, 3, 2, 16, 24)
    assert torch.equal(data.train_videos[5]["video"], synthetic_clip(3, 5, 2, (16, 24)).video)


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 0},
        {"num_workers": -1},
        {"val_clips": -1},
        {"start_index": -1},
        {"size": (8, 8)},
        {"frames": 0},
    ],
)
def test_impossible_settings_say_what_is_wrong(change):
    with pytest.raises(UserError, match=next(iter(change))):
        VideoDataModule(**(SMALL | change))
