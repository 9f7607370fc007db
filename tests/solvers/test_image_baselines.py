"""SVI and DPS with the exact denoiser of a Gaussian prior: consistency, posterior mean, passes; the prior's file."""

import pytest
import torch

from lvis.backbone.pixel_prior import PixelPrior
from lvis.errors import UserError
from lvis.operators import LinearOperator
from lvis.solvers.batch_consistent import renoise
from lvis.solvers.dps import DPSSolver, ancestral
from lvis.solvers.patchwise import PatchwisePrior
from lvis.solvers.svi import SVISolver
from lvis.weights.pixel_prior import load_pixel_prior, save_pixel_prior

SPREAD = 0.2
TINY = {
    "sample_size": 16,
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D"],
    "norm_num_groups": 4,
}


class Half(LinearOperator):
    """Sees the left half."""

    def forward(self, x):
        return x[..., : x.shape[-1] // 2]

    def video_shape(self, y_shape):
        return torch.Size((*y_shape[:-1], 2 * y_shape[-1]))


class GaussianPrior(PixelPrior):
    """The exact noise predictor of frames with independent pixels N(0, SPREAD^2)."""

    def predict_noise(self, noisy, timestep):
        share = self.alpha_bar(timestep)
        return (1 - share) ** 0.5 * noisy / (share * SPREAD**2 + 1 - share)


class BoundedPrior(PixelPrior):
    """Remembers the most frames that it was given at once."""

    most = 0

    def predict_noise(self, noisy, timestep):
        self.most = max(self.most, len(noisy))
        return super().predict_noise(noisy, timestep)


class RecordedPrior(PixelPrior):
    """Remembers how many frames each pass was given."""

    def __init__(self, net):
        super().__init__(net)
        self.sizes = []

    def predict_noise(self, noisy, timestep):
        self.sizes.append(len(noisy))
        return super().predict_noise(noisy, timestep)


@pytest.fixture
def prior():
    return GaussianPrior.from_config(TINY)


def run(solver, y, size):
    with solver.open(Half(), size) as stream:
        stream.push(y)
        return torch.cat(stream.finish(), dim=2), stream


def test_svi_agrees_with_the_measurement_and_counts_patches(prior):
    y = SPREAD * torch.randn(1, 3, 5, 24, 16, generator=torch.Generator().manual_seed(0))
    restored, stream = run(SVISolver(prior, steps=4, batch_size=2, overlap=4), y, (24, 32))
    assert restored.shape == (1, 3, 5, 24, 32)
    assert torch.allclose(Half()(restored), y, atol=1e-3)
    # 2 patches of 16 down the 24 rows, 3 across the 32 columns, 4 steps
    assert stream.passes == {"image_prior": 24}


def test_svi_windows_bound_the_network_and_leave_no_joint_in_the_clip():
    prior = BoundedPrior.from_config(TINY)
    y = SPREAD * torch.randn(1, 3, 37, 16, 8, generator=torch.Generator().manual_seed(0))
    whole, _ = run(SVISolver(prior, steps=3, batch_size=37, overlap=4), y, (16, 16))
    assert prior.most == 37
    prior.most = 0
    cut, stream = run(SVISolver(prior, steps=3, overlap=4), y, (16, 16))
    assert prior.most == 16 and stream.passes == {"image_prior": 3}
    # frames share noise and data step across the whole clip: where it is cut cannot be seen
    assert torch.allclose(cut, whole, atol=1e-4)
    still, _ = run(
        SVISolver(prior, steps=3, overlap=4), y[:, :, :1].expand(-1, -1, 37, -1, -1), (16, 16)
    )
    assert still.diff(dim=2).abs().max() < 1e-4


def test_dps_pulls_seen_pixels_to_the_measurement_and_leaves_the_prior_elsewhere(prior):
    y = torch.full((1, 3, 2, 16, 8), 0.3)
    restored, stream = run(DPSSolver(prior, steps=100, step_size=1.0, overlap=4), y, (16, 16))
    hidden = restored[..., 8:]
    assert (Half()(restored) - y).abs().mean() < 0.1
    assert abs(hidden.mean().item()) < 0.05 and hidden.std().item() < 2 * SPREAD
    assert stream.passes == {"image_prior": 100}


def test_few_graphs_give_the_gradient_that_all_give():
    torch.manual_seed(0)
    prior = RecordedPrior.from_config(TINY).double()
    noisy = torch.randn(3, 3, 16, 24, dtype=torch.float64)
    found = []
    for recorded in (None, 2):
        prior.sizes.clear()
        leaf = noisy.clone().requires_grad_()
        patchwise = PatchwisePrior(prior, 4, recorded)
        noise = patchwise.predict_noise(leaf, 500)
        found.append((noise, *torch.autograd.grad(noise.square().sum(), leaf)))
        # two patches per frame, three frames; each batch of a few runs again in the backward pass
        assert sorted(prior.sizes) == ([1, 1, 1, 1, 2, 2, 2, 2] if recorded else [3, 3])
        assert patchwise.passes == 6
    torch.testing.assert_close(found[1], found[0], atol=1e-10, rtol=1e-8)


def test_the_ancestral_step_keeps_the_variance_of_the_path():
    mean, spread = ancestral(torch.zeros(1), torch.ones(1), 0.3, 0.6)
    assert mean.item() ** 2 + spread**2 == pytest.approx(0.4)


def test_renoising_keeps_the_variance():
    one = torch.ones(1)
    weights = [renoise(0 * one, a * one, (1 - a) * one, 0.6, 0.2).item() for a in (0, 1)]
    assert sum(w**2 for w in weights) == pytest.approx(0.4)


def test_a_saved_prior_comes_back(tmp_path):
    prior = PixelPrior.from_config(TINY)
    save_pixel_prior(prior, tmp_path, torch.float32)
    again = load_pixel_prior(str(tmp_path)).net.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in prior.net.state_dict().items())


def test_settings_out_of_range_are_named(prior):
    with pytest.raises(UserError, match="eta=2"):
        SVISolver(prior, eta=2)
    with pytest.raises(UserError, match="steps=0"):
        DPSSolver(prior, steps=0)
    with pytest.raises(UserError, match="batch_size=0"):
        DPSSolver(prior, batch_size=0)
