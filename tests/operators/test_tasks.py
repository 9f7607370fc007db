"""Every conf/task file makes its operator, and says what distillation needs of it."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from lvis.cli.config import CONF
from lvis.operators import Composition, Separable
from tests.operators.operators import video

TASKS = {
    "inpaint": 0.1,
    "deblur": 1.0,
    "sr4": 0.3,
    "temporal_average": 1.0,
    "spatiotemporal_average": 0.3,
    "deblur_plus": 1.0,
    "sr_plus": 0.3,
    "inpaint_plus": 0.1,
    "denoise": 1.0,
    "unknown": 1.0,
}


def load(task: str):
    return OmegaConf.load(CONF / "task" / f"{task}.yaml")


def test_there_is_a_file_for_each_task():
    # "own" has a user's operator, "any" is a family (tests/solvers/test_signature.py)
    assert {Path(file).stem for file in (CONF / "task").glob("*.yaml")} == {*TASKS, "own", "any"}


@pytest.mark.parametrize("task", TASKS)
def test_a_task_measures_restores_and_streams(task):
    cfg = load(task)
    assert cfg.name == task
    assert cfg.distill.likelihood_weight == TASKS[task]
    assert cfg.distill.prior_on_masked_only == (task == "inpaint")
    operator = instantiate(cfg.operator)
    assert (operator.noise_std > 0) == (task == "denoise")
    assert operator.space == "pixel" and operator.streamable
    x = video(0, torch.float32, (1, 3, 9, 32, 48))
    operator = operator.realise(x.shape, torch.Generator().manual_seed(0))
    y = operator.measure(x)
    assert y.shape == operator.measurement_shape(x.shape)
    # the pseudo-inverse explains the measurement, as far as its cutoff lets it
    assert (operator(operator.pinv(y)) - y).norm() < 0.05 * y.norm()


@pytest.mark.parametrize("task", ["spatiotemporal_average", "sr_plus", "deblur_plus"])
def test_spatial_compositions_have_closed_forms(task):
    operator = instantiate(load(task).operator)
    assert isinstance(operator, Separable) and not isinstance(operator, Composition)


def test_the_options_of_the_papers_reach_the_operator():
    cfg = load("sr_plus")
    cfg.operator.inner.border = "circular"
    cfg.operator.outer.adjoint = "official"
    operator = instantiate(cfg.operator)
    assert not operator.streamable and operator.official
