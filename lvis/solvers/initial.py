"""A measurement-consistent estimate to start from: AVIS, Eq. 9 and appendix B.1.

Legend: B batch, T frames, H W sides of x.
"""

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from lvis.cli import values
from lvis.operators import Composition, LinearOperator

METHODS = ("cg", "pinv")
INFILLS = ("nearest", "telea")
TELEA_RADIUS = 3  # pixels, as in AVIS's code


class InitialEstimate:
    """x_init = argmin_x |y - A x|^2 (Eq. 9), approximately.

    Args:
        method: "cg" takes `steps` conjugate gradient steps on A^T A x = A^T y from the lifted
            measurement, as the paper does; "pinv" is the operator's pseudo-inverse, the solution of
            Eq. 9 of smallest norm.
        steps: of "cg". Appendix B.1: 5 for deblurring and super-resolution, 50 for temporal and 100
            for spatio-temporal averages, 0 for inpainting, whose infilled measurement fits already.
        infill: how missing places are filled first: "nearest" observed place (the paper), or
            OpenCV's "telea" (the released code).

    Raises:
        UserError: an unknown method or infill, or a negative number of steps.
    """

    def __init__(self, method: str = "cg", steps: int = 5, infill: str = "nearest") -> None:
        values.one_of("x_init", method, METHODS)
        values.one_of("infill", infill, INFILLS)
        values.whole("x_init_steps", steps, 0)
        self.method, self.steps, self.infill = method, steps, infill

    def __call__(self, operator: LinearOperator, measurement: Tensor) -> Tensor:
        """x_init in [-1, 1] for a measurement without offset, (B, 3, T, H, W).

        The pseudo-inverse knows nothing of missing places, so a mask's are infilled under both
        methods.
        """
        start = self._lift(operator, measurement)
        if operator.missing(start.shape) is not None:
            return start.clamp(-1, 1)
        if self.method == "pinv":
            return operator.pinv(measurement).clamp(-1, 1)
        return operator.least_squares(measurement, start, self.steps).clamp(-1, 1)

    def _lift(self, operator: LinearOperator, measurement: Tensor) -> Tensor:
        if isinstance(operator, Composition):
            return self._lift(operator.inner, self._lift(operator.outer, measurement))
        lifted = operator.lift(measurement)
        missing = operator.missing(lifted.shape)
        if missing is None:
            return lifted
        fill = fill_nearest if self.infill == "nearest" else fill_telea
        return fill(lifted, missing)


def fill_nearest(video: Tensor, missing: Tensor) -> Tensor:
    """Every missing place gets the value of the observed place of its frame that lies nearest.

    Args:
        video: (B, C, T, H, W).
        missing: 1 where a place is missing, (B or 1, 1, T or 1, H, W); a frame with nothing
            observed stays as it is.
    """
    if missing not in _SOURCES:
        with torch.inference_mode(False):
            _SOURCES[missing] = _nearest(missing, video.device)
    index = _SOURCES[missing].to(video.device)
    return video.flatten(3).gather(3, index.expand(*video.shape[:3], -1)).reshape(video.shape)


# the answer for a mask that serves a whole stream, for as long as there is that mask
_SOURCES = WeakTensorKeyDictionary()


def _nearest(missing: Tensor, device: torch.device) -> Tensor:
    """Where each place's value comes from, (B or 1, 1, T or 1, H W)."""
    from scipy.ndimage import distance_transform_edt

    height, width = missing.shape[-2:]
    flat = missing.bool().flatten(0, 2).cpu().numpy()
    sources = np.empty((len(flat), height * width), dtype=np.int64)
    for frame, hidden in enumerate(flat):
        if hidden.all():
            sources[frame] = np.arange(height * width)
            continue
        rows, columns = distance_transform_edt(hidden, return_distances=False, return_indices=True)
        sources[frame] = (rows.astype(np.int64) * width + columns).ravel()
    index = torch.from_numpy(sources).to(device)
    return index.reshape(missing.shape[0], 1, missing.shape[2], -1)


def fill_telea(video: Tensor, missing: Tensor) -> Tensor:
    """OpenCV's fast-marching infilling of every frame in 8 bits; see `fill_nearest`."""
    import cv2

    missing = missing.bool().expand(video.shape[0], 1, *video.shape[2:]).cpu()
    filled = video.cpu().float().clone()
    for sample in range(video.shape[0]):
        for frame in range(video.shape[2]):
            image = filled[sample, :, frame].permute(1, 2, 0)
            pixels = ((image + 1) * 127.5).round().clamp(0, 255).byte().numpy()
            hidden = missing[sample, 0, frame].byte().numpy()
            restored = cv2.inpaint(pixels, hidden, TELEA_RADIUS, cv2.INPAINT_TELEA)
            values = torch.from_numpy(restored).float().permute(2, 0, 1) / 127.5 - 1
            filled[sample, :, frame] = torch.where(
                missing[sample, 0, frame], values, image.permute(2, 0, 1)
            )
    return filled.to(video)
