"""A run folder is continued by the run that began it, and its name holds what makes runs different."""

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from small_training import configuration

from lvis.cli.config import CONF
from lvis.errors import UserError
from lvis.train.command import train
from lvis.train.identity import LONGEST_NAME, run_name
from lvis.weights import load_student


def folder_of(*overrides: str) -> str:
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra.compose("train", overrides=list(overrides), return_hydra_config=True)
        return cfg.hydra.run.dir


@pytest.fixture
def begun(weights, tmp_path):
    """Configures the same training of one more step, or with what a test changes."""
    quiet = ("trainer.validate_every=0", "task=deblur")

    def build(*overrides: str, steps: int = 2):
        cfg = configuration(weights, tmp_path, *quiet, f"trainer.max_steps={steps}", *overrides)
        return cfg

    train(build(steps=1))
    return build


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("seed=1", "seed=0, not 1"),
        ("task.operator.sigma=2.5", "task.operator.sigma=3.0, not 2.5"),
        ("task=sr4", "task=deblur, not sr4"),
        ("distill.prior_weight=0.3", "distill.prior_weight=0.7, not 0.3"),
        ("distill.betas=[0.5,0.9]", r"distill.betas=\[0.9, 0.999\], not \[0.5, 0.9\]"),
        ("distill.parametrization=residual", "distill.parametrization=flow, not residual"),
        ("distill.size=[48,32]", r"distill.size=\[32, 32\], not \[48, 32\]"),
        ("data.val_clips=2", "data.val_clips=1, not 2"),
        ("vae=wan", "vae=lean, not wan"),
    ],
)
def test_a_run_with_other_settings_is_refused_by_the_difference(begun, override, named):
    with pytest.raises(UserError, match=f"{named}.*continue_changed=true"):
        train(begun(override))


def test_what_changes_no_result_may_change(begun):
    cfg = begun("distill.bridge_block=1", "data.num_workers=1", "trainer.save_every=7")
    metrics, _ = train(cfg)
    assert metrics["step"] == 2


def test_the_key_goes_on_with_the_new_settings_and_the_record_says_them(begun, tmp_path):
    metrics, _ = train(begun("task.operator.sigma=2.5", "continue_changed=true"))
    assert metrics["step"] == 2
    _, record = load_student(str(tmp_path / "student"))
    assert record["operator"]["sigma"] == 2.5 and "run" not in record
    with pytest.raises(UserError, match="sigma=2.5, not 3.0"):
        train(begun(steps=3))


def test_folders_differ_by_what_makes_runs_different_and_by_nothing_else():
    plain = folder_of("task=inpaint")
    assert plain == "outputs/inpaint_lean_tiny"
    assert folder_of() == folder_of("trainer.max_steps=9", "logger=csv", "vae=lean") == plain
    assert folder_of("distill.batch_size=2", "data.num_workers=3") == plain
    assert folder_of("seed=1") == "outputs/inpaint_lean_tiny_seed=1"
    assert folder_of("seed=1", "distill.ratio=2") == folder_of("distill.ratio=2", "seed=1")
    assert folder_of("task=sr4", "vae=wan") == "outputs/sr4_wan_tiny"


def test_paths_do_not_nest_and_long_names_are_cut_apart():
    real = folder_of("data=footage", "data.folder=/videos/a b")
    assert real.count("/") == 1 and " " not in real
    assert real != folder_of("data=footage", "data.folder=/videos/a-b")
    long = [run_name("inpaint", [f"distill.negative_prompt={'x' * 300}{end}"]) for end in "ab"]
    assert len(set(long)) == 2 and all(len(name) <= LONGEST_NAME for name in long)


def test_the_resolver_takes_a_list_node():
    cfg = OmegaConf.create({"words": ["seed=1"], "name": "${run_name:base,${words}}"})
    assert cfg.name == "base_seed=1"
