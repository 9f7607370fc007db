"""The plan of a run: it agrees with a real step, and sharding and checkpointing do what they are for."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from lvis.cli.config import compose
from lvis.distill.build import build_losses, settings_from
from lvis.distill.parallel import share_clips
from lvis.errors import UserError
from lvis.plan.command import plan
from lvis.plan.gpus import GPUS, gpu_of
from lvis.plan.ledger import CONVOLUTION, HALF
from lvis.plan.memory import (
    count,
    gradient_bytes,
    largest_group,
    persistent_parts,
    strategy_of,
)
from lvis.plan.networks import (
    Embeddings,
    fake_mode,
    parameter_bytes,
    planned_losses,
    within,
    without_storage,
)
from lvis.plan.operations import hours, step_operations
from lvis.plan.step import Phase, Step, transformer_activations

SMALL = ["distill.size=[32,32]", "distill.frames=9"]


def planned(*overrides: str) -> dict:
    return plan(compose("plan", [*SMALL, *overrides]))


def test_every_part_agrees_with_a_real_step(tmp_path):
    result = planned("check=true", "vae=lean", f"output={tmp_path}")
    assert len(result["check"]) > 15
    for name, (expected, measured) in result["check"].items():
        if "resident set" not in name:  # the allocator's and the kernels' too
            assert expected == pytest.approx(measured, rel=0.03), name
    written = json.loads((tmp_path / "plan.json").read_text())
    assert written["memory"]["peak_bytes"] == result["memory"]["peak_bytes"]
    assert "| teacher weights |" in (tmp_path / "plan.md").read_text()


def test_the_paper_s_transformer_has_its_size_and_no_storage():
    teacher = without_storage(compose("plan", ["experiment=instantvir_wan_sr4"]).model.teacher)
    assert count(teacher) == 1_418_996_800
    assert all(p.device.type == "meta" for p in teacher.parameters())
    # a block's 46 M parameters outweigh what is outside of the blocks
    assert largest_group(teacher) == parameter_bytes(teacher.net.blocks[0])


def test_sharding_divides_and_ddp_does_not():
    cfg = compose("plan", SMALL)
    losses = planned_losses(cfg, settings_from(cfg), fake_mode())
    alone, copied, spread = (
        persistent_parts(losses, strategy_of(name, devices), None)
        for name, devices in (("single", 1), ("ddp", 8), ("fsdp", 8))
    )
    for part in ("teacher weights", "student weights", "critic weights", "student Adam moments"):
        assert spread[part] == alone[part] / 8
        assert copied[part] == alone[part]
    assert spread["VAE weights"] == alone["VAE weights"]
    assert gradient_bytes(losses, strategy_of("fsdp", 8)) == alone["student weights"] / 8
    assert copied["DDP gradient buckets"] == alone["student weights"] + alone["critic weights"]
    assert 0 < spread["FSDP unsharded groups"] < alone["student weights"]


def test_checkpointing_and_micro_batches_save_memory():
    whole = planned("distill.batch_size=2", "vae=wan")
    split = planned(
        "distill.batch_size=2",
        "distill.accumulate=2",
        "vae=wan",
        "distill.checkpoint_activations=true",
        "distill.prior_weight=0",
    )
    assert split["memory"]["peak_bytes"] < whole["memory"]["peak_bytes"]
    kept = "student activations, one micro-batch, with{} checkpointing"
    temporary = whole["memory"]["for a while"]
    assert temporary[kept.format("")] < temporary[kept.format("out")] / 4
    half = split["memory"]["for a while"][kept.format("")]
    assert half == pytest.approx(temporary[kept.format("")] / 2, rel=0.1)
    # without prior there is no critic
    assert "critic Adam moments" not in split["memory"]["persistent"]
    assert set(split["operations"]) == {"student update", "average step"}
    assert split["operations"]["student update"]["by kind"]["recompute"] > 0


def test_adapters_leave_one_copy_of_the_weights_and_moments_of_their_own():
    def parts(*words: str) -> dict[str, float]:
        cfg = compose("plan", [*SMALL, "distill.zero_head=false", *words])
        losses = planned_losses(cfg, settings_from(cfg), fake_mode())
        return persistent_parts(losses, strategy_of("single", 1), None)

    whole, adapted = parts(), parts("distill.lora={rank: 4}")
    assert adapted["teacher weights"] == whole["teacher weights"] == whole["student weights"]
    for net in ("student", "critic"):
        # what the teacher has not is adapters, and AdamW keeps two moments of them and a count for each
        adapters = adapted[f"{net} weights"]
        assert 0 < adapters < whole[f"{net} weights"] / 10
        assert 2 * adapters < adapted[f"{net} Adam moments"] < 2.1 * adapters
    assert adapted["student average (EMA)"] == adapted["student weights"]
    more = parts("distill.lora={rank: 8}")
    assert more["critic weights"] == 2 * adapted["critic weights"]


def test_processes_that_share_a_clip_share_its_activations():
    def of(sharing: int) -> dict:
        # tokens must outweigh text and time, which each process has as a whole
        shape = ("distill.size=[128,128]", "devices=2", "trainer=ddp")
        return planned(*shape, f"trainer.sequence_parallel={sharing}")

    alone, shared = of(1), of(2)
    kept = "student activations, one micro-batch, without checkpointing"
    one, half = (plan["memory"]["for a while"][kept] for plan in (alone, shared))
    assert 0.5 * one <= half < 0.6 * one
    for kind in ("critic update", "student update"):
        peaks = [plan["memory"]["moments"][kind]["bytes"] for plan in (alone, shared)]
        assert peaks[1] < peaks[0]
    # the same weights on each, half of the products, and a clip less per step
    weights = [plan["memory"]["persistent_bytes"] for plan in (alone, shared)]
    assert weights[0] == weights[1]
    operations = [plan["operations"]["critic update"]["by stage"]["critic"] for plan in (alone, shared)]  # fmt: skip
    assert operations[1] == pytest.approx(operations[0] / 2, rel=0.15)
    assert alone["time"]["clips seen"] == 2 * shared["time"]["clips seen"]
    assert "per 2 GPUs" in shared["what"]["clips"]


@pytest.mark.slow
def test_a_share_of_a_clip_is_planned_as_it_is(tmp_path):
    """The stand-in for the other process leaves what a process of a real group keeps."""
    cfg = compose("plan", [*SMALL, "devices=2", "trainer=ddp", "trainer.sequence_parallel=2"])
    losses = planned_losses(cfg, settings_from(cfg), mode := fake_mode())
    with within(mode):
        found = transformer_activations(losses, LATENTS, checkpointing=False)
    measured = tmp_path / "measured"
    multiprocessing.spawn(measure_share, (str(tmp_path / "store"), str(measured)), nprocs=2)
    assert found == pytest.approx(float(measured.read_text()), rel=0.01)


LATENTS = (1, 16, 3, 4, 4)


def measure_share(rank: int, store: str, measured: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    cfg = compose("plan", SMALL)
    losses = build_losses(cfg, settings_from(cfg))
    losses.encode_text = Embeddings(
        losses.student.text_len or cfg.model.text_len, losses.student.text_dim
    )
    share_clips((losses.student,), 2)
    kept = transformer_activations(losses, LATENTS, checkpointing=False)
    if rank == 0:
        Path(measured).write_text(str(kept))
    distributed.barrier()
    distributed.destroy_process_group()


def test_the_average_step_is_one_student_update_to_five_of_the_critic():
    settings = settings_from(compose("plan", ["distill.accumulate=2", "distill.batch_size=2"]))
    phases = [
        Phase(Counter(), "", Counter(), 0.0, Counter({("net", "forward", HALF): operations}))
        for operations in (1000, 100, 10)
    ]
    operations = step_operations(Step(*phases), settings)
    assert operations["average step"].total() == 2 * (1000 + 5 * 100 + 4 * 10) / 5


def test_hours_follow_the_rate_the_precision_and_the_assumed_share():
    work = Counter({("net", "forward", HALF): 312 * 10**12})
    gpu = gpu_of("a100")
    assert gpu.seconds(work, 1.0) == pytest.approx(1)
    assert hours(work, 3600, gpu, 0.5) == pytest.approx(2)
    assert gpu.seconds(Counter({("net", "forward", CONVOLUTION): 312 * 10**12}), 1.0) > 1.5
    assert hours(work, 3600, gpu_of("h100"), 0.5) < 1


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("gpu=v100", ", ".join(GPUS)),
        ("mfu=0", "mfu=0"),
        ("devices=0", "devices=0"),
        ("trainer.sequence_parallel=2", "sequence_parallel=2 does not divide devices=1"),
        ("trainer.strategy=deepspeed", "deepspeed"),
    ],
)
def test_bad_input_is_one_sentence(override, said):
    with pytest.raises(UserError, match=said):
        planned(override)


def test_strategies_by_lightnings_names():
    assert strategy_of("auto", 1).name == "single"
    assert strategy_of("auto", 2).name == "ddp"
    assert strategy_of("ddp_find_unused_parameters_true", 8).name == "ddp"
    with pytest.raises(UserError, match="devices=2"):
        strategy_of("single_device", 2)


def test_a_plan_for_gpus_needs_none():
    assert planned("trainer=fsdp", "devices=8")["memory"]["peak_bytes"] > 0


def test_an_operator_that_iterates_is_one_sentence():
    """Found by tests/fuzz."""
    with pytest.raises(UserError, match="task=sr_plus iterates until it converges"):
        planned("task=sr_plus")
