"""What the student's output means: from the transformer's one answer to the clean latents."""

from torch import Tensor

from lvis.errors import UserError

PARAMETRIZATIONS = ("flow", "residual", "x0")


def student_prediction(
    latents: Tensor, velocity: Tensor, timestep: Tensor | float, parametrization: str
) -> Tensor:
    """z0 = q(z_in) (InstantViR, Algorithm 1, line 6), from the transformer's output at z_in.

    Args:
        latents: z_in, (B, 16, t, h, w).
        velocity: the transformer's output there, the same shape.
        timestep: in [0, 1000]; a number, (B,) or (B, t).
        parametrization: "flow": z_in - sigma v with sigma = timestep / 1000, the teacher's own step
            to x0, which at sigma = 0 would leave z_in as it is; "residual": z_in + v; "x0": v
            itself.

    Raises:
        UserError: another parametrization.
    """
    if parametrization == "residual":
        return latents + velocity
    if parametrization == "x0":
        return velocity
    if parametrization == "flow":
        sigma = timestep / 1000
        if isinstance(sigma, Tensor) and sigma.ndim:
            per_frame = sigma if sigma.ndim == 2 else sigma[:, None]
            sigma = per_frame[:, None, :, None, None].to(latents.dtype)
        return latents - sigma * velocity
    raise UserError(
        f"parametrization={parametrization} is not known; use one of {', '.join(PARAMETRIZATIONS)}"
    )
