"""A training run on Weights & Biases says which sweep it is of and what was swept, without a click."""

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from lvis.cli.config import CONF
from lvis.distill.wandb_runs import run_tags
from lvis.train.command import build_logger, hyperparameters


@pytest.fixture
def composed():
    """conf/train.yaml as a job of `lvis.train` has it, with Hydra's own record of the overrides."""

    def compose(overrides: list[str]):
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = hydra.compose("train", overrides=overrides, return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        # a job is called without it
        with open_dict(cfg):
            del cfg["hydra"]
        return cfg

    yield compose
    HydraConfig.instance().cfg = None


def test_tags_are_task_vae_model_and_what_was_swept_once_each():
    swept = [
        "task=inpaint",
        "+distill.x=3",
        "distill.y=1",
        "distill.y=1",
        "logger=wandb",
        "output=a",
    ]
    long = "prompt=" + "x" * 64
    assert run_tags(["inpaint", "lean", "tiny"], [*swept, "hydra.job.num=1", long]) == [
        "inpaint",
        "lean",
        "tiny",
        "task=inpaint",
        "distill.x=3",
        "distill.y=1",
    ]


def test_the_runs_of_a_sweep_share_a_group_and_carry_their_configuration(
    composed, tmp_path, monkeypatch, offline_run
):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "wandb_dir"))
    told = []
    for number, weight in enumerate((0.5, 2.0)):
        output = tmp_path / f"run{number}"
        output.mkdir()
        cfg = composed(
            ["task=deblur", f"distill.prior_weight={weight}", "logger=wandb", f"output={output}"]
        )
        logger = build_logger(cfg)
        logger.log_hyperparams(hyperparameters(cfg))
        logger.log_metrics({"train/total": 1.0}, 1)
        logger.experiment.finish()
        [folder] = output.glob("wandb/offline-run-*")
        told.append(offline_run(folder))
    assert {run["group"] for run in told} == {"deblur_lean_tiny"}
    assert {run["job_type"] for run in told} == {"lvis.train"}
    for run, weight in zip(told, (0.5, 2.0), strict=True):
        assert set(run["tags"]) == {
            "deblur",
            "lean",
            "tiny",
            "task=deblur",
            f"distill.prior_weight={weight}",
        }
        assert f"distill.prior_weight={weight}" in run["name"]
        assert run["config"]["distill"]["prior_weight"] == weight
        assert run["config"]["task"]["name"] == "deblur"
        assert "logger" not in run["config"]
