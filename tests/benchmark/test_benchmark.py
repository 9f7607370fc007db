"""The benchmark: counts are exact, warm-up is left out, bad input is one sentence."""

import json

import pytest
import torch

from lvis.benchmark.command import benchmark
from lvis.benchmark.counting import Count
from lvis.benchmark.report import comparison, read
from lvis.cli.config import compose
from lvis.errors import UserError
from lvis.solvers.build import pinv
from lvis.weights import load_transformer

QUICK = ["size=[32,32]", "blocks=2", "repeats=2", "warmup=1", "device=cpu"]


def test_random_student_passes_and_comparison(tmp_path):
    stem = tmp_path / "result"
    result = benchmark(compose("benchmark", [*QUICK, "weights=random", f"output={stem}"]))
    (point,) = result["points"]
    assert point["passes_per_block"] == {"encode": 1, "transformer": 1, "decode": 1}
    assert point["block_s"]["n"] == 4  # warm-up and first blocks are not among them
    assert 0 < point["flops_per_block"]["transformer"] < point["flops_per_block"]["all"]
    doubled = json.loads(stem.with_suffix(".json").read_text())
    doubled["points"][0]["block_s"]["median"] *= 2
    assert "| time per block | 2.000 |" in comparison(doubled, read(f"{stem}.json"))
    assert stem.with_suffix(".md").exists()


def test_operations_of_a_known_product():
    solver = pinv("cpu")
    with Count(solver) as count:
        torch.ones(3, 5) @ torch.ones(5, 7)
    assert count.flops["all"] == 2 * 3 * 5 * 7
    assert not count.passes


def test_growth_and_picture(tmp_path):
    chosen = [*QUICK, "mode=growth", "growth=[2,4]", "solver=pinv", f"output={tmp_path / 'g'}"]
    points = benchmark(compose("benchmark", chosen))["points"]
    assert [point["block"] for point in points] == [2, 4]
    assert (tmp_path / "g.png").stat().st_size


def test_random_parameters_are_drawn_in_the_dtype_wanted():
    model = load_transformer("bundled:tiny/teacher", weights="random", dtype="bfloat16")
    assert model.dtype == torch.bfloat16
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(
    "override", ["mode=all", "blocks=0", "growth=[1]", "compare=/none.json", "optimise.attention=x"]
)
def test_bad_input_is_one_sentence(override):
    with pytest.raises(UserError, match=override.split("=")[0].split(".")[-1]):
        benchmark(compose("benchmark", [*QUICK, override]))
