"""The loss terms of Algorithm 1: what they are made of, and what they never see."""

import copy

import pytest
import torch
import torch.nn.functional as F

from lvis.backbone import flow
from lvis.distill.randomness import Draws
from lvis.errors import UserError
from lvis.operators import Downsampling, GaussianBlur, Inpainting, LinearOperator
from lvis.operators.draws import drawn, normal


def timesteps(count: int, draw) -> torch.Tensor:
    return drawn(
        draw, count, lambda n, generator: flow.sample_timesteps(n, 8.0, 20, 980, generator)
    )


def gradients(net: torch.nn.Module) -> list[torch.Tensor]:
    return [p.grad.clone() for p in net.parameters() if p.grad is not None]


def student_gradients(losses, measurement, prior_weight: float = 1.0) -> list[torch.Tensor]:
    losses.student.zero_grad()
    terms, _ = losses.student_terms(measurement, Draws(0, 0, range(1)), prior_weight)
    terms["total"].backward()
    return gradients(losses.student)


@pytest.mark.parametrize("vae", ["wan", "lean"])
def test_likelihood_reaches_every_student_parameter_through_the_decoder(
    make_losses, make_batch, vae
):
    losses = make_losses(vae)
    batch = make_batch(1)
    measurement = losses.measure(
        batch["video"], batch["prompt"], Draws(0, 0, range(1))["measurement"]
    )
    found = student_gradients(losses, measurement, prior_weight=0.0)
    assert len(found) == len(list(losses.student.parameters()))
    assert all(gradient.abs().sum() > 0 for gradient in found)
    frozen = [losses.teacher, losses.critic, losses.student_vae, losses.teacher_vae]
    assert not any(gradients(net) for net in frozen)


def test_likelihood_is_the_mean_square_in_pixels(make_losses, make_batch):
    losses = make_losses()
    batch = make_batch(1)
    measurement = losses.measure(
        batch["video"], batch["prompt"], Draws(0, 0, range(1))["measurement"]
    )
    terms, _ = losses.student_terms(measurement, Draws(0, 0, range(1)), 0.0)
    z_hat = losses.predict(losses.student_input(measurement), measurement.prompts)
    expected = (measurement.y - losses.operator(losses.student_vae.decode(z_hat))).square().mean()
    torch.testing.assert_close(terms["likelihood"], expected)


def test_teacher_sees_the_bridged_latents_if_and_only_if_the_vaes_differ(make_losses, make_batch):
    batch = make_batch(1)
    for vae, bridge in (("wan", True), ("lean", True), ("lean", False)):
        losses = make_losses(vae, bridge=bridge)
        seen = []
        losses.teacher.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        measurement = losses.measure(batch["video"], batch["prompt"], torch.Generator())
        _, target = losses.student_terms(measurement, Draws(0, 0, range(1)), 1.0)
        z_hat = losses.predict(losses.student_input(measurement), measurement.prompts)
        expected = z_hat
        if vae == "lean" and bridge:
            expected = losses.teacher_vae.encode(losses.student_vae.decode(z_hat))
        torch.testing.assert_close(target, expected.detach())
        draws = Draws(0, 0, range(1))
        timestep = timesteps(1, draws["prior_timestep"])
        noise = normal(expected.shape, draws["prior_noise"])
        noised = flow.add_noise(expected, noise, timestep / 1000)
        torch.testing.assert_close(seen[0][:1], noised)


def test_prior_gradient_crosses_the_bridge(make_losses, make_batch):
    losses = make_losses("lean", likelihood_weight=0.0)
    batch = make_batch(1)
    # a critic equal to the teacher, without guidance, would leave no gradient
    torch.nn.init.normal_(losses.critic.net.proj_out.weight)
    measurement = losses.measure(batch["video"], batch["prompt"], torch.Generator())
    assert all(gradient.abs().sum() > 0 for gradient in student_gradients(losses, measurement))


def test_prior_gradient_is_that_of_dmd(make_losses, make_batch):
    losses = make_losses(prior_on_masked_only=False)
    torch.nn.init.normal_(losses.critic.net.proj_out.weight, std=0.2)
    batch = make_batch(2)
    measurement = losses.measure(batch["video"], batch["prompt"], torch.Generator())
    target = torch.randn(2, 16, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    target.requires_grad_()
    losses.prior_term(target, measurement, Draws(0, 7, range(2))).backward()

    draws = Draws(0, 7, range(2))
    timestep = timesteps(2, draws["prior_timestep"])
    noise = normal(target.shape, draws["prior_noise"])
    sigma = (timestep / 1000).view(2, 1, 1, 1, 1)
    with torch.no_grad():
        noised = (1 - sigma) * target + sigma * noise
        text, null = losses.encode_text(batch["prompt"]), losses.encode_text(["", ""])
        conditional = losses.teacher(noised, timestep, text)
        unconditional = losses.teacher(noised, timestep, null)
        teacher = noised - sigma * (conditional + 3.5 * (conditional - unconditional))
        critic = noised - sigma * losses.critic(noised, timestep, text)
        scale = (target - teacher).abs().mean(dim=(1, 2, 3, 4), keepdim=True)
        expected = (critic - teacher) / scale / target.numel()
    torch.testing.assert_close(target.grad, expected, rtol=1e-4, atol=1e-7)


def test_without_text_guidance_reduces_to_one_unconditional_pass(make_losses, make_batch):
    losses = make_losses(use_text=False)
    rows = []
    losses.teacher.register_forward_pre_hook(lambda _, args: rows.append((len(args[0]), args[2])))
    batch = make_batch(2)
    measurement = losses.measure(batch["video"], batch["prompt"], torch.Generator())
    losses.student_terms(measurement, Draws(0, 0, range(2)), 1.0)
    assert [count for count, _ in rows] == [2]
    assert torch.equal(rows[0][1], losses.encode_text(["", ""]))


def test_inpainting_prior_weighs_cells_by_their_missing_share(make_losses, make_batch):
    mask = torch.ones(32, 32)
    mask[:, 16:] = 0  # the right half is missing
    losses = make_losses(operator=Inpainting(mask=mask))
    torch.nn.init.normal_(losses.critic.net.proj_out.weight)
    batch = make_batch(1)
    measurement = losses.measure(batch["video"], batch["prompt"], torch.Generator())
    target = torch.randn(1, 16, 3, 4, 4).requires_grad_()
    losses.prior_term(target, measurement, Draws(0, 0, range(1))).backward()
    assert target.grad[..., :2].abs().max() == 0
    assert target.grad[..., 2:].abs().min() > 0


def test_latent_inpainting_compares_latents(make_losses, make_batch):
    losses = make_losses("lean", operator=Inpainting(0.5, space="latent"))
    batch = make_batch(1)
    measurement = losses.measure(batch["video"], batch["prompt"], torch.Generator())
    z = losses.student_vae.encode(batch["video"])
    torch.testing.assert_close(measurement.y, measurement.operator(z))
    terms, _ = losses.student_terms(measurement, Draws(0, 0, range(1)), 0.0)
    z_hat = losses.predict(measurement.y, measurement.prompts)
    expected = (measurement.y - measurement.operator(z_hat)).square().mean()
    torch.testing.assert_close(terms["likelihood"], expected)


@pytest.mark.parametrize("kind", ["epsilon", "flow"])
def test_critic_learns_the_noise_of_noised_student_outputs(make_losses, make_batch, kind):
    losses = make_losses(critic_loss=kind)
    batch = make_batch(2)
    target = torch.randn(2, 16, 3, 4, 4)
    loss = losses.critic_term(target, batch["prompt"], Draws(0, 2, range(2)))
    draws = Draws(0, 2, range(2))
    timestep = timesteps(2, draws["critic_timestep"])
    noise = normal(target.shape, draws["critic_noise"])
    sigma = (timestep / 1000).view(2, 1, 1, 1, 1)
    noised = (1 - sigma) * target + sigma * noise
    velocity = losses.critic(noised, timestep, losses.encode_text(batch["prompt"]))
    if kind == "epsilon":
        expected = (noised + (1 - sigma) * velocity - noise).square().mean()
    else:
        expected = (velocity - (noise - target)).square().mean()
    torch.testing.assert_close(loss, expected)


class Identity(LinearOperator):
    """Hands its input back, as an operator on a fully observed clip may."""

    def forward(self, x):
        return x


def test_measurement_shares_no_memory_with_the_clean_clip(make_losses, make_batch):
    losses = make_losses(operator=Identity())
    batch = make_batch(1)
    measurement = losses.measure(batch["video"], batch["prompt"], torch.Generator())
    before = measurement.y.clone()
    batch["video"].fill_(float("nan"))
    assert torch.equal(measurement.y, before)


def test_bf16_autocast_and_checkpointing_leave_the_loss_in_place(make_losses, make_batch):
    batch = make_batch(1)
    found = {}
    for name, changes in {
        "plain": {},
        "checkpointed": {"checkpoint_activations": True},
        "bf16": {"autocast": "bf16"},
    }.items():
        losses = make_losses("lean", **changes)
        measurement = losses.measure(batch["video"], batch["prompt"], torch.Generator())
        found[name] = torch.cat([g.flatten() for g in student_gradients(losses, measurement)])
    torch.testing.assert_close(found["checkpointed"], found["plain"], rtol=1e-5, atol=1e-8)
    error = (found["bf16"] - found["plain"]).norm() / found["plain"].norm()
    assert 0 < error < 0.2
    assert found["bf16"].dtype == torch.float32


def test_text_reaches_the_student(make_losses, make_batch):
    losses = make_losses(operator=GaussianBlur(size=5, sigma=1.0))
    z_in = torch.randn(1, 16, 3, 4, 4)
    with torch.no_grad():
        apart = losses.predict(z_in, ["a red disk"]) - losses.predict(z_in, [""])
    assert apart.abs().max() > 1e-6


def test_student_is_block_causal(make_losses):
    losses = make_losses()
    z_in = torch.randn(1, 16, 6, 4, 4)
    changed = copy.deepcopy(z_in)
    changed[:, :, 3:] += 1
    with torch.no_grad():
        difference = losses.predict(z_in, [""]) - losses.predict(changed, [""])
    assert difference[:, :, :3].abs().max() == 0
    assert difference[:, :, 3:].abs().max() > 0


def test_a_low_resolution_clips_own_latents_are_upsampled(make_losses, make_batch):
    operator = Downsampling(factor=2)
    losses = make_losses(vae="lean", operator=operator, x_init="latents")
    y = operator(make_batch(2)["video"])
    z_in = losses.prepare(y, operator).z_in
    expected = losses.encode(y)
    for frame in range(3):
        larger = F.interpolate(expected[:, :, frame], scale_factor=2, mode="bilinear")
        torch.testing.assert_close(z_in[:, :, frame], larger)
    blur = GaussianBlur(size=5, sigma=1.0)
    with pytest.raises(UserError, match="use x_init=lift"):
        losses.prepare(blur(make_batch(1)["video"]), blur)
