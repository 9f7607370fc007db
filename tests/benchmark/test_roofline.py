"""What a block costs on a GPU, counted without one: golden numbers, and estimates that say what they are.

A change that adds launches, traffic or arithmetic fails here. If it is meant, write the numbers again:

    python -m tests.benchmark.test_roofline
"""

import json
from pathlib import Path

import pytest

from lvis.benchmark.command import benchmark
from lvis.benchmark.roofline import NOTICE, Counted, count_block, parts_of
from lvis.cli.config import compose
from lvis.errors import UserError
from lvis.fakecuda import Kernel
from lvis.plan.gpus import GPUS

GOLDEN = Path(__file__).parents[1] / "fixtures" / "block_counts.json"
SLACK = 0.02
SMALL = {
    "student lean": ["solver=student", "vae=lean"],
    "student wan": ["solver=student", "vae=wan", "task=deblur"],
    "student tae": ["solver=student", "vae=tae", "task=deblur"],
}
FULL = {**SMALL, "avis": ["solver=avis", "vae=wan"], "flash": ["solver=avis_flash", "vae=wan"]}
CASES = [
    *((case, "tiny", (64, 64)) for case in SMALL),
    *(pytest.param(case, "wan1_3b", (480, 832), marks=pytest.mark.slow) for case in FULL),
]


def counted(case, model, size):
    """{"stage kind": [launches, bytes, operations]} of a steady block."""
    keys = [f"model={model}", "device=cuda", "precision=bf16", *FULL[case]]
    block = count_block(compose("benchmark", keys), size)
    sums: dict[str, list[int]] = {}
    for part in parts_of(block, "h100"):
        entry = sums.setdefault(f"{part.stage} {part.kind} {part.dtype}", [0, 0, 0])
        for index, value in enumerate((part.launches, part.nbytes, part.flops)):
            entry[index] += value
    return sums


@pytest.mark.parametrize(("case", "model", "size"), CASES)
def test_a_block_costs_what_it_did(case, model, size):
    golden = json.loads(GOLDEN.read_text())[f"{model} {case}"]
    found = counted(case, model, size)
    assert found.keys() == golden.keys()
    wrong = {
        key: (found[key], golden[key])
        for key in golden
        if any(abs(f - g) > SLACK * g for f, g in zip(found[key], golden[key], strict=True))
    }
    assert not wrong


def test_a_kernel_takes_what_its_slowest_part_takes():
    gpu = GPUS["h100"]
    product = Kernel("", "aten.mm", 10, 10**15, "bfloat16")
    copy = Kernel("", "aten.clone", int(gpu.bandwidth), 0, "float32")
    small = Kernel("", "aten.add", 4, 0, "float32")
    both = [("encode", copy), ("encode", small), ("transformer", product)]
    parts = parts_of(Counted("student", both, 12, 0, True), "h100")
    assert [part.seconds for part in parts] == pytest.approx(
        [1 / 0.85 + 2.5e-6, 10**15 / (gpu.bf16 * 0.63)]
    )


def test_an_estimate_says_that_it_is_one(tmp_path):
    keys = ["mode=roofline", "size=[32,32]", f"output={tmp_path / 'r'}"]
    result = benchmark(compose("benchmark", [*keys, "device=4090"]))
    assert result["notice"] == NOTICE
    assert result["frames"] == 12
    text = (tmp_path / "r.md").read_text()
    assert text.startswith(NOTICE) and "4090" in text and "precision bf16" in text
    assert json.loads((tmp_path / "r.json").read_text())["notice"] == NOTICE


@pytest.mark.parametrize("overrides", [["device=cpu"], ["device=h100", "solver=admm_tv"]])
def test_no_estimate_is_one_sentence(overrides):
    keys = ["mode=roofline", "size=[32,32]", *overrides]
    with pytest.raises(UserError, match="roofline"):
        benchmark(compose("benchmark", keys))


if __name__ == "__main__":
    sizes = {"tiny": (SMALL, (64, 64)), "wan1_3b": (FULL, (480, 832))}
    golden = {
        f"{model} {case}": counted(case, model, size)
        for model, (cases, size) in sizes.items()
        for case in cases
    }
    rows = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in golden.items()]
    GOLDEN.write_text("{\n" + ",\n".join(rows) + "\n}\n")
