"""`make faults`: try every fault some times and write table.md and results.json beside this file.

python experiments/faults/run.py [--times 3] [--only NAME ...] [--output FOLDER] [--append]

With --append, the tries are added to those in results.json.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

import torch
from training import write_weights

from lvis.cli.progress import track
from lvis.files import write_text
from lvis.provenance import code_version, today

sys.path.insert(0, str(Path(__file__).parent))
from scenarios import SCENARIOS

HERE = Path(__file__).parent


def attempt(name: str, weights: Path, folder: Path) -> dict:
    """One try of one fault: {"ok", "outcome", "steps_lost", "seconds"}."""
    began = time.perf_counter()
    try:
        outcome = SCENARIOS[name][1](weights, folder)
        result = {"ok": True, "outcome": outcome.words, "steps_lost": outcome.steps_lost}
    except Exception as error:
        traceback.print_exc()
        result = {"ok": False, "outcome": " ".join(str(error).split())[:200], "steps_lost": None}
    seconds = round(time.perf_counter() - began, 1)
    return {**result, "seconds": seconds, "date": today(), "commit": code_version()}


def table(results: dict[str, list[dict]]) -> str:
    """Fault, times tried and survived, outcome, training steps lost: the most, – where none was done yet."""
    lines = [
        "| fault | tried | as it should be | outcome | steps lost | last try |",
        "|---|---|---|---|---|---|",
    ]
    for name in SCENARIOS:
        if not (tries := results.get(name, [])):
            continue
        good = [one for one in tries if one["ok"]]
        shown = (good or tries)[0]["outcome"]
        losses = [one["steps_lost"] for one in good if one["steps_lost"] is not None]
        lost = max(losses, default="–" if good else "")
        counts = f"{len(tries)} | {len(good)}"
        last = tries[-1]["date"]
        lines.append(f"| {SCENARIOS[name][0]} | {counts} | {shown} | {lost} | {last} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Try every fault.")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=list(SCENARIOS), default=list(SCENARIOS))
    parser.add_argument("--output", type=Path, default=HERE)
    parser.add_argument("--append", action="store_true")
    options = parser.parse_args()
    file = options.output / "results.json"
    known = json.loads(file.read_text())["results"] if options.append and file.exists() else {}
    results: dict[str, list[dict]] = {name: known.get(name, []) for name in SCENARIOS}
    failed = 0
    with tempfile.TemporaryDirectory() as place:
        weights = write_weights(Path(place) / "weights")
        plan = [(name, number) for name in options.only for number in range(options.times)]
        for name, number in track(plan, description="faults", unit="tries"):
            folder = Path(place) / "tries" / f"{name}_{number}"
            folder.mkdir(parents=True)
            results[name].append(attempt(name, weights, folder))
            failed += not results[name][-1]["ok"]
            shutil.rmtree(folder)
            document = {"torch": torch.__version__, "results": results}
            write_text(file, json.dumps(document, indent=1) + "\n")
            write_text(options.output / "table.md", table(results))
    print(table(results))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
