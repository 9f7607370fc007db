"""One training step through `Losses` itself, phase by phase, under a `Ledger`."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lvis.distill.losses import Losses
from lvis.distill.randomness import Draws
from lvis.plan.ledger import Ledger, SavedTensors

TEXT = "text embeddings"
STUDENT, TEACHER, CRITIC = "student", "teacher", "critic"
ENCODE, DECODE, BRIDGE = "student VAE encode", "student VAE decode", "teacher VAE encode"


@dataclass
class Phase:
    """What one part of a step was seen to need.

    peak: bytes at the worst moment by what they are (see `Ledger`); stage: of that moment;
    highest: the most of each kind at any moment; kept: bytes that the forward passes leave for the
    backward pass; operations: see `Ledger`.
    """

    peak: Counter[str]
    stage: str
    highest: Counter[str]
    kept: float = 0.0
    operations: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    @property
    def peak_bytes(self) -> float:
        return sum(self.peak.values())

    @property
    def flops(self) -> int:
        return sum(self.operations.values())


@dataclass
class Step:
    """The phases of the two kinds of step: `student` and then `critic`; or `target`, the forward
    pass for a critic alone, and then `critic`."""

    student: Phase
    critic: Phase | None
    target: Phase | None


def run_step(
    losses: Losses,
    video_shape: tuple[int, ...],
    gradient_share: float = 1.0,
    after_backward: Callable[[nn.Module], None] = lambda net: None,
) -> Step:
    """Run one micro-batch of each phase, forward and backward, without an optimiser.

    With `accumulate` above 1 it is the last micro-batch: the others' measurements and gradients are
    there.

    Args:
        losses: with fake nets, inside their mode, or with real ones.
        video_shape: (accumulate B, 3, T, H, W), a process's clips of one step.
        gradient_share: see `Ledger`.
        after_backward: called with the student and with the critic when its gradients are there;
            what it allocates is not counted.
    """
    settings = losses.settings
    prompts = ["a prompt"] * (video_shape[0] // settings.accumulate)
    draws = Draws(0, 0, range(len(prompts)))
    nets = (losses.student, losses.teacher, losses.critic, losses.student_vae, losses.teacher_vae)
    ledger = Ledger(*nets, gradient_share=gradient_share)

    def backward(net: nn.Module, loss: Tensor) -> Phase:
        kept = ledger.alive
        with ledger.backward():
            loss.backward()
        phase = _phase(ledger, kept)
        with ledger.ignoring():
            after_backward(net)
        net.zero_grad(set_to_none=True)
        return phase

    def begin(net: nn.Module | None) -> None:
        if net is not None and settings.accumulate > 1:
            ledger.hold_gradients(net)
        ledger.operations.clear()
        ledger.forget_peak()

    with ledger:
        _attribute(ledger, losses)
        clean = torch.zeros(video_shape)
        begin(losses.student)
        measurements = [
            losses.measure(part, prompts, draws["measurement"])
            for part in clean.split(len(prompts))
        ]
        measurement = measurements[-1]
        terms, target = losses.student_terms(measurement, draws, settings.prior_weight)
        loss = terms.pop("total")
        terms.clear()
        student = backward(losses.student, loss)
        if settings.prior_weight == 0:
            return Step(student, None, None)
        assert target is not None
        begin(losses.critic)
        critic = backward(losses.critic, losses.critic_term(target, measurement.prompts, draws))
        del loss, target
        begin(None)
        losses.critic_target(measurement)
        alone = _phase(ledger, 0.0)
    return Step(student, critic, alone)


def transformer_activations(losses: Losses, latents: tuple[int, ...], checkpointing: bool) -> float:
    """Bytes that the student's forward pass leaves for its backward pass; copies of the weights
    included.

    Args:
        latents: (B, 16, t, h, w).
    """
    net = losses.student
    before, net.gradient_checkpointing = net.gradient_checkpointing, checkpointing
    try:
        with Ledger(net, losses.student_vae) as ledger:
            z_in = torch.zeros(latents)
            at_first = ledger.alive
            kept = losses.predict(z_in, ["a prompt"] * latents[0])
            result = ledger.alive - at_first
            del kept
    finally:
        net.gradient_checkpointing = before
    return result


def saved_activations(losses: Losses, latents: tuple[int, ...]) -> int:
    """The same without checkpointing, by autograd's own hooks on what it saves."""
    net = losses.student
    before, net.gradient_checkpointing = net.gradient_checkpointing, False
    try:
        with SavedTensors(net) as saved:
            kept = losses.predict(torch.zeros(latents), ["a prompt"] * latents[0])
        del kept
    finally:
        net.gradient_checkpointing = before
    return saved.bytes


def _phase(ledger: Ledger, kept: float) -> Phase:
    operations = ledger.operations.copy()
    return Phase(ledger.peak, ledger.peak_stage, ledger.highest, kept, operations)


def _attribute(ledger: Ledger, losses: Losses) -> None:
    for net, stage in (
        (losses.student, STUDENT),
        (losses.teacher, TEACHER),
        (losses.critic, CRITIC),
    ):
        ledger.attribute(net, stage)
        for block in net.net.blocks:
            # in a backward pass a checkpointed block runs by itself
            ledger.attribute(block, stage)
    ledger.attribute(losses.student_vae, DECODE, "decode_block")
    ledger.attribute(losses.student_vae, ENCODE, "encode_block")
    if losses.teacher_vae is not losses.student_vae:
        ledger.attribute(losses.teacher_vae, BRIDGE, "encode_block")
    if isinstance(losses.encode_text, nn.Module):
        ledger.attribute(losses.encode_text, TEXT)
