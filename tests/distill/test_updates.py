"""The training loop: who is updated when, from what, and what stays as it was."""

import pytest
import torch

from lvis.distill import checkpoints
from lvis.distill.module import Distillation
from lvis.distill.randomness import Draws, generator_for
from lvis.errors import UserError


def parameters(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in net.named_parameters()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(left[name], right[name]) for name in left)


def test_critic_is_updated_every_step_and_the_student_every_fifth(make_module, fit):
    module = make_module()
    metrics = fit(module, 11)
    assert (module.step, module.critic_step, module.student_step) == (11, 11, 3)
    with_student = [step for step, values in enumerate(metrics) if "likelihood" in values]
    assert with_student == [0, 5, 10]
    assert all("critic" in values for values in metrics)


def test_frozen_nets_stay_bit_for_bit_and_trained_nets_move(make_module, fit):
    module = make_module("lean", ratio=1)
    losses = module.losses
    nets = {name: getattr(losses, name) for name in ("teacher", "student_vae", "teacher_vae")}
    before = {name: parameters(net) for name, net in nets.items()}
    trained = {name: parameters(getattr(losses, name)) for name in ("student", "critic")}
    fit(module, 2)
    for name, net in nets.items():
        assert same(before[name], parameters(net)), name
    for name, was in trained.items():
        assert not same(was, parameters(getattr(losses, name))), name


class Poisoning(Distillation):
    """Overwrites the clean clips, in place, as soon as y exists, and keeps every gradient."""

    poison = False

    def _measure(self, batch, draws):
        measurements = super()._measure(batch, draws)
        if self.poison:
            batch["video"].fill_(float("nan"))
        self.gradients = []
        return measurements

    def _descend(self, optimizer, loss=0.0):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.gradients += [p.grad.clone() for p in parameters]
        return super()._descend(optimizer, loss)


@pytest.mark.parametrize("vae", ["wan", "lean"])
def test_a_poisoned_clean_clip_leaves_every_gradient_unchanged(make_losses, fit, inpainting, vae):
    gradients = []
    for poison in (False, True):
        module = Poisoning(make_losses(vae, inpainting))
        module.poison = poison
        fit(module, 1)
        gradients.append(module.gradients)
    expected = sum(
        len(list(net.parameters())) for net in (module.losses.student, module.losses.critic)
    )
    assert len(gradients[0]) == expected
    assert all(g.isfinite().all() for g in gradients[0])
    assert all(torch.equal(clean, poisoned) for clean, poisoned in zip(*gradients, strict=True))


def test_accumulated_micro_batches_equal_one_big_batch(make_losses, fit, inpainting):
    gradients = []
    for accumulate in (1, 2):
        module = Poisoning(make_losses("lean", inpainting, accumulate=accumulate))
        fit(module, 1, batch_size=2)
        gradients.append(module.gradients)
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-7)


def test_a_batch_that_does_not_divide_is_refused(make_module, make_batch):
    module = make_module(accumulate=2)
    with pytest.raises(UserError, match="3 clips does not divide by distill.accumulate=2"):
        module.training_step(make_batch(3), 0)


def test_an_interrupted_run_equals_an_uninterrupted_one(make_module, fit, inpainting, tmp_path):
    whole = make_module("lean", inpainting, ratio=2, warmup_steps=4, prompt_dropout=0.5)
    fit(whole, 5)

    first = make_module("lean", inpainting, ratio=2, warmup_steps=4, prompt_dropout=0.5)
    fit(first, 3)
    checkpoints.save(tmp_path, first.training_state().tensors(), first.counters, {})
    second = make_module("lean", inpainting, ratio=2, warmup_steps=4, prompt_dropout=0.5)
    second.resume(checkpoints.load_newest(tmp_path))
    torch.manual_seed(99)  # nothing draws from torch's own generator
    assert second.step == 3
    fit(second, 5)

    assert same(parameters(whole.losses.student), parameters(second.losses.student))
    assert same(parameters(whole.losses.critic), parameters(second.losses.critic))
    assert same(whole.average.values, second.average.values)
    assert (second.student_step, second.critic_step) == (whole.student_step, whole.critic_step)


def test_without_a_prior_only_the_student_is_trained(make_module, fit):
    module = make_module(likelihood_only_steps=3, ratio=2, warmup_steps=4)
    critic = parameters(module.losses.critic)
    metrics = fit(module, 3)
    assert same(critic, parameters(module.losses.critic))
    assert (module.student_step, module.critic_step) == (3, 0)
    metrics += fit(module, 6)
    assert (module.student_step, module.critic_step) == (5, 3)
    assert [values["prior_factor"] for values in metrics] == [0, 0, 0, 0, 0.25, 0.5]
    # the prior is evaluated from the first step on which it has weight
    assert [step for step, values in enumerate(metrics) if "prior" in values] == [5]


def test_the_critic_may_start_before_the_prior(make_module, fit):
    module = make_module(likelihood_only_steps=3, critic_start_step=1)
    fit(module, 3)
    assert (module.student_step, module.critic_step) == (3, 2)


def test_likelihood_falls_when_one_clip_is_overfitted(make_module, make_batch):
    module = make_module("lean", clip_norm=1e3, student_learning_rate=1e-2)
    batch = make_batch(1)
    losses, values = module.losses, []
    measurement = losses.measure(batch["video"], batch["prompt"], torch.Generator())
    for _ in range(16):
        terms, _ = losses.student_terms(measurement, Draws(0, 0, range(1)), 0.0)
        terms["total"].backward()
        module._descend(module.student_optimizer)
        values.append(terms["likelihood"].item())
    assert values[-1] < 0.85 * values[0]


def test_gradients_are_clipped_to_the_norm(make_module):
    module = make_module(clip_norm=0.5)
    student = module.losses.student
    module.student_optimizer = torch.optim.SGD(student.parameters(), lr=1.0)
    before = parameters(student)
    for parameter in student.parameters():
        parameter.grad = torch.ones_like(parameter)
    norm = module._descend(module.student_optimizer)
    after = parameters(student)
    moved = torch.stack([(after[name] - before[name]).norm() for name in before]).norm()
    assert norm == pytest.approx(sum(p.numel() for p in student.parameters()) ** 0.5, rel=1e-4)
    assert float(moved) == pytest.approx(0.5, rel=1e-3)


def test_an_update_without_a_finite_gradient_is_left_out_and_too_many_stop_the_run(make_module):
    module = make_module()
    before = parameters(module.losses.student)
    with pytest.raises(UserError, match="not finite 10 updates in a row"):
        for _ in range(10):
            for parameter in module.losses.student.parameters():
                parameter.grad = torch.full_like(parameter, float("nan"))
            module._descend(module.student_optimizer)
    assert same(before, parameters(module.losses.student))


def test_average_follows_the_student_and_stands_in_for_it(make_module, fit):
    module = make_module(ratio=1, ema_decay=0.75)
    start = parameters(module.losses.student)
    fit(module, 1)
    student = parameters(module.losses.student)
    for name, value in module.average.values.items():
        torch.testing.assert_close(value, 0.75 * start[name] + 0.25 * student[name])
    with module.average.applied() as averaged:
        assert same(module.average.values, parameters(averaged))
    assert same(student, parameters(module.losses.student))


def test_average_off_is_the_student_itself(make_module):
    module = make_module(ema_decay=0)
    assert module.average.values == {}
    student = parameters(module.losses.student)
    with module.average.applied() as averaged:
        assert same(student, parameters(averaged))


def test_draws_differ_by_seed_step_rank_and_purpose_and_repeat():
    base = (0, 0, 0, "prior_noise")
    others = [
        (1, 0, 0, "prior_noise"),
        (0, 1, 0, "prior_noise"),
        (0, 0, 1, "prior_noise"),
        (0, 0, 0, "prompt"),
    ]
    draw = torch.rand(4, generator=generator_for(*base))
    assert torch.equal(draw, torch.rand(4, generator=generator_for(*base)))
    assert not any(torch.equal(draw, torch.rand(4, generator=generator_for(*o))) for o in others)


def test_masks_change_from_step_to_step(make_module, make_batch, inpainting):
    module = make_module(operator=inpainting)
    first, again, second = (
        module._measure(make_batch(1), Draws(0, step, range(1)))[0].operator.missing(
            (1, 3, 9, 32, 32)
        )
        for step in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_learning_rate_of_the_settings_wins_on_resume(make_module, fit, tmp_path):
    module = make_module()
    fit(module, 1)
    checkpoints.save(tmp_path, module.training_state().tensors(), module.counters, {})
    slower = make_module(student_learning_rate=1e-5)
    slower.resume(checkpoints.load_newest(tmp_path))
    assert slower.student_optimizer.param_groups[0]["lr"] == 1e-5
    assert slower.student_optimizer.state_dict()["state"]
