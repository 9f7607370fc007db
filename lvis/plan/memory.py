"""What stays allocated on each GPU during the training, by part and by strategy."""

from dataclasses import dataclass

from torch import nn

from lvis.distill.lora import trained
from lvis.distill.losses import Losses
from lvis.errors import UserError
from lvis.plan.networks import parameter_bytes, trained_bytes

SINGLE, DDP, FSDP = "single", "ddp", "fsdp"
FLOAT32 = 4


@dataclass(frozen=True)
class Strategy:
    """How the processes divide the training.

    share: of the transformers' weights, gradients, moments and average that one process keeps.
    """

    name: str
    devices: int

    @property
    def share(self) -> float:
        return 1 / self.devices if self.name == FSDP else 1.0


def strategy_of(name: str, devices: int) -> Strategy:
    """The strategy behind a trainer's `strategy` on this many GPUs.

    Raises:
        UserError: no such number of GPUs, an unknown strategy, or several GPUs without one.
    """
    if devices < 1:
        raise UserError(f"devices={devices} is not a number of GPUs: use 1 or more")
    if name == "auto":
        return Strategy(SINGLE if devices == 1 else DDP, devices)
    if name in ("single", "single_device"):
        if devices > 1:
            raise UserError(
                f"trainer.strategy={name} uses one GPU, not devices={devices}: use trainer=ddp or "
                "trainer=fsdp"
            )
        return Strategy(SINGLE, 1)
    for known in (DDP, FSDP):
        if name == known or name.startswith(known + "_"):
            return Strategy(known, devices)
    raise UserError(
        f"trainer.strategy={name} cannot be planned: use auto, single_device, ddp or fsdp"
    )


def persistent_parts(
    losses: Losses, strategy: Strategy, text_encoder: nn.Module | None
) -> dict[str, float]:
    """Bytes that one GPU holds throughout, by part.

    Args:
        losses: with fake or real nets.
        text_encoder: where it stays loaded (no `distill.prompt_cache`).
    """
    settings, share = losses.settings, strategy.share
    updated = {"student": losses.student}
    if settings.prior_weight > 0:
        updated["critic"] = losses.critic
    # what adapters leave alone is one tensor for all three, which FSDP shards three times
    seen: set[int] | None = None if strategy.name == FSDP else set()
    vaes = {id(vae): vae for vae in (losses.student_vae, losses.teacher_vae)}
    parts: dict[str, float] = {
        "teacher weights": parameter_bytes(losses.teacher, seen) * share,
        "student weights": parameter_bytes(losses.student, seen) * share,
        "critic weights": parameter_bytes(losses.critic, seen) * share,
        "VAE weights": sum(parameter_bytes(vae) for vae in vaes.values()),
    }
    if text_encoder is not None:
        parts["text encoder weights"] = parameter_bytes(text_encoder)
    for name, net in updated.items():
        parts[f"{name} Adam moments"] = moment_bytes(net) * share
    if settings.ema_decay > 0:
        parts["student average (EMA)"] = trained_count(losses.student) * FLOAT32 * share
    if strategy.name == DDP:
        # DDP copies gradients into buckets that stay allocated
        parts["DDP gradient buckets"] = sum(trained_bytes(net) for net in updated.values())
    if strategy.name == FSDP:
        # the group that computes, the next one on its way, and the gradient of a whole group
        parts["FSDP unsharded groups"] = 3 * largest_group(losses.student)
    return parts


def gradient_bytes(losses: Losses, strategy: Strategy) -> float:
    """Bytes of one net's gradients: student and critic are updated one after the other, and each
    frees its own."""
    return max(trained_bytes(losses.student), trained_bytes(losses.critic)) * strategy.share


def optimiser_bytes(losses: Losses, strategy: Strategy) -> float:
    """Bytes beyond the persistent ones while AdamW steps: the gradients, and the square roots of
    the second moments, which torch's multi-tensor version takes of all parameters at once."""
    return 2 * gradient_bytes(losses, strategy)


def moment_bytes(net: nn.Module) -> int:
    """AdamW's two moments in the parameters' dtype, and a float32 step count a tensor."""
    return 2 * trained_bytes(net) + FLOAT32 * len(list(trained(net)))


def largest_group(net: nn.Module) -> int:
    """Bytes of the largest group that FSDP gathers: a block, or all that is outside of the
    blocks."""
    blocks = [parameter_bytes(block) for block in net.net.blocks]  # type: ignore[union-attr]
    return max(*blocks, parameter_bytes(net) - sum(blocks))


def count(net: nn.Module) -> int:
    """Parameters of a module."""
    return sum(p.numel() for p in net.parameters())


def trained_count(net: nn.Module) -> int:
    """Parameters that training changes."""
    return sum(p.numel() for _, p in trained(net))
