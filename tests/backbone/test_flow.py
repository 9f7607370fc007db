import pytest
import torch

from lvis.backbone import flow


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 2, 16, 3, 4, 4, generator=generator).unbind(0)


@pytest.mark.parametrize(
    "sigma", [0.522, torch.tensor([0.1, 0.9]), torch.tensor([[0.1, 0.5, 1.0], [0.2, 0.3, 0.4]])]
)
def test_noising_and_its_inverses(pair, sigma):
    x0, noise = pair
    x_sigma = flow.add_noise(x0, noise, sigma)
    velocity = noise - x0
    torch.testing.assert_close(flow.velocity_to_x0(x_sigma, velocity, sigma), x0)


def test_noise_levels_are_a_sample_or_a_frame(pair):
    x0, noise = pair
    a_sample = flow.add_noise(x0, noise, torch.tensor([0.0, 1.0]))
    assert torch.equal(a_sample[0], x0[0]) and torch.equal(a_sample[1], noise[1])
    a_frame = flow.add_noise(x0, noise, torch.tensor([[0.0, 1.0, 0.0]]).expand(2, 3))
    assert torch.equal(a_frame[:, :, 1], noise[:, :, 1])
    assert torch.equal(a_frame[:, :, ::2], x0[:, :, ::2])


def test_bfloat16_latents_are_noised_in_float32(pair):
    x0, noise = (latents.bfloat16() for latents in pair)
    noised = flow.add_noise(x0, noise, torch.tensor([0.522, 0.522]))
    exact = flow.add_noise(x0.double(), noise.double(), 0.522)
    assert noised.dtype == torch.bfloat16
    assert torch.equal(noised, exact.bfloat16())


def test_shift_keeps_the_ends_and_1_changes_nothing():
    sigma = torch.linspace(0, 1, 11, dtype=torch.float64)
    shifted = flow.shift_sigma(sigma, 5)
    assert shifted[0] == 0 and shifted[-1] == 1
    assert (shifted[1:-1] > sigma[1:-1]).all()
    assert torch.equal(flow.shift_sigma(sigma, 1), sigma)


@pytest.mark.parametrize(
    ("shift", "expected"), [(5, [1000, 937.5, 833.3, 625]), (8, [1000, 960, 888.9, 727.3])]
)
def test_warped_steps_are_self_forcings(shift, expected):
    sigmas = flow.step_sigmas([1.0, 0.75, 0.5, 0.25], shift, warp=True)
    assert [1000 * sigma for sigma in sigmas] == pytest.approx(expected, abs=0.05)
    assert flow.step_sigmas([0.1, 0.05], shift, warp=False) == [0.1, 0.05]


def test_the_nearest_level_of_the_table_is_the_references():
    levels = flow.nearest_table_sigma(torch.tensor([0.0, 1000.0, 522.0]), shift=8)
    torch.testing.assert_close(levels, torch.tensor([0.00794, 1.0, 0.522]), rtol=0, atol=1e-3)
    assert levels.dtype == torch.float32
    # index 750 of 1000 at shift 5 lies on the table
    assert flow.nearest_table_sigma(torch.tensor([937.5]), shift=5) == 0.9375
    assert float(flow.nearest_table_sigma(torch.tensor(0.0), shift=5)) == pytest.approx(
        0.00498, abs=1e-5
    )


def test_training_timesteps_are_those_of_dmd():
    timestep = flow.sample_timesteps(20_000, 8, generator=torch.Generator().manual_seed(0))
    assert timestep.dtype == torch.float32
    assert timestep.min() == 20 and timestep.max() == 980
    assert float(timestep.median()) == pytest.approx(888, abs=3)
    assert float((timestep == 980).float().mean()) == pytest.approx(0.14, abs=0.01)


def test_timesteps_are_float32_and_unrounded():
    timestep = flow.sigma_to_timestep(torch.tensor([0.9375, 0.522], dtype=torch.float64))
    assert timestep.dtype == torch.float32
    assert timestep.tolist() == [937.5, 522.0]
