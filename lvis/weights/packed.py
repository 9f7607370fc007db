"""A student as 8-bit differences from the teacher it was distilled from.

Each tensor of the student becomes round(127 (student - base) / scale), with one scale for an output
row of a matrix and one for a whole vector; where a few outliers would spend the 8 bits, the
difference is kept in float16, and a tensor that the base lacks in float16 whole. The file is
safetensors whose metadata names the base and the digest of its tensors, so that a student is never
added to another teacher.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from lvis.errors import UserError
from lvis.weights import safe
from lvis.weights.keys import State

FORMAT = "lvis-int8-delta-1"
BASE = "bundled:tiny/teacher"

_LEVELS = 127
# rms quantisation error, as a share of the median difference, above which it stays float16: the
# median, because the outliers that spend the levels would also hide the loss in a mean
_TOLERANCE = 0.05


def pack(
    student: Mapping[str, Tensor],
    base: Mapping[str, Tensor],
    path: str | Path,
    base_source: str = BASE,
) -> None:
    """Write `student` to `path` as its difference from `base`, which `base_source` will name when
    it is read.

    Raises:
        UserError: the student has a value that is not finite, or `path` cannot be written.
    """
    stored: State = {}
    for key, tensor in student.items():
        weight = tensor.detach().cpu().float()
        if not bool(torch.isfinite(weight).all()):
            raise UserError(
                f"the student's {key} holds values that are not finite; train it again or fix it"
            )
        if key not in base or base[key].shape != weight.shape:
            stored[f"{key}:full"] = weight.half()
            continue
        difference = weight - base[key].detach().cpu().float()
        levels, scale = _quantise(difference)
        error = (_restore(levels, scale, weight.shape) - difference).square().mean().sqrt()
        if error > _TOLERANCE * difference.abs().median():
            stored[f"{key}:difference"] = difference.half()
        else:
            stored[f"{key}:levels"], stored[f"{key}:scale"] = levels, scale
    metadata = {"format": FORMAT, "base": base_source, "base_sha256": digest(base)}
    tensors = {key: tensor.contiguous() for key, tensor in stored.items()}
    safe.write_tensors(Path(path), tensors, metadata)


def unpack(path: str | Path, base: Mapping[str, Tensor] | None = None) -> State:
    """The student's float32 state dict; the base is read from the source that the file names if not
    given.

    Raises:
        UserError: the file is not a packed student, or the base is missing or not the one it was
            packed against.
    """
    path = Path(path)
    stored, metadata = safe.read_file(path)
    source = base_source(metadata, path)
    if base is None:
        from lvis.weights.resolve import TRANSFORMER, resolve

        base = resolve(source, TRANSFORMER).state()
    if digest(base) != metadata.get("base_sha256"):
        raise UserError(
            f"{path} is a difference from another version of {source} (its sha256 starts with "
            f"{metadata.get('base_sha256', '')[:12]}, here it is {digest(base)[:12]}); get the "
            "one it was packed against"
        )
    student: State = {}
    for name, tensor in stored.items():
        key, _, form = name.rpartition(":")
        if form == "scale":
            continue
        if form == "full":
            student[key] = tensor.float()
        elif key not in base or form not in ("difference", "levels"):
            raise UserError(
                f"{path} holds {name}, which has no place in a packed student; get the file again"
            )
        elif form == "difference":
            student[key] = base[key].float() + tensor.float()
        else:
            student[key] = base[key].float() + _restore(
                tensor, stored[f"{key}:scale"], base[key].shape
            )
    return student


def base_source(metadata: Mapping[str, str], path: Path) -> str:
    """The source of the base that a packed file's metadata names.

    Raises:
        UserError: the metadata is not that of a packed student.
    """
    if metadata.get("format") != FORMAT or "base" not in metadata:
        raise UserError(f"{path} is not a packed student of format {FORMAT}; give another file")
    return metadata["base"]


def digest(state: Mapping[str, Tensor]) -> str:
    """A sha256 of names, shapes and float32 values, whatever file or format they came from."""
    total = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().cpu().float().contiguous()
        total.update(f"{key} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.numpy().data)
    return total.hexdigest()


def _rows(shape: torch.Size) -> int:
    if len(shape) < 2:
        return 1
    # modulation tables are (1, 6, D): their rows lie in the second dimension
    return shape[0] if shape[0] > 1 else shape[1]


def _quantise(difference: Tensor) -> tuple[Tensor, Tensor]:
    rows = difference.reshape(_rows(difference.shape), -1)
    scale = rows.abs().amax(dim=1, keepdim=True) / _LEVELS
    levels = (
        (rows / scale.clamp_min(torch.finfo(torch.float32).tiny)).round().clamp(-_LEVELS, _LEVELS)
    )
    return levels.to(torch.int8), scale


def _restore(levels: Tensor, scale: Tensor, shape: torch.Size) -> Tensor:
    return (levels.float() * scale).reshape(shape)
