"""Sequence parallelism: several processes share the tokens of one clip (DeepSpeed-Ulysses, Jacobs et al. 2023).

Each of P processes holds an equal run of the tokens of every latent frame, and exchanges tokens for heads around
self-attention: there it has all tokens of 1 / P of the heads. Everything else acts on a token alone. A split
within frames rather than over them serves a stream too, whose blocks are few frames.

All processes of a group must be given the same latents, timestep and text, and return the same velocity.
Gradients of parameters are P times each process's part, so that their mean over processes, as DDP and FSDP take it,
is the gradient; that of the latents is whole on each.
"""

from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed import ProcessGroup

from lvis.backbone.attention import Attend
from lvis.errors import UserError


class SequenceParallel:
    """The share of one process in the tokens of a clip.

    Args:
        group: the processes that share a clip.

    Legend: P processes, B batch, t latent frames, n tokens per frame, H heads, d channels per head.
    """

    def __init__(self, group: ProcessGroup) -> None:
        self.group = group
        self.size = distributed.get_world_size(group)
        self.rank = distributed.get_rank(group)

    def check(self, heads: int, tokens_per_frame: int) -> None:
        """
        Raises:
            UserError: heads or tokens do not divide by the number of processes.
        """
        for count, what in ((heads, "heads"), (tokens_per_frame, "tokens per latent frame")):
            if count % self.size:
                raise UserError(
                    f"{count} {what} do not divide by the {self.size} processes that share a clip: use "
                    "another number of processes or another size"
                )

    def enter(self, latents: Tensor) -> Tensor:
        """The latents as they are; their gradient is summed over the processes."""
        return _Enter.apply(latents, self)

    def own(self, tokens: Tensor, dim: int) -> Tensor:
        """This process's run of the n tokens in dimension `dim`."""
        return tokens.chunk(self.size, dim)[self.rank]

    def together(self, tokens: Tensor, dim: int) -> Tensor:
        """All n tokens, from each process's run in dimension `dim`."""
        return _Together.apply(tokens, dim, self)

    def attend(self, attend: Attend, frames: int) -> Attend:
        """`attend` over all tokens, for queries, keys and values (B, t n / P, H, d) of this process's."""

        def over_heads(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            both = self._to_heads(torch.stack((query, key, value)), frames)
            return self._to_tokens(attend(*both.unbind()), frames)

        return over_heads

    def _to_heads(self, tensors: Tensor, frames: int) -> Tensor:
        """(S, B, t n / P, H, d) -> (S, B, t n, H / P, d)."""
        parts = tensors.unflatten(3, (self.size, -1)).unflatten(2, (frames, -1))
        received = _Exchange.apply(parts.movedim(4, 0).contiguous(), self)
        return received.movedim(0, 3).flatten(2, 4)

    def _to_tokens(self, attended: Tensor, frames: int) -> Tensor:
        """(B, t n, H / P, d) -> (B, t n / P, H, d)."""
        parts = attended.unflatten(1, (frames, self.size, -1))
        received = _Exchange.apply(parts.movedim(2, 0).contiguous(), self)
        return received.movedim(0, 3).flatten(3, 4).flatten(1, 2)

    def exchanged(self, parts: Tensor) -> Tensor:
        """Part p goes to process p, and what the others have for this one comes in its place."""
        received = torch.empty_like(parts)
        distributed.all_to_all_single(received, parts, group=self.group)
        return received

    def gathered(self, run: Tensor, dim: int) -> Tensor:
        """The runs of all processes, one after the other."""
        runs = [torch.empty_like(run) for _ in range(self.size)]
        distributed.all_gather(runs, run, group=self.group)
        return torch.cat(runs, dim)

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum over the processes, in place."""
        distributed.all_reduce(tensor, group=self.group)
        return tensor


class _Exchange(torch.autograd.Function):
    """Part p of the first dimension goes to process p; the same exchange takes gradients back."""

    @staticmethod
    def forward(ctx: Any, parts: Tensor, parallel: SequenceParallel) -> Tensor:
        ctx.parallel = parallel
        return parallel.exchanged(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return ctx.parallel.exchanged(gradient.contiguous()), None


class _Enter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, latents: Tensor, parallel: SequenceParallel) -> Tensor:
        ctx.parallel = parallel
        return latents.view_as(latents)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        total = ctx.parallel.summed(gradient.contiguous().clone())
        # each part was multiplied by the number of processes in `_Together`
        return total / ctx.parallel.size, None


class _Together(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, dim: int, parallel: SequenceParallel) -> Tensor:
        ctx.dim, ctx.parallel = dim, parallel
        return parallel.gathered(tokens.contiguous(), dim)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        # every process has the same loss; see the module's own docstring for the factor
        return ctx.parallel.own(gradient, ctx.dim) * ctx.parallel.size, None, None
