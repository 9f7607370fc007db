"""The rows of figure5 from ../novel_views/results.json: `python experiments/avis/figure5/rows.py` after its run.sh."""

import json
from pathlib import Path

from lvis.files import write_text

HERE = Path(__file__).parent


def rows(results: dict) -> list[dict]:
    """A row a view and method: PSNR (dB) against the true view, over all pixels, those seen and those open."""
    found = []
    for view in results["rows"]:
        made = {key: view[key] for key in ("date", "code", "weights") if key in view}
        for method, scores in view["psnr"].items():
            found.append(
                {
                    "label": "novel_view",
                    "method": method,
                    "clip": f"scene{view['scene']}_{view['view']}",
                    "missing_share": view["holes"],
                    **{f"psnr_{part}": value for part, value in scores.items()},
                    **made,
                }
            )
    return found


if __name__ == "__main__":
    results = json.loads((HERE.parent / "novel_views" / "results.json").read_text("utf-8"))
    write_text(HERE / "results.jsonl", "".join(json.dumps(row) + "\n" for row in rows(results)))
