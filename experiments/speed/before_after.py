"""Steps of two checkouts, in turn: `python before_after.py OLD NEW result.json [vae_steps.py]`.

Each round runs steps.py (the transformer), or the script named, once in each checkout, in a process of its own, so
that what else the machine does meets both.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import torch

ROUNDS = 5


def run(checkout: str, steps: str) -> dict[str, list[float]]:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(steps))],
        env={**os.environ, "PYTHONPATH": str(Path(checkout).resolve())},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main(old: str, new: str, target: str, steps: str = "steps.py") -> None:
    rounds: dict[str, list[dict[str, list[float]]]] = {"old": [], "new": []}
    for number in range(ROUNDS):
        order = (("old", old), ("new", new))
        for name, checkout in order if number % 2 == 0 else reversed(order):
            rounds[name].append(run(checkout, steps))
    summary = {}
    print("| step | before, ms | after, ms | after / before |\n|---|---|---|---|")
    for model in rounds["old"][0]:
        # a median a round; the ratio is paired by round
        before, after = ([median(each[model]) for each in rounds[name]] for name in rounds)
        ratios = [b / a for a, b in zip(before, after, strict=True)]
        summary[model] = {"before_s": before, "after_s": after, "ratios": ratios}
        print(
            f"| {model} | {median(before) * 1e3:.2f} | {median(after) * 1e3:.2f} "
            f"| {median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}) |"
        )
    result = {"torch": torch.__version__, "threads": torch.get_num_threads(), **summary}
    Path(target).write_text(json.dumps({**result, "rounds": rounds}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
