"""The student's answer is the teacher's own step to x0, or another of the named readings."""

import pytest
import torch

from lvis.errors import UserError
from lvis.solvers import student_prediction

LATENTS = torch.randn(2, 4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
NOISE = torch.randn(2, 4, 3, 2, 2, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "timestep",
    [522.0, torch.tensor([522.0, 100.0]), torch.tensor([[522.0, 10.0, 0.0], [1000.0, 3.0, 7.0]])],
)
def test_flow_returns_x0_from_the_true_velocity(timestep):
    sigma = torch.as_tensor(timestep) / 1000
    sigma = sigma[:, None] if sigma.ndim == 1 else sigma
    sigma = sigma[:, None, :, None, None] if sigma.ndim else sigma
    noisy = (1 - sigma) * LATENTS + sigma * NOISE
    prediction = student_prediction(noisy, NOISE - LATENTS, timestep, "flow")
    torch.testing.assert_close(prediction, LATENTS)


def test_residual_adds_and_x0_takes_the_output_itself():
    assert torch.equal(student_prediction(LATENTS, NOISE, 0.0, "residual"), LATENTS + NOISE)
    assert torch.equal(student_prediction(LATENTS, NOISE, 0.0, "x0"), NOISE)


def test_an_unknown_parametrization_is_named_with_the_known_ones():
    with pytest.raises(UserError, match="epsilon.*flow, residual, x0"):
        student_prediction(LATENTS, NOISE, 0.0, "epsilon")
