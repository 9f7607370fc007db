"""Values of the right kind that cannot be: one sentence with key, value and what would fit."""

import pytest

from lvis.cli.build import build
from lvis.cli.config import compose
from lvis.cli.schema import check_finite
from lvis.distill.build import settings_from
from lvis.errors import UserError
from lvis.train.command import train
from lvis.train.settings import check


def configured(*overrides: str):
    return compose("train", ["output=nowhere", *overrides])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trainer.save_every=1.5", "trainer.save_every=1.5 must be a whole number, such as 2"),
        ("trainer.log_every=0", "trainer.log_every=0 must be greater than or equal to 1"),
        ("trainer.keep=2.5", "trainer.keep=2.5 must be a whole number"),
        ("trainer.max_steps=-1", "trainer.max_steps=-1 must be greater than or equal to 0"),
        ("trainer.threads=0", "trainer.threads=0 must be greater"),
        ("trainer.threads=many", "trainer.threads=many must be a whole number"),
        ("trainer.devices=0", "trainer.devices=0 must be"),
        ("trainer.devices=[]", "trainer.devices=[] names no device"),
        ("trainer.devices=two", "trainer.devices=two must be"),
        ("trainer.accelerator=warp", "trainer.accelerator=warp must be 'cpu', 'gpu'"),
        ("trainer.strategy=dp", "trainer.strategy=dp must be 'auto', 'ddp' or 'fsdp'"),
        ("trainer.spike_factor=1", "trainer.spike_factor=1 must be greater than 1"),
        ("trainer.spike_factor=true", "trainer.spike_factor=true must be a number"),
        ("trainer=gpu", "there is no GPU here"),
        ("trainer=ddp", "there is no GPU here"),
        ("trainer.devices=2", "trainer.strategy=auto is for one process, not 2"),
        ("distill.batch_size=1.5", "distill.batch_size=1.5 must be a whole number"),
        ("distill.size=[40,32]", "distill.size=[40,32] must be a multiple of 16"),
        ("distill.size=[64]", "distill.size=[64] "),
        ("distill.frames=10", "distill.frames=10 does not fill blocks"),
        ("distill.accumulate=2", "does not divide by distill.accumulate=2"),
        ("distill.ratio=2.5", "distill.ratio=2.5 must be a whole number"),
        ("distill.betas=[0.9]", "distill.betas=[0.9] has too few values"),
        ("distill.betas=[0.9,1.0]", "distill.betas=[0.9,1.0] must be less than 1"),
        ("distill.betas=0.9", "distill.betas=0.9 must be a list"),
        ("distill.ema_decay=1", "distill.ema_decay=1 must be less than 1"),
        ("distill.prior_weight=nan", "distill.prior_weight=nan is not a finite number"),
        ("distill.guidance_scale=inf", "distill.guidance_scale=inf is not a finite number"),
        ("distill.timestep=1001", "distill.timestep=1001 must be less than or"),
        ("distill.decay_steps=0", "distill.decay_steps=0 must be greater"),
        ("distill.ramp=steep", "distill.ramp=steep is not known: use one of"),
        ("task.operator.noise_std=nan", "task.operator.noise_std=nan is not a finite number"),
        ("seed=1.5", "seed=1.5 must be a whole number"),
        ("seed=-1", "seed=-1 must be greater"),
    ],
)
@pytest.mark.skipif("__import__('torch').cuda.is_available()", reason="trainer=gpu is possible")
def test_impossible_values_are_one_sentence(override, said):
    with pytest.raises(UserError) as error:
        cfg = configured(override)
        check_finite(cfg)
        check(cfg)
        settings_from(cfg)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_whole_number_may_be_written_as_a_float():
    cfg = configured("trainer.keep=3.0", "distill.batch_size=2.0", "trainer.max_steps=1e3")
    check(cfg)
    assert [cfg.trainer.keep, cfg.distill.batch_size, cfg.trainer.max_steps] == [3, 2, 1000]
    assert type(cfg.trainer.keep) is type(cfg.data.batch_size) is int


@pytest.mark.parametrize("name", ["paper", "paper_text", "tiny", "wan1_3b", "wan14b"])
@pytest.mark.parametrize("vae", ["wan", "lean"])
def test_every_preset_fits(name, vae):
    cfg = configured(f"distill={name}", f"vae={vae}")
    check(cfg)
    assert settings_from(cfg).seed == 0


@pytest.mark.parametrize(
    ("node", "overrides", "said"),
    [
        ("task.operator", ("task.operator.size=61.5",), "task.operator.size=61.5 must be a whole"),
        ("task.operator", ("task.operator.sigma=wide",), "task.operator.sigma=wide must be a num"),
        ("data", ("data.num_workers=0.5",), "data.num_workers=0.5 must be a whole number"),
        ("data", ("data.size=[a,b]",), "data.size=[a,b] must be a whole number"),
        ("data", ("data=footage", "data.folder=.", "data.short=2.5"), "data.short"),
    ],
)
def test_the_types_of_a_target_are_its_schema(node, overrides, said):
    cfg = configured("task=deblur", *overrides)
    with pytest.raises(UserError) as error:
        build(cfg[node] if "." not in node else cfg.task.operator)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_count_of_a_target_becomes_a_count():
    cfg = configured("task=deblur", "task.operator.size=9.0", "data.num_workers=0.0")
    build(cfg.task.operator)
    assert build(cfg.data).num_workers == 0 and type(cfg.data.num_workers) is int


def test_nothing_is_written_for_a_value_that_cannot_be(tmp_path):
    cfg = compose("train", [f"output={tmp_path / 'run'}", "trainer.save_every=1.5"])
    with pytest.raises(UserError):
        train(cfg)
    assert not (tmp_path / "run").exists()
