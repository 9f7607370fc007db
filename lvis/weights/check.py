"""Accounting for every key of a checkpoint before any of it is used."""

from collections.abc import Mapping

from torch import Tensor, nn

from lvis.errors import UserError

_LISTED = 6


def account(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Check that `state` has exactly the keys and shapes of `module` (which may be on the meta
    device).

    Raises:
        UserError: one sentence with the counts and the names of what is missing, unexpected or mis-
            shaped.
    """
    expected = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    given = {key: tuple(tensor.shape) for key, tensor in state.items()}
    missing = [f"{key} {expected[key]}" for key in expected if key not in given]
    unexpected = [f"{key} {given[key]}" for key in given if key not in expected]
    misshaped = [
        f"{key} is {given[key]} instead of {expected[key]}"
        for key in expected
        if key in given and given[key] != expected[key]
    ]
    faults = [
        f"{len(names)} {word} ({_listing(names)})"
        for word, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("mis-shaped", misshaped),
        )
        if names
    ]
    if faults:
        raise UserError(
            f"the weights in {source} do not fit {type(module).__name__}, which has "
            f"{len(expected)} tensors: "
            f"{'; '.join(faults)}; give the matching configuration or another file"
        )


def fill(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Give `module`, whose parameters are on the meta device, the tensors of `state` without
    copying them.

    Raises:
        UserError: see `account`.
    """
    account(module, state, source)
    module.load_state_dict(dict(state), strict=True, assign=True)
    left = [name for name, buffer in module.named_buffers() if buffer.is_meta]
    assert not left, f"{left} had no storage after loading {source}"


def _listing(names: list[str]) -> str:
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")
