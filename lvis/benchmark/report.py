"""Results as JSON and Markdown, and their ratios to an earlier result."""

import json
from pathlib import Path
from typing import Any

from lvis.errors import UserError
from lvis.markdown import markdown_table
from lvis.solvers.base import STAGES

FORMAT = "lvis-benchmark-1"
Result = dict[str, Any]
# (heading, path in a point, unit, scale)
ROWS = (
    ("time to first frame", "time_to_first_frame_s", "s", 1.0),
    ("steady frames per second", "frames_per_s", "", 1.0),
    ("time per block", "block_s", "s", 1.0),
    *((f"of it {stage}", f"stage_s.{stage}", "s", 1.0) for stage in STAGES),
    ("opening the stream", "open_s", "s", 1.0),
    ("peak memory", "peak_memory_bytes", "MB", 1e-6),
    ("memory", "memory_bytes", "MB", 1e-6),
    ("KV cache", "cache_bytes", "MB", 1e-6),
    ("attended tokens", "attended_tokens", "", 1.0),
    *(
        (f"{stage} passes per block", f"passes_per_block.{stage}", "", 1.0)
        for stage in STAGES
        if stage != "operator"
    ),
    ("operations per block", "flops_per_block.all", "GFLOP", 1e-9),
    ("share of the matrix-product rate", "share_of_matrix_rate", "", 1.0),
)


def markdown(result: Result) -> str:
    """The result as a Markdown table: medians, with the range where there is one."""
    machine, what = result["machine"], result["what"]
    lines = [
        f"{what['solver']}, {what['task']}, {what['vae']} VAE, model {what['model']}, "
        f"{what['weights']} weights, {what['precision']}, mode {what['mode']}{optimised(what)}",
        "",
        f"{machine['processor']}, {machine['threads']} threads, torch {machine['torch']}, "
        f"matrix products {result['matrix_rate_flops'] / 1e9:.3g} GFLOP/s, "
        f"commit {machine['commit']}, {machine['date']}",
        "",
    ]
    points = result["points"]
    heads = [heading(point) for point in points]
    rows = []
    for name, path, unit, scale in ROWS:
        values = [lookup(point, path) for point in points]
        if any(value is not None for value in values):
            label = f"{name} ({unit})" if unit else name
            rows.append([label, *(_cell(v, scale) for v in values)])
    return "\n".join([*lines, markdown_table(["", *heads], rows)]) + "\n"


def optimised(what: dict[str, Any]) -> str:
    """What of conf/benchmark.yaml's `optimise` differs from the default."""
    parts = [f"compile {what['compile']}"] if what.get("compile") else []
    if what.get("attention", "auto") != "auto":
        parts.append(f"attention {what['attention']}")
    if what.get("convolution", "auto") != "auto":
        parts.append(f"convolution {what['convolution']}")
    return "".join(f", {part}" for part in parts)


def comparison(result: Result, earlier: Result) -> str:
    """new / old of every median that both have, one column per point, as a Markdown table."""
    old_points = {heading(point): point for point in earlier["points"]}
    pairs = [
        (heading(point), point, old_points[heading(point)])
        for point in result["points"]
        if heading(point) in old_points
    ]
    if not pairs:
        raise UserError(
            "compare: the earlier result has no point in common with this one; "
            "give one of the same mode and sizes"
        )
    lines = []
    for name, path, _, _ in ROWS:
        cells = []
        for _, new, old in pairs:
            ratio = _ratio(lookup(new, path), lookup(old, path))
            cells.append("-" if ratio is None else f"{ratio:.3f}")
        if set(cells) != {"-"}:
            lines.append([name, *cells])
    return markdown_table(["new / old", *(name for name, _, _ in pairs)], lines) + "\n"


def read(path: str) -> Result:
    """An earlier result.

    Raises:
        UserError: there is none, or the file is something else.
    """
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"compare={path} cannot be read ({error.strerror}); give a result of lvis.benchmark"
        ) from error
    except ValueError as error:
        raise UserError(f"compare={path} is not JSON; give a result of lvis.benchmark") from error
    if not isinstance(result, dict) or result.get("format") != FORMAT:
        raise UserError(f"compare={path} is not a result of lvis.benchmark; give one")
    return result


def heading(point: dict[str, Any]) -> str:
    """What distinguishes a point: its block, or its size and window."""
    if "block" in point:
        return f"block {point['block']}"
    window = f", window {point['window']}" if point["window"] else ""
    return f"{point['height']}x{point['width']}{window}"


def lookup(point: dict[str, Any], path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    value: Any = point
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def middle(value: Any) -> float | None:
    """The median of a summary, or the number itself."""
    return value["median"] if isinstance(value, dict) else value


def _ratio(new: Any, old: Any) -> float | None:
    above, below = middle(new), middle(old)
    return above / below if above is not None and below else None


def _cell(value: Any, scale: float) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        low, high = value["min"] * scale, value["max"] * scale
        return f"{value['median'] * scale:.4g} ({low:.4g} to {high:.4g})"
    return f"{value * scale:.4g}"
