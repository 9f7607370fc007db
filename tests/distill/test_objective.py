"""The losses as pure functions, and the settings they are computed with."""

import pytest
import torch

from lvis.distill import objective
from lvis.distill.settings import Settings
from lvis.errors import UserError
from lvis.operators import Downsampling, Inpainting
from lvis.solvers.signature import latent_share


def test_prior_loss_has_the_gradient_it_was_given():
    target = torch.randn(2, 16, 3, 4, 4).requires_grad_()
    gradient = torch.randn(2, 16, 3, 4, 4)
    objective.prior_loss(target, gradient).backward()
    torch.testing.assert_close(target.grad, gradient / gradient.numel(), rtol=1e-4, atol=1e-9)


def test_weighted_prior_loss_of_a_binary_weight_is_the_mean_over_the_chosen_cells():
    target, gradient = torch.randn(2, 16, 3, 4, 4), torch.randn(2, 16, 3, 4, 4)
    weight = (torch.rand(2, 1, 3, 4, 4) > 0.5).float()
    chosen = weight.bool().expand_as(target)
    expected = 0.5 * gradient[chosen].square().mean()
    torch.testing.assert_close(objective.prior_loss(target, gradient, weight), expected)


def test_nothing_missing_means_no_prior():
    target = torch.randn(1, 16, 3, 4, 4).requires_grad_()
    objective.prior_loss(target, torch.randn(target.shape), torch.zeros(1, 1, 1, 4, 4)).backward()
    assert target.grad.abs().max() == 0


def test_latent_share_counts_the_pixels_a_cell_covers():
    missing = torch.zeros(1, 1, 9, 16, 16)
    missing[:, :, 0, :8, :8] = 1  # all of the first latent frame's first cell
    missing[:, :, 1:3, :8, 8:] = 1  # 2 of the second latent frame's 4 frames
    missing[:, :, 5, 8:, :4] = 1  # half a cell in 1 of the third's 4 frames
    expected = torch.zeros(1, 1, 3, 2, 2)
    expected[0, 0, 0, 0, 0] = 1
    expected[0, 0, 1, 0, 1] = 0.5
    expected[0, 0, 2, 1, 0] = 0.125
    assert torch.equal(latent_share(missing), expected)
    # one mask for all frames stays one
    assert latent_share(missing[:, :, :1]).shape == (1, 1, 1, 2, 2)


def test_warm_up_ramps_or_gates():
    steps = (0, 50, 100, 101)
    assert [objective.prior_ramp(s, 100, "linear") for s in steps] == [0, 0.5, 1, 1]
    assert [objective.prior_ramp(s, 100, "gate") for s in steps] == [0, 0, 1, 1]
    assert objective.prior_ramp(0, 0, "linear") == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ratio": 0}, "distill.ratio=0 must be greater"),
        ({"ramp": "cosine"}, "distill.ramp=cosine is not known: use one of gate, linear"),
        ({"timestep": 1001}, "distill.timestep=1001 must be less"),
        ({"critic_start_step": 9}, "distill.critic_start_step=9 comes after the prior"),
        ({"lowest_timestep": 990}, "distill.lowest_timestep=990 is above"),
    ],
)
def test_a_setting_out_of_range_is_named(settings_values, change, sentence):
    with pytest.raises(UserError, match=sentence):
        Settings.of({**settings_values, **change})


def test_the_pseudo_inverse_norm_counts_every_direction_that_the_operator_keeps_alike():
    """|A^+ (A x - A x_hat)|^2 is the error within A's row space, whatever A does to it in size."""
    estimate, clean = torch.randn(2, 1, 3, 1, 16, 16, dtype=torch.float64)
    pool = Downsampling(4)
    found = objective.likelihood(pool(clean), pool, estimate, "pseudo_inverse")
    kept = (clean - estimate).unflatten(-1, (4, 4)).unflatten(-3, (4, 4)).mean(dim=(-1, -3))
    torch.testing.assert_close(found, kept.square().mean().float()[None], rtol=1e-4, atol=0)
    # the paper's norm is the same up to the singular value, 1/16 in its square and 16 times fewer elements
    plain = objective.likelihood(pool(clean), pool, estimate)
    torch.testing.assert_close(plain, found, rtol=1e-4, atol=0)


def test_both_norms_are_one_for_a_mask():
    estimate, clean = torch.randn(2, 1, 3, 5, 16, 16)
    mask = Inpainting()
    norms = [
        objective.likelihood(mask(clean), mask, estimate, norm)
        for norm in objective.LIKELIHOOD_NORMS
    ]
    torch.testing.assert_close(*norms)


def test_the_geometric_mean_counts_gains_relative_to_a_clips_own_residual():
    residuals = torch.tensor([1e-1, 1e-4], requires_grad=True)
    objective.over_clips(residuals, "geometric").backward()
    torch.testing.assert_close(residuals.grad * residuals.detach(), torch.full((2,), 0.5))
    assert objective.over_clips(residuals, "arithmetic") == residuals.mean()
    assert torch.isfinite(objective.over_clips(torch.zeros(2), "geometric"))
