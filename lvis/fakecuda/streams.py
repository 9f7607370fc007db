"""A configured solver's stream on a fake CUDA device, block by block."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from unittest import mock

from omegaconf import DictConfig

from lvis.benchmark.build import RandomText, with_random_weights
from lvis.benchmark.streaming import Measurements
from lvis.fakecuda.machine import fake_cuda, modules_move_to_fake
from lvis.fakecuda.recorder import Recorder
from lvis.operators import LinearOperator
from lvis.solvers.base import Solver, Stream
from lvis.solvers.blocks import block_frames
from lvis.solvers.build import build_solver
from lvis.weights.load import parameters_on_meta


@dataclass(frozen=True)
class BlockRecord:
    """Bytes in CUDA tensors after a block and at the worst moment in it; what it gave out."""

    live: int
    peak: int
    frames: int


def fake_solver(cfg: DictConfig) -> Solver:
    """The solver of a configuration with device=cuda, none of whose weights exist.

    Only inside `fake_cuda`.
    """
    with parameters_on_meta(), modules_move_to_fake():
        solver = build_solver(with_random_weights(cfg))
    if hasattr(solver, "embed_text"):
        text_len = solver.transformer.text_len or int(cfg.model.text_len)
        solver.embed_text = RandomText(text_len, solver.transformer.text_dim)
    return solver


def run_blocks(
    recorder: Recorder, solver: Solver, operator: LinearOperator, size: tuple[int, int], count: int
) -> list[BlockRecord]:
    """`count` blocks of a stream; phases of the recorder are "block3 encode" and so on, from 0, with
    "other" for what belongs to no stage. Only inside `fake_cuda`.

    Args:
        operator: realised.
        size: (H, W) of x.
    """
    with _quiet(recorder):
        measurements = Measurements(operator, size, 1, 0)
        frames = block_frames(solver.block_size)
    recorder.phase = "open"
    stream = solver.open(operator, size=size)
    records = []
    with _stages_as_phases(recorder):
        for number in range(count):
            with _quiet(recorder):
                measured = measurements.take(frames[min(number, 1)]).to(solver.device)
            recorder.phase = f"block{number} other"
            recorder.forget_peak()
            restored = stream.push(measured)
            given = sum(block.shape[2] for block in restored)
            del restored, measured
            records.append(BlockRecord(recorder.live, recorder.peak, given))
    return records


@contextmanager
def recorded(capability: tuple[int, int] = (9, 0)) -> Iterator[Recorder]:
    """A fake CUDA device without what caches of lvis hold of real ones."""
    from lvis.plan.networks import forget_caches

    forget_caches()
    recorder = Recorder(capability)
    try:
        with fake_cuda(recorder):
            yield recorder
    finally:
        forget_caches()


@contextmanager
def _quiet(recorder: Recorder) -> Iterator[None]:
    before, recorder.listening = recorder.listening, False
    try:
        yield
    finally:
        recorder.listening = before


@contextmanager
def _stages_as_phases(recorder: Recorder) -> Iterator[None]:
    clock = Stream.clock

    @contextmanager
    def staged(stream: Stream, stage: str) -> Iterator[None]:
        before = recorder.phase
        recorder.phase = f"{before.split()[0]} {stage}"
        try:
            with clock(stream, stage):
                yield
        finally:
            recorder.phase = before

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(Stream, "clock", staged))
        yield
