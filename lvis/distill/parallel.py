"""One training on several processes: which strategy, sharded nets, flags and gradients that all agree on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import (
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor

from lvis.backbone import WanTransformer
from lvis.backbone.sequence import SequenceParallel
from lvis.errors import UserError

STRATEGIES = ("auto", "ddp", "fsdp")


def build_strategy(name: str, processes: int) -> Strategy | str:
    """Lightning's strategy for `trainer.strategy`.

    ddp copies every net to every process; fsdp is FSDP2, which shares out student, teacher and critic. FSDP 1 is not
    offered: it neither clips gradients by their norm nor runs without a GPU.

    Raises:
        UserError: another name.
    """
    if name not in STRATEGIES:
        raise UserError(f"trainer.strategy={name} is not known: use one of {', '.join(STRATEGIES)}")
    if name == "fsdp":
        # ours are checkpoints of their own kind (see checkpoints.py)
        return ModelParallelStrategy(
            data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False
        )
    # student and critic are updated in turn, so that DDP must look for what took no part
    return "ddp_find_unused_parameters_true" if name == "ddp" else "auto"


def mesh_of(strategy: Strategy) -> DeviceMesh | None:
    """The processes that share the nets; None when each has its own copy."""
    if not isinstance(strategy, ModelParallelStrategy):
        return None
    return strategy.device_mesh["data_parallel"]


def block_policy(device: str, autocast: bool) -> MixedPrecisionPolicy:
    """In which dtype FSDP gathers a block's parameters: on CUDA, under autocast, in bfloat16.

    Half the traffic and half the memory of a gathered block. Its products are what they were, for
    autocast would have rounded their weights; norms' weights and the modulation's table are rounded, too. Gradients are
    summed, and parameters kept and updated, in float32.
    """
    if device != "cuda" or not autocast:
        return MixedPrecisionPolicy()
    # activations between blocks and modulation stay as they are, float32
    return MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)


def shard(net: WanTransformer, mesh: DeviceMesh, autocast: bool = False) -> None:
    """Share out a transformer's parameters, a block at a time (FSDP2).

    Args:
        autocast: whether its passes run under autocast to bfloat16; see `block_policy`.
    """
    policy = block_policy(mesh.device_type, autocast)
    for block in net.net.blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    # by default the outermost stays whole after a pass, and after one without gradients its parameters would be other
    # tensors than those that the optimiser knows
    fully_shard(net, mesh=mesh, reshard_after_forward=True)
    register_fsdp_forward_method(net, "roll")


@contextmanager
def syncing(strategy: Strategy, last: bool) -> Iterator[None]:
    """Under DDP, gradients stay local within the block unless this is the step's last micro-batch.

    FSDP reduces those of every micro-batch: kept local they would be whole, 5.7 GB for 1.4e9 parameters.
    """
    if not last and isinstance(strategy.model, nn.parallel.DistributedDataParallel):
        with strategy.model.no_sync():
            yield
    else:
        yield


def share_clips(nets: Sequence[WanTransformer], processes: int) -> None:
    """Let each run of this many processes share the tokens of its clips; every process must ask.

    Raises:
        UserError: the processes of the run do not divide into such groups.
    """
    world = world_size()
    if world % processes:
        raise UserError(
            f"trainer.sequence_parallel={processes} does not divide the {world} processes of this run: use a divisor"
        )
    rank = distributed.get_rank()
    for first in range(0, world, processes):
        members = list(range(first, first + processes))
        group: Any = distributed.new_group(members)  # a marker for those that are not in it
        if rank in members:
            for net in nets:
                net.sequence = SequenceParallel(group)


def world_size() -> int:
    """Processes of this run."""
    return distributed.get_world_size() if _running() else 1


def agreed_any(flag: bool, device: torch.device) -> bool:
    """Whether `flag` is set on any process; every process must ask, at the same point."""
    if not _running():
        return flag
    votes = torch.tensor([float(flag)], device=device)
    distributed.all_reduce(votes, op=distributed.ReduceOp.MAX)
    return bool(votes.item())


def agreed_mean(values: dict[str, float], device: torch.device) -> dict[str, float]:
    """The mean over processes of each value; all must have the same names."""
    if not _running() or not values:
        return values
    total = torch.tensor(list(values.values()), dtype=torch.float64, device=_wide(device))
    distributed.all_reduce(total)
    return dict(zip(values, (total / distributed.get_world_size()).tolist(), strict=True))


def gathered(value: Any) -> list[Any]:
    """The values of all processes, in their order; every process must ask."""
    if not _running():
        return [value]
    values: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values


def whole(tensor: Tensor) -> Tensor:
    """A shared-out tensor put together on every process; others as they are."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def own_part(tensor: Tensor) -> Tensor:
    """This process's rows of a shared-out tensor; others as they are."""
    return cast(Tensor, tensor.to_local()) if isinstance(tensor, DTensor) else tensor


def own_rows(tensor: Tensor) -> tuple[int, int]:
    """The rows [begin, end) of the whole tensor that `own_part` has; (0, rows) where it is not sharded."""
    rows = tensor.shape[0] if tensor.ndim else 1
    if not isinstance(tensor, DTensor):
        return 0, rows
    # FSDP2 cuts the first dimension as torch.chunk does
    mesh = tensor.device_mesh
    share = -(-rows // mesh.size())
    begin = min(rows, mesh.get_local_rank() * share)
    end = min(rows, begin + share)
    assert end - begin == own_part(tensor).shape[0], (tensor.shape, begin, end)
    return begin, end


def _running() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _wide(device: torch.device) -> torch.device:
    # MPS has no float64; the processes of a CUDA run reduce on their GPU
    return device if device.type == "cuda" else torch.device("cpu")
