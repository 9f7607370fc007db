"""`lvis.train.command.train` on a composed configuration, with weights that take seconds to train."""

import signal
import sys
from typing import ClassVar

import pytest
import torch
from omegaconf import OmegaConf
from small_training import configuration

from lvis.cli.config import compose
from lvis.data import VideoDataModule
from lvis.distill import checkpoints
from lvis.distill.preemption import EXIT_REQUEUE
from lvis.distill.records import read_journal
from lvis.errors import UserError
from lvis.train.command import train
from lvis.weights import load_student


def test_training_leaves_a_student_metrics_and_clips(weights, tmp_path, capsys):
    cfg = configuration(weights, tmp_path, "logger=csv", "trainer.validate_every=2")
    metrics, objects = train(cfg)
    assert (metrics["step"], metrics["student_step"], metrics["critic_step"]) == (4, 2, 4)
    assert objects["exit_code"] == 0
    for name in ("student", "baseline", "ceiling"):
        assert 0 < metrics[f"{name}_psnr"] < 100 and -1 <= metrics[f"{name}_ssim"] <= 1

    lines = read_journal(tmp_path / "metrics.jsonl")
    trained = [line for line in lines if line["kind"] == "train"]
    assert [line["step"] for line in trained] == [1, 2, 3, 4]
    assert {"likelihood", "prior", "total", "critic", "student_gradient", "critic_gradient"} <= set(
        trained[0]
    )
    assert [line["step"] for line in lines if line["kind"] == "validation"] == [2, 4]
    assert len(list((tmp_path / "validation").glob("*.mp4"))) == 2
    assert len(list((tmp_path / "validation").glob("*.png"))) == 2
    assert list((tmp_path / "csv").rglob("metrics.csv"))

    student, record = load_student(str(tmp_path / "student"))
    averages = objects["module"].average.values
    assert all(torch.equal(averages[name], p) for name, p in student.named_parameters())
    assert (record["task"], record["vae"], record["timestep"]) == ("inpaint", "lean", 522)
    assert record["parametrization"] == "flow" and record["input"] == "lift"

    shown = capsys.readouterr().err
    for part in ("inpaint", "9 frames of 32 x 32", "2 critic updates", "GiB", "D' -> E"):
        assert part in shown


def test_the_same_command_resumes_where_it_was(weights, tmp_path):
    train(configuration(weights, tmp_path / "whole", "trainer.validate_every=0"))
    short = ("trainer.validate_every=0", "trainer.max_steps=2")
    train(configuration(weights, tmp_path / "parts", *short))
    train(configuration(weights, tmp_path / "parts", "trainer.validate_every=0"))
    whole, parts = (
        checkpoints.load_newest(tmp_path / name / "checkpoints").tensors()
        for name in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    steps = [line["step"] for line in read_journal(tmp_path / "parts" / "metrics.jsonl")]
    assert steps == [1, 2, 3, 4]


def test_what_a_line_reports_are_means_over_its_steps(weights, tmp_path):
    train(configuration(weights, tmp_path, "trainer.validate_every=0", "trainer.log_every=4"))
    (line,) = read_journal(tmp_path / "metrics.jsonl")
    assert line["step"] == 4
    # the student's last update was two steps ago
    assert {"likelihood", "critic"} <= set(line)


class Signalling(VideoDataModule):
    """Asks the process to stop while step 2 is read."""

    def train_dataloader(self):
        for step, batch in enumerate(super().train_dataloader()):
            if step == 1:
                signal.raise_signal(signal.SIGTERM)
            yield batch


class Recording(VideoDataModule):
    """Notes the number of every clip that is trained on."""

    read: ClassVar[list[list[int]]] = []

    def train_dataloader(self):
        for batch in super().train_dataloader():
            self.read.append(batch["index"].tolist())
            yield batch


def test_a_run_goes_on_with_the_next_clip_when_its_batch_changes(weights, tmp_path):
    sys.modules["recording_data"] = sys.modules[__name__]
    Recording.read.clear()
    for batch, steps in ((1, 2), (3, 4), (2, 5)):
        overrides = (f"distill.batch_size={batch}", f"trainer.max_steps={steps}")
        cfg = configuration(weights, tmp_path, "trainer.validate_every=0", *overrides)
        OmegaConf.update(cfg, "data._target_", "recording_data.Recording")
        train(cfg)
    # a loader of no length is read one batch ahead, which is no part of the training
    trained = [Recording.read[n] for n in (0, 1, 3, 4, 6)]
    assert trained == [[0], [1], [2, 3, 4], [5, 6, 7], [8, 9]]


def test_a_signal_saves_and_ends_the_run_at_a_step_boundary(weights, tmp_path):
    cfg = configuration(weights, tmp_path, "trainer.validate_every=0", "trainer.max_steps=50")
    sys.modules["signalling_data"] = sys.modules[__name__]
    OmegaConf.update(cfg, "data._target_", "signalling_data.Signalling")
    metrics, objects = train(cfg)
    assert metrics["step"] < 50
    assert objects["exit_code"] == EXIT_REQUEUE
    assert (tmp_path / "checkpoints" / f"step_{metrics['step']:08d}").exists()


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("distill.frames=10", r"distill.frames=10 does not fill blocks .* use 9, 21, 33"),
        ("distill.size=[40,32]", r"distill.size=\[40,32\] must be a multiple of 16"),
        ("distill.accumulate=2", "distill.batch_size=1 does not divide by distill.accumulate=2"),
        (
            "trainer.sequence_parallel=2",
            "trainer.sequence_parallel=2 does not divide the 1 process",
        ),
        ("trainer.log_every=0", "trainer.log_every=0 must be greater than or equal to 1"),
    ],
)
def test_values_out_of_range_are_named(weights, tmp_path, override, sentence):
    with pytest.raises(UserError, match=sentence):
        train(configuration(weights, tmp_path, override))


def test_missing_weights_are_listed_in_one_sentence(tmp_path):
    nowhere = tmp_path / "nowhere"
    sources = [
        f"model.{part}.source={nowhere}" for part in ("teacher", "teacher_vae", "text_encoder")
    ]
    cfg = compose("train", ["model=wan1_3b", "vae=wan", f"output={tmp_path}", *sources])
    with pytest.raises(UserError, match="model.teacher") as error:
        train(cfg)
    assert "model.teacher_vae" in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_key_is_refused():
    with pytest.raises(UserError, match="lambda"):
        compose("train", ["distill.lambda=1"])
