"""The paper's presets: the paper's numbers, from one word, and within the memory of its GPUs."""

import pytest
from omegaconf import OmegaConf

from lvis.cli.config import compose
from lvis.errors import UserError
from lvis.plan.command import plan
from lvis.train.command import open_data
from lvis.train.settings import check_values

GB = 10**9
# supplement, section 1
WEIGHTS = {"inpaint": 0.1, "deblur": 1.0, "sr4": 0.3}
BATCH = {"wan": 2, "lean": 4}


@pytest.mark.parametrize("task", WEIGHTS)
@pytest.mark.parametrize("vae", BATCH)
def test_a_preset_is_the_papers_training(task, vae):
    cfg = compose("train", [f"experiment=instantvir_{vae}_{task}", "output=x", "data.folder=x"])
    distill = cfg.distill
    assert (cfg.task.name, cfg.vae.name, cfg.model.name) == (task, vae, "wan1_3b")
    assert distill.likelihood_weight == WEIGHTS[task]
    assert distill.prior_on_masked_only == (task == "inpaint")
    assert distill.batch_size == BATCH[vae]
    assert (cfg.trainer.strategy, cfg.trainer.devices) == ("fsdp", 8)
    assert cfg.data["_target_"] == "lvis.data.ShardDataModule"
    assert (list(cfg.data.size), cfg.data.frames) == ([480, 832], 81)
    assert (distill.student_learning_rate, distill.clip_norm) == (2e-6, 1.0)
    assert (distill.shift, distill.guidance_scale, distill.ratio) == (8.0, 3.5, 5)
    assert (distill.warmup_steps, distill.block_size) == (1000, 3)
    assert (distill.use_text, distill.critic_loss) == (False, "flow")
    # the measurement is encoded in float32; only what the prior sees is bridged in bfloat16
    expected = {"wan": "float32", "lean": "bfloat16"}
    assert cfg.model.teacher_vae.encode_dtype == expected[vae]
    assert cfg.vae.module.encode_dtype == "float32"


def test_a_preset_without_its_shards_is_one_sentence():
    cfg = compose("train", ["experiment=instantvir_lean_inpaint", "output=x"])
    assert OmegaConf.is_missing(cfg.data, "folder")
    with pytest.raises(UserError, match="data.folder=SHARDS"):
        open_data(cfg)


def test_prompts_are_a_preset_beside_it():
    overrides = ["experiment=instantvir_lean_deblur", "distill=paper_text", "output=x"]
    distill = compose("train", overrides).distill
    assert distill.use_text and distill.likelihood_weight == 1.0


@pytest.mark.parametrize(
    ("overrides", "filter"),
    [
        (["model=wan1_3b", "solver=avis"], "average"),
        (["model=wan1_3b", "solver=avis_flash"], "average"),
        (["model=wan1_3b"], "cubic"),
        (["solver=avis"], "cubic"),
    ],
)
def test_avis_has_its_own_x4_at_full_size(overrides, filter):
    cfg = compose("evaluate", ["task=sr4", *overrides])
    assert cfg.task.operator.filter == filter


def test_avis_to_the_letter_differs_in_its_correction_only():
    plain, letter = (
        OmegaConf.to_container(compose("evaluate", [f"solver={name}"]).solver, resolve=True)
        for name in ("avis", "avis_paper")
    )
    assert letter == {**plain, "correction_steps": 5}


@pytest.mark.slow
@pytest.mark.parametrize("vae", BATCH)
def test_the_papers_batch_fits_80_gb_with_a_tenth_to_spare(vae):
    cfg = compose("plan", [f"experiment=instantvir_{vae}_inpaint", "devices=8"])
    assert plan(cfg)["memory"]["peak_bytes"] < 72 * GB


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "vae", "most"),
    [("instantvir_lora", "lean", 72), ("instantvir_lora", "wan", 72), ("instantvir_lora_40gb", "lean", 36)],
)  # fmt: skip
def test_the_presets_with_adapters_fit_their_gpu_with_a_tenth_to_spare(preset, vae, most):
    cfg = compose("plan", [f"experiment={preset}", "task=inpaint", f"vae={vae}"])
    assert plan(cfg)["memory"]["peak_bytes"] < most * GB


def test_a_preset_by_name_is_the_training_of_its_task_and_vae():
    chosen, named = (
        compose("train", [*words, "data.folder=x", "output=x"])
        for words in (
            ["experiment=instantvir", "task=deblur", "vae=wan"],
            ["experiment=instantvir_wan_deblur"],
        )
    )
    assert OmegaConf.to_container(chosen) == OmegaConf.to_container(named)


def test_the_14b_is_distilled_by_the_same_words():
    cfg = compose("train", ["experiment=instantvir_lora", "model=wan14b", "output=x"])
    assert cfg.model.teacher.config.num_layers == 40 and cfg.model.teacher.config.text_dim == 4096
    assert cfg.model.teacher_vae.source == "hub:Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
    assert cfg.model.prior.source is None
    assert (list(cfg.distill.size), cfg.distill.lora.rank) == ([480, 832], 64)


def test_the_5b_is_distilled_in_its_own_latents():
    words = ["experiment=instantvir_lora", "model=wan2_2_5b", "output=x"]
    check_values(compose("train", [*words, "vae=wan"]))
    with pytest.raises(UserError, match="model=wan2_2_5b has no VAE for vae=lean"):
        check_values(compose("train", [*words, "vae=lean"]))
