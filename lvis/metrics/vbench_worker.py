"""Runs inside VBench's own environment, as text: imports vbench and nothing of lvis.

Arguments: FOLDER ANSWER DIMENSION...; scores every video of FOLDER, writes {dimension: {file name: score}}.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    folder, answer, dimensions = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    import torch
    import vbench

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    facts = Path(vbench.__file__).with_name("VBench_full_info.json")
    runner = vbench.VBench(device, str(facts), str(answer.parent))
    runner.evaluate(
        videos_path=folder, name="lvis", dimension_list=dimensions, local=True, mode="custom_input"
    )
    found = json.loads((answer.parent / "lvis_eval_results.json").read_text(encoding="utf-8"))
    scores = {
        dimension: {
            Path(entry["video_path"]).name: float(entry["video_results"])
            for entry in found[dimension][1]
        }
        for dimension in dimensions
    }
    answer.write_text(json.dumps(scores), encoding="utf-8")


if __name__ == "__main__":
    main()
