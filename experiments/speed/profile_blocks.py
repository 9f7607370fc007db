"""Which kernels two steady blocks spend their time in: `python profile_blocks.py result.json KEY=VALUE...`.

The overrides are those of lvis.benchmark. Not tested on CUDA.
"""

import json
import sys

import torch
from torch.profiler import ProfilerActivity, profile

from lvis.benchmark.build import attention_backend, build_solver, realised
from lvis.benchmark.machine import describe
from lvis.benchmark.settings import Settings
from lvis.benchmark.streaming import TimedStream, fill_blocks
from lvis.cli.build import build
from lvis.cli.config import compose, plain
from lvis.cli.schema import validated
from lvis.files import write_text
from lvis.hardware import pick_device
from lvis.solvers.build import settled

ROWS = 40


def main(target: str, *overrides: str) -> None:
    cfg = settled(compose("benchmark", list(overrides)))
    settings = validated(Settings, plain(cfg))
    device = pick_device(cfg.device)
    solver = build_solver(cfg, settings)
    operator = realised(build(cfg.task.operator), settings.size, settings.seed)
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with attention_backend(settings.attention, device):
        stream = TimedStream(solver, operator, settings.size, settings.seed)
        stream.run(1 + fill_blocks(solver))
        with profile(activities=activities) as profiler:
            costs = stream.run(2)
    on_device = device.type == "cuda"
    kind = "self_device_time_total" if on_device else "self_cpu_time_total"
    events = sorted(profiler.key_averages(), key=lambda each: getattr(each, kind), reverse=True)
    rows = [
        {"name": each.key, "calls": each.count, "seconds": getattr(each, kind) / 1e6}
        for each in events[:ROWS]
    ]
    result = {
        "what": list(overrides),
        "machine": describe(torch.device(device)),
        "blocks_s": [cost.seconds for cost in costs],
        "rows": rows,
    }
    write_text(target, json.dumps(result, indent=1) + "\n")
    print(profiler.key_averages().table(sort_by=kind, row_limit=ROWS))


if __name__ == "__main__":
    main(*sys.argv[1:])
