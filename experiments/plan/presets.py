"""Every preset of the paper's training on eight GPUs of 80 GB and on one, planned: presets.json and presets.md.

python experiments/plan/presets.py [PRESET ...]      about a minute each on one CPU core; nothing is loaded. Without
presets: those that presets.json lacks.
"""

import json
import sys
from pathlib import Path

from lvis.cli.config import compose
from lvis.errors import UserError
from lvis.files import write_text
from lvis.markdown import markdown_table
from lvis.plan.command import plan
from lvis.plan.gpus import GB

HERE = Path(__file__).parent
SHARE = ["trainer=fsdp", "distill.batch_sizes.wan=2", "distill.batch_sizes.lean=4"]
# preset and model: command line, by number of GPUs
ROWS = {
    "instantvir, lean": ["experiment=instantvir", "vae=lean"],
    "instantvir, wan": ["experiment=instantvir", "vae=wan"],
    "instantvir_lora, lean": ["experiment=instantvir_lora", "vae=lean"],
    "instantvir_lora, wan": ["experiment=instantvir_lora", "vae=wan"],
    "instantvir_lora_40gb, lean": ["experiment=instantvir_lora_40gb", "vae=lean"],
    "instantvir, lean, 2 GPUs per clip": [
        "experiment=instantvir",
        "vae=lean",
        "trainer.sequence_parallel=2",
    ],
    "instantvir_lora, lean, 14B": ["experiment=instantvir_lora", "vae=lean", "model=wan14b"],
    "instantvir_lora, lean, 14B, 2 GPUs per clip": [
        "experiment=instantvir_lora",
        "vae=lean",
        "model=wan14b",
        "trainer.sequence_parallel=2",
    ],
    "instantvir_lora, wan, 14B": ["experiment=instantvir_lora", "vae=wan", "model=wan14b"],
    "instantvir_lora, wan, Wan 2.2 5B": [
        "experiment=instantvir_lora",
        "vae=wan",
        "model=wan2_2_5b",
    ],
}


def commands(name: str) -> dict[int, list[str]]:
    """By number of GPUs: the preset as it is; the paper's also on one, the largest model's also on eight."""
    words = [*ROWS[name], "task=inpaint"]
    if "per clip" in name:
        return {8: [*words, *SHARE]}
    if "14B" in name:
        return {1: words, 8: [*words, *SHARE]}
    return {1: words} if "lora" in name else {8: words, 1: [*words, "trainer=gpu"]}


def row(name: str, devices: int, words: list[str]) -> dict[str, object]:
    made = plan(compose("plan", [*words, f"devices={devices}"]))
    memory = made["memory"]
    return {
        "preset": name,
        "devices": devices,
        "command": " ".join(words),
        "always": memory["persistent_bytes"],
        "peak": memory["peak_bytes"],
        "moment": max(memory["moments"].items(), key=lambda item: item[1]["bytes"])[0],
        "clips": made["what"]["clips"].split(" ")[0],
        "seconds": made["time"]["seconds an average step"],
        "commit": made["what"]["commit"],
        "torch": made["what"]["torch"],
    }


def table(rows: list[dict]) -> str:
    headings = (
        "preset", "GPUs", "clips per GPU or group", "throughout, GB", "peak, GB", "40 GB", "80 GB",
        "s per step, A100 at 35 %",
    )  # fmt: skip
    cells = [
        (
            one["preset"],
            str(one["devices"]),
            str(one["clips"]),
            f"{one['always'] / GB:.1f}",
            f"{one['peak'] / GB:.1f}",
            *("yes" if one["peak"] <= size * GB else "no" for size in (40, 80)),
            f"{one['seconds']:.0f}",
        )
        for one in rows
    ]
    return markdown_table(headings, cells, right=True)


def main() -> None:
    path = HERE / "presets.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    there = {(one["preset"], one["devices"]) for one in rows}
    for name in sys.argv[1:] or ROWS:
        for devices, words in commands(name).items():
            if not sys.argv[1:] and (name, devices) in there:
                continue
            rows = [one for one in rows if (one["preset"], one["devices"]) != (name, devices)]
            try:
                rows.append(row(name, devices, words))
            except UserError as error:
                print(f"{name} on {devices}: {error}")
            order = list(ROWS)
            rows.sort(key=lambda one: (order.index(one["preset"]), -one["devices"]))
            write_text(path, json.dumps(rows, indent=1) + "\n")
            write_text(HERE / "presets.md", table(rows) + "\n")


if __name__ == "__main__":
    main()
