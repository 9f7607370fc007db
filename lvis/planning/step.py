"""One training step through `Losses` itself, phase by phase, under a `Ledger`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lvis.distill.losses import Losses, Measurement
from lvis.distill.randomness import draws_of
from lvis.planning.ledger import Ledger, SavedTensors

TEXT = "text embeddings"
STUDENT, TEACHER, CRITIC = "student", "teacher", "critic"
ENCODE, DECODE, BRIDGE = "student VAE encode", "student VAE decode", "teacher VAE encode"


@dataclass
class Phase:
    """What one part of a step was seen to need.

    peak: bytes at the worst moment by what they are (see `Ledger`); stage: of that moment; kept:
    bytes that the forward passes leave for the backward pass; operations: see `Ledger`.
    """

    peak: Counter[str]
    stage: str
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


def run_step(losses: Losses, video_shape: tuple[int, ...], gradient_share: float = 1.0) -> Step:
    """Run one micro-batch of each phase, forward and backward, without an optimiser.

    Args:
        losses: with fake nets, inside their mode, or with real ones.
        video_shape: (B, 3, T, H, W) of the micro-batch.
        gradient_share: see `Ledger`.
    """
    draws = draws_of(0, 0, 0)
    prompts = ["a prompt"] * video_shape[0]
    nets = (losses.student, losses.teacher, losses.critic, losses.student_vae, losses.teacher_vae)
    ledger = Ledger(*nets, gradient_share=gradient_share)
    with ledger:
        _attribute(ledger, losses)
        clean = torch.zeros(video_shape)
        prior = losses.settings.prior_weight
        ledger.forget_peak()
        measurement = losses.measure(clean, prompts, draws["measurement"])
        terms, target = losses.student_terms(measurement, draws, prior)
        student = _backward(ledger, terms.pop("total"))
        terms.clear()
        losses.student.zero_grad(set_to_none=True)
        if prior == 0:
            return Step(student, None, None)
        assert target is not None
        critic = _critic(ledger, losses, target, measurement, draws)
        del target
        ledger.operations.clear()
        ledger.forget_peak()
        losses.critic_target(measurement)
        alone = Phase(ledger.peak, ledger.peak_stage, 0.0, ledger.operations.copy())
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


def _critic(
    ledger: Ledger, losses: Losses, target: Tensor, measurement: Measurement, draws: Any
) -> Phase:
    ledger.operations.clear()
    ledger.forget_peak()
    loss = [losses.critic_term(target, measurement.prompts, draws)]
    phase = _backward(ledger, loss.pop())
    losses.critic.zero_grad(set_to_none=True)
    return phase


def _backward(ledger: Ledger, loss: Tensor) -> Phase:
    kept = ledger.alive
    with ledger.backward():
        loss.backward()
    return Phase(ledger.peak, ledger.peak_stage, kept, ledger.operations.copy())


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
