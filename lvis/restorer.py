"""The library's front door: a solver and an operator, ready to restore whole clips, files or streams."""

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from lvis.cli.build import build
from lvis.cli.config import CONF, compose, plain
from lvis.data.frames import to_frames, to_video
from lvis.data.video import open_source
from lvis.errors import UserError
from lvis.operators import Inpainting, LinearOperator
from lvis.restore.masks import needs_mask, with_mask
from lvis.restore.run import Run
from lvis.restore.settings import Settings
from lvis.restore.unknowns import trusting
from lvis.solvers.base import Solver, Stream
from lvis.solvers.build import build_solver
from lvis.untrusted import MOST_HELD

Frames = TypeVar("Frames", Tensor, np.ndarray)
Mask = Tensor | np.ndarray | str | os.PathLike[str]


class Restorer:
    """Restores measurements y = A(x) + n: whole clips by a call, live video by `stream`.

    Examples:
        >>> import torch
        >>> from lvis import Restorer
        >>> restorer = Restorer.from_pretrained("tiny", task="deblur", solver="pinv")
        >>> tuple(restorer(torch.zeros(1, 3, 9, 64, 64)).shape)
        (1, 3, 9, 64, 64)

    Args:
        solver: any `lvis.solvers.Solver`.
        operator: the A that made the measurements; a random mask is replaced at each call.
        config: keys of conf/restore.yaml for files, such as `quality`; None takes the defaults.
    """

    def __init__(
        self, solver: Solver, operator: LinearOperator, config: DictConfig | None = None
    ) -> None:
        self.solver, self.operator = solver, operator
        self._config = compose("restore") if config is None else config

    @classmethod
    def from_pretrained(
        cls,
        model: str = "small",
        task: str = "deblur",
        solver: str = "student",
        *,
        operator: LinearOperator | None = None,
        device: str = "auto",
        precision: str = "auto",
        overrides: Sequence[str] = (),
        **settings: Any,
    ) -> "Restorer":
        """The solver and the operator that `python -m lvis.restore` would use.

        Args:
            model: a file of conf/model: "tiny", whose weights ship with lvis, "wan1_3b",
                "wan14b" or "wan2_2_5b".
            task: a file of conf/task, such as "deblur", "sr4" or "inpaint".
            solver: a file of conf/solver, such as "student", "avis" or "pinv".
            operator: replaces the task's, such as one of your own or from `from_deepinv`.
            device: "auto" is CUDA where there is one, else the CPU.
            precision: "fp32"; "bf16" for the transformer and the decoder; "auto" is bf16 on a GPU
                that has it, else fp32.
            overrides: as on the command line, such as "task.operator.sigma=2" or "vae=wan".
            settings: keys of the solver, such as `weights="outputs/deblur_lean_tiny/student"`.

        Raises:
            UserError: an unknown name or key, weights that cannot be found, or no such device.
        """
        for group, name in (("model", model), ("task", task), ("solver", solver)):
            if not (CONF / group / f"{name}.yaml").is_file():
                known = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
                raise UserError(f"{group}={name!r} is not known; use one of {', '.join(known)}")
        chosen = [f"task={task}", f"model={model}", f"solver={solver}"]
        config = compose(
            "restore", [*chosen, f"device={device}", f"precision={precision}", *overrides]
        )
        for key, value in settings.items():
            try:
                OmegaConf.update(config, f"solver.{key}", value)
            except OmegaConfBaseException as error:
                keys = ", ".join(str(name) for name in config.solver if str(name)[0] != "_")
                raise UserError(f"solver={solver} has no key {key}; it has {keys}") from error
        return cls(build_solver(config), operator or build(config.task.operator), config)

    def __call__(
        self,
        measurement: "Frames | str | os.PathLike[str]",
        *,
        mask: Mask | None = None,
        output: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        prompt: str = "",
        seed: int = 0,
    ) -> "Frames | np.ndarray | Path":
        """Restore one clip.

        Args:
            measurement: float (B, 3, T, H, W) or (3, T, H, W) in [-1, 1]; uint8 (T, H, W, 3), as a
                tensor or an array; or the path of a video or a folder of frames.
            mask: for inpainting tasks, true or 1 where observed: (H, W), (T, H, W) or
                (B, 1, T, H, W), or the path of an image, a folder of images or a video.
            output: where to write the restored video of a path, in constant memory, with its frame
                rate and sound.
            overwrite: whether a file `output` that is there already is replaced.
            prompt: what the video shows; "" is the null prompt.
            seed: of whatever the solver draws.

        Returns:
            The restored clip in the form of the measurement; of a path, uint8 (T, H, W, 3), or
            the path `output`.

        Raises:
            UserError: a measurement, mask or output that does not fit.
        """
        if isinstance(measurement, str | os.PathLike):
            return self._file(os.fspath(measurement), mask, output, overwrite, prompt, seed)
        if output is not None:
            raise UserError("output is for measurements given as a path; save the result yourself")
        video = _to_video(measurement)
        with self.stream(
            (video.shape[-2], video.shape[-1]),
            mask=mask,
            prompt=prompt,
            seed=seed,
            batch=video.shape[0],
        ) as stream:
            blocks = stream.push(video) + stream.finish()
        return _like(measurement, torch.cat(blocks, dim=2))

    def stream(
        self,
        size: tuple[int, int],
        *,
        mask: Mask | None = None,
        prompt: str = "",
        seed: int = 0,
        batch: int = 1,
    ) -> Stream:
        """A stream for measurements of `size` (H, W), to be used as a context manager.

        `push` takes float (B, 3, any T, H, W) in [-1, 1] and returns the blocks that this
        completes; `finish` returns the rest. `mask`, `prompt` and `seed` are those of a call.

        Raises:
            UserError: a size, mask or operator that the solver cannot use.
        """
        return self._open(self.solver, size, mask, prompt, seed, batch)

    def _open(
        self,
        solver: Solver,
        size: tuple[int, int],
        mask: Mask | None,
        prompt: str,
        seed: int,
        batch: int,
    ) -> Stream:
        if self.operator.space == "latent":
            raise UserError("a mask on latents cannot have made this measurement; use space=pixel")
        shape = self.operator.video_shape((1, 3, 1, *size))
        restored = (shape[-2], shape[-1])
        operator = self._operator(mask, restored)
        return solver.open(operator, restored, prompt=prompt, seed=seed, batch=batch)

    def _operator(self, mask: Mask | None, size: tuple[int, int]) -> LinearOperator:
        """The operator with this mask in place of a random one."""
        if mask is None:
            if needs_mask(self.operator):
                raise UserError(
                    "this task needs the mask that the measurement was made with; give mask="
                )
            return self.operator
        operator = copy.deepcopy(self.operator)  # the next call may have another mask
        if isinstance(mask, str | os.PathLike):
            return with_mask(operator, os.fspath(mask), size)
        holder = next((part for part in operator.modules() if isinstance(part, Inpainting)), None)
        if holder is None:
            raise UserError(
                "mask has no use in this task; leave it out or choose an inpainting task"
            )
        holder.mask = Inpainting(mask=torch.as_tensor(mask)).mask
        return operator

    def _file(
        self,
        path: str,
        mask: Mask | None,
        output: str | os.PathLike[str] | None,
        overwrite: bool,
        prompt: str,
        seed: int,
    ) -> np.ndarray | Path:
        if output is None:
            with open_source(path) as source:
                frames: list[np.ndarray] = []
                for frame in source:
                    frames.append(frame)
                    if len(frames) * frame.nbytes > MOST_HELD:
                        raise UserError(f"{path} is too long to be held in memory; give output=")
            return np.asarray(self(np.stack(frames), mask=mask, prompt=prompt, seed=seed))
        keys = plain(self._config) | {"input": path, "output": os.fspath(output), "seed": seed}
        keys["overwrite"] = overwrite or keys["overwrite"]
        settings = Settings.of(keys)
        with open_source(
            path, most_pixels=settings.max_pixels, deinterlace=settings.deinterlace
        ) as source:
            size = (source.info.height, source.info.width)
            solver = trusting(self.solver, source.info, keys["floor"])
            opened = self._open(solver, size, mask, prompt, seed, batch=1)
            with opened as stream:
                with Run(settings, source.info, stream.size, solver, stream) as run:
                    run.through(source)
        return Path(output)


def _to_video(clip: Tensor | np.ndarray) -> Tensor:
    """A clip in any of the forms of `Restorer.__call__` as float (B, 3, T, H, W)."""
    if str(clip.dtype).endswith("uint8") and clip.ndim == 4 and clip.shape[3] == 3:
        return to_video(np.asarray(clip))
    if isinstance(clip, Tensor) and clip.is_floating_point() and clip.ndim in (4, 5):
        return clip.float() if clip.ndim == 5 else clip[None].float()
    raise UserError(
        f"a measurement of shape {tuple(clip.shape)} and type {clip.dtype} is not a clip; give a float tensor "
        "(B, 3, T, H, W) or (3, T, H, W) in [-1, 1], or uint8 frames (T, H, W, 3)"
    )


def _like(clip: Frames, video: Tensor) -> Frames:
    """`video` (B, 3, T, H, W) in the form and on the device of `clip`."""
    if isinstance(clip, np.ndarray):
        return to_frames(video)
    if clip.dtype == torch.uint8:
        return torch.from_numpy(to_frames(video)).to(clip.device)
    video = video.to(clip.device, clip.dtype)
    return video if clip.ndim == 5 else video[0]
