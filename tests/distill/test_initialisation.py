"""ODE and consistency initialisation: exact trajectories give no loss, and the student learns from the teacher's."""

import dataclasses

import pytest
import torch

from lvis.backbone import flow
from lvis.distill.initialisation import at, block_points, initial_loss, trajectory
from lvis.distill.settings import Settings
from lvis.errors import UserError

SIGMAS = flow.shift_sigma(torch.linspace(1, 0, 6), 3.0)


def straight(x0):
    """The velocity whose trajectories all end in x0: Euler's method is exact on straight lines."""

    def velocity(x, timestep):
        sigma = timestep / 1000
        sigma = sigma[:, None].expand(-1, x.shape[2]) if sigma.ndim == 1 else sigma
        return (x - x0) / sigma[:, None, :, None, None].clamp_min(1e-6)

    return velocity


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_trajectory_goes_from_the_noise_to_the_clean_latents():
    x0, noise = drawn(2, 3, 4, 2, 2), drawn(2, 3, 4, 2, 2, seed=1)
    path = trajectory(noise, straight(x0), SIGMAS)
    assert path.shape == (6, *noise.shape)
    for point, sigma in zip(path, SIGMAS, strict=True):
        torch.testing.assert_close(
            point, flow.add_noise(x0, noise, float(sigma)), atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("kind", ["ode", "consistency"])
def test_who_knows_the_ends_has_no_loss_and_who_does_not_has_one(kind):
    x0, noise = drawn(2, 3, 4, 2, 2), drawn(2, 3, 4, 2, 2, seed=1)
    path = trajectory(noise, straight(x0), SIGMAS)
    index = torch.tensor([[0, 0, 3, 3], [4, 4, 1, 1]])
    assert initial_loss(kind, path, SIGMAS, index, straight(x0)) < 1e-9
    assert initial_loss(kind, path, SIGMAS, index, straight(x0 + 1)) > 0.01


def test_a_block_has_one_point_and_a_clip_its_own_draw():
    generators = [torch.Generator().manual_seed(seed) for seed in (4, 5)]
    index = block_points(2, 7, 3, 5, generators)
    assert index.shape == (2, 7) and 0 <= index.min() and index.max() < 5
    for row in index:
        assert all(len(set(block.tolist())) == 1 for block in row.split(3))
    alone = block_points(1, 7, 3, 5, [torch.Generator().manual_seed(5)])
    assert torch.equal(index[1:], alone)
    path = drawn(6, 2, 3, 7, 1, 1)
    chosen = at(path, index)
    assert torch.equal(chosen[1, :, 6], path[index[1, 6], 1, :, 6])


@pytest.mark.parametrize("kind", ["ode", "consistency"])
def test_the_first_steps_are_the_initialisation_alone(make_module, fit, kind):
    module = make_module(
        initialisation=kind, initial_steps=12, initial_levels=4, student_learning_rate=1e-2
    )
    # a student that is not the teacher already
    torch.nn.init.zeros_(module.losses.student.net.proj_out.weight)
    before = {k: v.clone() for k, v in module.losses.critic.state_dict().items()}
    metrics = fit(module, 12)
    assert all("initial" in step and "likelihood" not in step for step in metrics)
    assert all(step["student_gradient"] > 0 for step in metrics)
    first, last = (sum(step["initial"] for step in part) for part in (metrics[:4], metrics[-4:]))
    # a consistency loss may rise while what is known at the path's end spreads
    assert kind == "consistency" or last < first
    assert all(
        torch.equal(value, before[name])
        for name, value in module.losses.critic.state_dict().items()
    )
    metrics = fit(module, 14)
    assert "likelihood" in metrics[0] and "critic" in metrics[1]


def test_what_does_not_go_together_is_refused(settings_values):
    with pytest.raises(UserError, match="set both, or neither"):
        Settings.of(settings_values, initialisation="ode")
    with pytest.raises(UserError, match="parametrization=residual"):
        Settings.of(
            settings_values, initialisation="ode", initial_steps=2, parametrization="residual"
        )
    settings = Settings.of(settings_values, likelihood_only_steps=3)
    later = dataclasses.replace(settings, initialisation="ode", initial_steps=10)
    for step in range(20):
        assert settings.updates_student(step) == later.updates_student(step + 10)
        assert settings.updates_critic(step) == later.updates_critic(step + 10)
