"""Damaged checkpoints, weights, indices, tars and rows: read as far as they are sound, or refused in a sentence."""

import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from children import in_a_child, mutated
from torch import nn

from lvis.backbone import WanTransformer
from lvis.data import ShardDataModule
from lvis.distill import checkpoints
from lvis.distill.ema import Average
from lvis.distill.records import Journal
from lvis.distill.state import TrainingState
from lvis.errors import UserError
from lvis.evaluate.clips import list_clips
from lvis.evaluate.table import own_rows
from lvis.files import sha256_of
from lvis.weights import load_transformer, save_transformer

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from shard_writing import FRAMES, SIZE, write_folder  # noqa: E402

STEPS = (1, 2)


def guarded(work: Callable[[], object]) -> Callable[[], None]:
    """As an entry point has it: a UserError is a sentence and status 2."""

    def run() -> None:
        try:
            work()
        except UserError as error:
            os.write(2, f"lvis: {error}\n".encode())
            raise SystemExit(2) from None

    return run


def training_state(value: float) -> TrainingState:
    net = nn.Linear(3, 2)
    nn.init.constant_(net.weight, value)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    nn.init.constant_(net.weight, value)
    return TrainingState({"student": net}, Average(net, 0.5), {"student": optimizer})


def write_checkpoints(folder: Path) -> None:
    for step in STEPS:
        state = training_state(step)
        checkpoints.save(folder, state.tensors(), {"step": step}, {"a": 1, "run": {"seed": 0}})


def read_checkpoints(folder: Path) -> None:
    found = checkpoints.load_newest(folder)
    if found is None:
        raise UserError("none")
    state = training_state(0)
    state.load(found)
    weight = state.nets["student"].weight
    # what is damaged is the newest or nothing
    assert bool((weight == found.counters["step"]).all()) and found.counters["step"] in STEPS
    assert found.run == {"seed": 0}


def read_forged_checkpoints(folder: Path) -> None:
    """The sums are made anew, as by someone who edits a checkpoint."""
    for path in folder.glob("step_*"):
        files = sorted(p.name for p in path.iterdir() if p.name != checkpoints.SUMS)
        lines = [f"{sha256_of(path / name)}  {name}\n" for name in files]
        (path / checkpoints.SUMS).write_text("".join(lines))
    found = checkpoints.load_newest(folder)
    if found is not None:
        training_state(0).load(found)
        assert isinstance(found.counters["step"], int) and isinstance(found.about, dict)


def write_weights(folder: Path) -> None:
    sizes = {"num_attention_heads": 2, "attention_head_dim": 12, "num_layers": 1, "ffn_dim": 32}
    save_transformer(WanTransformer(**sizes, text_dim=8, text_len=4, freq_dim=16), folder / "net")


def read_weights(folder: Path) -> None:
    net = load_transformer(str(folder / "net"), text_len=4)
    assert all(parameter.ndim for parameter in net.parameters())


def read_shards(folder: Path) -> None:
    data = ShardDataModule(str(folder), SIZE, FRAMES, num_workers=0, val_clips=2, max_bad=1.0)
    batches = iter(data.train_dataloader())
    for _ in range(4):
        assert next(batches)["video"].shape[-2:] == torch.Size(SIZE)
    list(data.val_dataloader())


def read_clips(folder: Path) -> None:
    for tar in sorted(folder.glob("*.tar")):
        for clip in list_clips(str(tar), None, FRAMES, SIZE, 0)[:2]:
            assert clip.load().shape[2] == FRAMES


def write_rows(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    row = {"clips": "c", "clip": "a", "task": "t", "vae": "v", "label": "l", "method": "pinv"}
    rows = [{**row, "psnr": 1.5 * n, "ssim": 0.5, "seed": n} for n in range(8)]
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def read_rows_(folder: Path) -> None:
    own_rows(folder / "results.jsonl")


def write_journal(folder: Path) -> None:
    journal = Journal(folder / "metrics.jsonl")
    journal.begin(0, [])
    for step in range(1, 9):
        journal.add(step, "train", {"likelihood": 0.5, "critic": 1.0})


def read_journal_(folder: Path) -> None:
    journal = Journal(folder / "metrics.jsonl")
    journal.begin(5, [])
    journal.add(6, "train", {"likelihood": 0.5})


KINDS: dict[str, tuple[Callable[[Path], object], Callable[[Path], object], str]] = {
    "checkpoint": (write_checkpoints, read_checkpoints, "step_*/*"),
    "checkpoint, sums made anew": (write_checkpoints, read_forged_checkpoints, "step_*/*"),
    "weights": (write_weights, read_weights, "net/*"),
    "shards": (lambda folder: write_folder(folder), read_shards, "*"),
    "tar of clips": (lambda folder: write_folder(folder), read_clips, "*.tar"),
    "rows": (write_rows, read_rows_, "*.jsonl"),
    "journal": (write_journal, read_journal_, "*.jsonl"),
}


@pytest.mark.slow
@pytest.mark.cases(200)
def test_damaged_files(table, cases, tmp_path):
    for kind, (write, read, _) in KINDS.items():
        (tmp_path / "whole").mkdir(exist_ok=True)
        write(tmp_path / "whole" / kind)
        shutil.copytree(tmp_path / "whole" / kind, tmp_path / "read" / kind)
        read(tmp_path / "read" / kind)
    for number in range(cases):
        rng = random.Random(f"{table.seed} {number}")
        kind = list(KINDS)[number % len(KINDS)]
        _, read, pattern = KINDS[kind]
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole" / kind, folder)
        path = rng.choice(sorted(p for p in folder.glob(pattern) if p.is_file()))
        how, content = mutated(path.read_bytes(), rng)
        path.write_bytes(content)
        ended = in_a_child(guarded(lambda read=read, folder=folder: read(folder)))
        right = ended.outcome in ("right", "refused")
        table.add(kind, ended.outcome, f"case {number}, {how}, {path}", ended.said, right)
        if right:
            shutil.rmtree(folder)
