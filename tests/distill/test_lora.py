"""Adapters: what they change, what they share, and that what is exported is what was trained."""

import json

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file

from lvis.cli.config import compose
from lvis.distill.build import networks, settings_from
from lvis.distill.lora import FILE, Lora, adapted, merged_state, save_adapters, trained
from lvis.distill.module import Distillation
from lvis.distill.settings import Settings
from lvis.errors import UserError
from lvis.weights import load_transformer, save_transformer

pytest.importorskip("peft")
LORA = Lora(rank=3, alpha=6)


def drawn(net):
    """Adapters that change something."""
    for number, (_, parameter) in enumerate(trained(net)):
        generator = torch.Generator().manual_seed(number)
        parameter.data.normal_(std=0.3, generator=generator)
    return net


def velocity(net, **options):
    generator = torch.Generator().manual_seed(7)
    latents = torch.randn(1, 16, 3, 4, 4, generator=generator)
    text = torch.randn(1, 4, net.text_dim, generator=generator)
    with torch.no_grad():
        return net(latents, torch.tensor([500.0]), text, **options)


@pytest.fixture
def teacher(make_losses):
    return make_losses().teacher


def test_adapters_start_as_the_teacher_and_share_its_tensors(teacher):
    student = adapted(teacher, LORA)
    torch.testing.assert_close(velocity(student), velocity(teacher), atol=0, rtol=0)
    storages = {parameter.data_ptr() for parameter in teacher.parameters()}
    updated = dict(trained(student))
    for name, parameter in student.named_parameters():
        assert (name in updated) == (parameter.data_ptr() not in storages), name
    per_matrix = {name: parameter.numel() for name, parameter in updated.items()}
    # two layers: eight square matrices of 24 and two of 24 x 32
    assert sum(per_matrix.values()) == 2 * 3 * (8 * (24 + 24) + 2 * (24 + 32))


def test_targets_choose_the_matrices(teacher):
    student = adapted(teacher, Lora(rank=2, targets=("feed_forward",)))
    assert all(".ffn." in name for name, _ in trained(student))


@pytest.mark.parametrize("block_size", [None, 3])
def test_what_is_merged_computes_what_was_trained(teacher, block_size, tmp_path):
    student = drawn(adapted(teacher, LORA))
    before = velocity(teacher)
    save_transformer(teacher, tmp_path, state=merged_state(student, {}, LORA))
    merged = load_transformer(str(tmp_path), text_len=4)
    expected = velocity(student, block_size=block_size)
    torch.testing.assert_close(
        velocity(merged, block_size=block_size), expected, atol=1e-5, rtol=1e-5
    )
    assert (expected - velocity(teacher, block_size=block_size)).abs().max() > 1e-2
    # nothing was written into the weights that are shared
    torch.testing.assert_close(velocity(teacher), before, atol=0, rtol=0)


def test_diffusers_loads_the_adapters(teacher, tmp_path):
    student = drawn(adapted(teacher, LORA))
    save_transformer(teacher, tmp_path)
    save_adapters(tmp_path, dict(trained(student)), LORA)
    theirs = WanTransformer3DModel.from_pretrained(tmp_path)
    theirs.load_lora_adapter(load_file(tmp_path / FILE), prefix="transformer")
    generator = torch.Generator().manual_seed(7)
    latents = torch.randn(1, 16, 3, 4, 4, generator=generator)
    text = torch.randn(1, 4, student.text_dim, generator=generator)
    with torch.no_grad():
        found = theirs(latents, torch.tensor([500.0]), text, return_dict=False)[0]
    torch.testing.assert_close(found, velocity(student), atol=1e-4, rtol=1e-4)


def test_a_training_changes_the_adapters_alone_and_resumes(make_module, fit):
    def fresh() -> Distillation:
        module = make_module(lora={"rank": 2}, ratio=2)
        losses, lora = module.losses, module.settings.lora
        losses.student = adapted(losses.teacher, lora, 0)
        losses.critic = adapted(losses.teacher, lora, 1)
        return Distillation(losses)

    module = fresh()
    frozen = {name: value.clone() for name, value in module.losses.teacher.state_dict().items()}
    metrics = fit(module, 4)
    assert all("critic" in step for step in metrics) and metrics[0]["student_gradient"] > 0
    for name, value in module.losses.teacher.state_dict().items():
        torch.testing.assert_close(value, frozen[name], atol=0, rtol=0)
    names = module.training_state().tensors()
    assert all("lora_" in name for name in names)
    assert any(name.startswith("critic_optimizer/") for name in names)

    part, again = fresh(), fresh()
    fit(part, 2)
    again.training_state().load(Saved(part.training_state().tensors()))
    for counter in ("step", "samples", "student_step", "critic_step"):
        setattr(again, counter, getattr(part, counter))
    fit(again, 4)
    for name, value in module.training_state().tensors().items():
        torch.testing.assert_close(again.training_state().tensors()[name], value, atol=0, rtol=0)


class Saved:
    """A checkpoint in memory."""

    def __init__(self, tensors) -> None:
        self.values = {name: value.clone() for name, value in tensors.items()}

    def names(self):
        return set(self.values)

    def rows(self, name, begin, end):
        value = self.values[name]
        return value[begin:end] if value.ndim else value


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("{rank: 0}", "distill.lora"),
        ("{rank: 4, targets: [everything]}", "distill.lora"),
        ("{rank: 4, targets: []}", "targets"),
        ("{alpha: 4}", "distill.lora"),
        ("{rank: 4, rnak: 3}", "distill.lora"),
    ],
)
def test_what_is_no_adapter_is_one_sentence(value, sentence):
    with pytest.raises(UserError, match=sentence):
        settings_from(compose("train", ["output=x", f"distill.lora={value}"]))


def test_a_zeroed_head_and_the_operators_channels_are_trained_whole():
    cfg = compose(
        "train",
        ["output=x", "distill.lora={rank: 2}", "distill.zero_head=true"]
        + ["distill.student_sees_operator=true"],
    )
    settings = settings_from(cfg)
    assert isinstance(settings, Settings)
    origin = load_transformer("bundled:tiny/teacher")
    student, teacher, critic = networks(cfg, settings, origin)
    updated = {name for name, _ in trained(student) if "lora_" not in name}
    assert updated == {
        f"net.{layer}.{kind}"
        for layer in ("proj_out", "patch_embedding")
        for kind in ("weight", "bias")
    }
    assert student.net.proj_out.weight.abs().max() == 0
    assert teacher.net.proj_out.weight.abs().max() > 0
    assert all("lora_" in name for name, _ in trained(critic))


def test_the_preset_for_one_gpu_is_the_papers_training_with_adapters():
    cfg = compose("train", ["experiment=instantvir_lora", "task=deblur", "vae=wan", "output=x"])
    plain = compose("train", ["experiment=instantvir_wan_deblur", "output=x"])
    changed = {"lora", "batch_sizes", "batch_size", "accumulate"}
    changed |= {"student_learning_rate", "critic_learning_rate"}
    assert {key for key in cfg.distill if cfg.distill[key] != plain.distill[key]} == changed
    assert settings_from(cfg).lora == Lora(rank=64, alpha=64)
    assert (cfg.trainer.devices, cfg.trainer.accelerator) == (1, "gpu")
    assert json.dumps(cfg.distill.batch_sizes.wan) == json.dumps(cfg.distill.accumulate)
