"""`mode=roofline`: how long a steady block would take on a GPU that is not here. An estimate.

The block runs on a fake CUDA device (`lvis.fakecuda`), which counts what every kernel would read,
write and compute; a kernel takes as long as the slowest of memory, arithmetic and its launch.
Nothing is measured: the rates are shares of NVIDIA's data sheets that such kernels are assumed to reach.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import DictConfig

from lvis.benchmark.build import realised
from lvis.benchmark.streaming import fill_blocks
from lvis.cli.build import build
from lvis.errors import UserError
from lvis.fakecuda import Kernel
from lvis.fakecuda.streams import fake_solver, recorded, run_blocks
from lvis.markdown import markdown_table
from lvis.operators import LinearOperator
from lvis.plan.gpus import GPU, GPUS

FORMAT = "lvis-roofline-1"
NOTICE = "ESTIMATE by roofline, not measured"
CARDS = {"h100": "h100", "h200": "h200", "a100": "a100", "4090": "rtx4090"}
ATTENTION, PRODUCTS, ELEMENTWISE = "attention", "products", "elementwise"
STAGES = ("operator", "encode", "transformer", "decode", "other")
HALF = ("bfloat16", "float16")
FP8 = "float8_e4m3fn"
LAUNCH_SECONDS = 2.5e-6


@dataclass(frozen=True)
class Reached:
    """Shares of the peaks in `GPUS` that kernels are assumed to reach.

    attention: of bfloat16, by torch's default for the card, and `flash` by FlashAttention 2.
    """

    products: float
    attention: float
    flash: float
    convolution: float
    single: float
    bandwidth: float = 0.85


HOPPER = Reached(0.63, 0.66, 0.37, 0.46, 0.72)
AMPERE = Reached(0.77, 0.62, 0.62, 0.54, 0.82)
REACHED = {"h100": HOPPER, "h200": HOPPER, "a100": AMPERE, "rtx4090": AMPERE}


@dataclass(frozen=True)
class Part:
    """What one kind of kernel of a stage does in a block; dtype is that of its input."""

    stage: str
    kind: str
    dtype: str
    launches: int = 0
    nbytes: int = 0
    flops: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Counted:
    """One steady block of a configured stream.

    Attributes:
        frames: video frames that it gives out.
        peak: bytes in CUDA tensors at the worst moment in it, weights included.
        tf32: whether the VAE's float32 runs as TF32.
    """

    solver: str
    kernels: list[tuple[str, Kernel]]
    frames: int
    peak: int
    tf32: bool


def count_block(cfg: DictConfig, size: tuple[int, int]) -> Counted:
    """The kernels of the first block that finds its window full, with the stage of each.

    Args:
        cfg: of conf/benchmark.yaml, for the device "cuda".

    Raises:
        UserError: the solver has no stream.
    """
    with recorded() as recorder:
        solver = fake_solver(cfg)
        operator: LinearOperator = realised(build(cfg.task.operator), size, cfg.seed)
        if solver.stream_type(operator).whole_clip:
            raise UserError(
                "mode=roofline counts a block of a stream, and this solver answers at the end of "
                "the clip with this task; choose another task or solver"
            )
        number = fill_blocks(solver) + 1
        blocks = run_blocks(recorder, solver, operator, size, number + 1)
        phase = f"block{number} "
        kernels = [
            (kernel.phase.removeprefix(phase), kernel)
            for kernel in recorder.kernels
            if kernel.phase.startswith(phase)
        ]
        tf32 = bool(getattr(getattr(solver, "vae", None), "tf32", False))
    return Counted(solver.name, kernels, blocks[-1].frames, blocks[-1].peak, tf32)


def parts_of(counted: Counted, card: str, attention: str = "auto") -> list[Part]:
    """The block by stage and kind, with the seconds that it would take on a card of `CARDS`."""
    gpu, reached = GPUS[CARDS[card]], REACHED[CARDS[card]]
    if attention == "flash":
        reached = replace(reached, attention=reached.flash)
    sums: dict[tuple[str, str, str], Part] = defaultdict(lambda: Part("", "", ""))
    for stage, kernel in counted.kernels:
        key = (stage, _kind(kernel), kernel.dtype)
        tf32 = counted.tf32 and stage in ("encode", "decode")
        before = sums[key]
        sums[key] = Part(
            *key,
            before.launches + 1,
            before.nbytes + kernel.nbytes,
            before.flops + kernel.flops,
            before.seconds + _seconds(kernel, gpu, reached, tf32),
        )
    order = (ATTENTION, PRODUCTS, ELEMENTWISE)
    return sorted(
        sums.values(), key=lambda p: (STAGES.index(p.stage), order.index(p.kind), p.dtype)
    )


def roofline(cfg: DictConfig, card: str, size: tuple[int, int], attention: str) -> dict[str, Any]:
    """The estimate for one card as a result of lvis.benchmark.

    Raises:
        UserError: no such card.
    """
    if card not in CARDS:
        raise UserError(f"mode=roofline device={card} is not known; use one of {', '.join(CARDS)}")
    if cfg.precision == "fp8" and card == "a100":
        raise UserError("mode=roofline device=a100 has no float8 products; use precision=bf16")
    on_gpu = cfg.copy()
    on_gpu.device = "cuda"
    counted = count_block(on_gpu, size)
    parts = parts_of(counted, card, attention)
    seconds = sum(part.seconds for part in parts)
    return {
        "format": FORMAT,
        "notice": NOTICE,
        "card": GPUS[CARDS[card]].name,
        "solver": counted.solver,
        "what": f"{counted.solver}, {cfg.task.name}, {cfg.vae.name} VAE, "
        f"model {cfg.model.name}, {size[0]}x{size[1]}, precision {cfg.precision}, "
        f"attention {attention}",
        "assumed": vars(REACHED[CARDS[card]]),
        "block_s": seconds,
        "frames": counted.frames,
        "frames_per_s": counted.frames / seconds,
        "peak_memory_bytes": counted.peak,
        "parts": [vars(part) for part in parts],
    }


def table_of(result: dict[str, Any]) -> str:
    """The estimate as Markdown, labelled as one."""
    parts = [Part(**part) for part in result["parts"]]
    rows = [
        [
            part.stage,
            f"{part.kind}, {part.dtype}",
            f"{part.seconds * 1e3:.2f}",
            f"{part.nbytes / 1e9:.2f}",
            f"{part.flops / 1e12:.3f}",
            str(part.launches),
        ]
        for part in parts
    ]
    rows.append(["all", "", *_totals(parts)])
    head = ["stage", "kernels", "estimated ms", "GB", "TFLOP", "launches"]
    return (
        f"{NOTICE}: {result['card']}, {result['what']}\n\n{markdown_table(head, rows)}\n\n"
        f"Estimated {result['frames_per_s']:.0f} frames/s ({result['frames']} frames per block), "
        f"{result['peak_memory_bytes'] / 2**30:.1f} GiB in tensors.\n"
    )


def _totals(parts: Iterable[Part]) -> list[str]:
    parts = list(parts)
    return [
        f"{sum(part.seconds for part in parts) * 1e3:.2f}",
        f"{sum(part.nbytes for part in parts) / 1e9:.2f}",
        f"{sum(part.flops for part in parts) / 1e12:.3f}",
        str(sum(part.launches for part in parts)),
    ]


def _kind(kernel: Kernel) -> str:
    if "attention" in kernel.operation:
        return ATTENTION
    return PRODUCTS if kernel.flops else ELEMENTWISE


def _seconds(kernel: Kernel, gpu: GPU, reached: Reached, tf32: bool) -> float:
    in_memory = kernel.nbytes / (gpu.bandwidth * reached.bandwidth)
    if not kernel.flops:
        return max(in_memory, LAUNCH_SECONDS)
    half, convolves = kernel.dtype in (*HALF, FP8), "convolution" in kernel.operation
    peak = gpu.bf16 if half else gpu.tf32 if tf32 else gpu.fp32
    if kernel.dtype == FP8:
        peak *= 2  # as the data sheets of Ada and Hopper have it
    if not half and not tf32:
        share = reached.single
    elif _kind(kernel) == ATTENTION:
        share = reached.attention
    else:
        share = reached.convolution if convolves else reached.products
    return max(in_memory, kernel.flops / (peak * share), LAUNCH_SECONDS)
