import torch

from lvis.backbone import TextEncoder, WanTransformer
from lvis.pretrain.latents import LatentBank, MixedBatches, build_bank
from lvis.pretrain.prior import Prior, denoising_errors, flow_matching_loss, prompts_help
from lvis.vae import WanVAE


def tiny_prior() -> Prior:
    torch.manual_seed(0)
    transformer = WanTransformer(2, 16, 1, 32, text_dim=64, text_len=32)
    transformer.reset_parameters()
    return Prior(transformer, TextEncoder.tiny())


def batch(clips: int = 2) -> dict:
    return {"latents": torch.randn(clips, 16, 3, 4, 4), "prompt": ["a red disk moves left"] * clips}


def test_a_zero_velocity_costs_the_variance_of_noise_and_latents():
    loss = flow_matching_loss(tiny_prior(), shift=1.0, text_dropout=0.0, autocast=False)
    assert abs(loss(batch(8))["loss"].item() - 2.0) < 0.2


def test_the_text_encoder_is_trained_too():
    prior = tiny_prior()
    torch.nn.init.normal_(prior.transformer.net.proj_out.weight, std=0.1)
    flow_matching_loss(prior, shift=1.0, text_dropout=0.0, autocast=False)(batch())[
        "loss"
    ].backward()
    gradients = [p.grad for p in prior.text_encoder.parameters() if p.grad is not None]
    assert gradients
    assert sum(g.abs().sum() for g in gradients) > 0


def test_errors_are_relative_to_predicting_the_mean():
    """With v = 0 the clean estimate is x_t itself: sigma^2 (1 + 1) in units of the variance."""
    errors = denoising_errors(tiny_prior(), [batch(8)], autocast=False)()
    for timestep in (100, 500, 900):
        assert abs(errors[f"error_{timestep}"] / (2 * (timestep / 1000) ** 2) - 1) < 0.2


def test_prompts_help_where_they_say_what_the_latents_are():
    """Latents that only the prompt tells: trained, the prompts take an error away; swapped ones do not."""
    prior = tiny_prior()
    latents = torch.ones(1, 16, 3, 4, 4)
    told = {"latents": torch.cat([latents, -latents]), "prompt": ["a red disk", "a blue square"]}
    optimizer = torch.optim.AdamW(prior.parameters(), lr=3e-3)
    loss_of = flow_matching_loss(prior, shift=8.0, text_dropout=0.2, autocast=False)
    assert abs(prompts_help(prior, [told], autocast=False)) < 1e-3
    for _ in range(60):
        optimizer.zero_grad()
        loss_of(told)["loss"].backward()
        optimizer.step()
    swapped = {**told, "prompt": told["prompt"][::-1]}
    with torch.no_grad():
        assert prompts_help(prior, [told], autocast=False) > 0.02
        assert prompts_help(prior, [swapped], autocast=False) < 0


def test_a_bank_resumes_and_equals_one_made_at_once(tmp_path):
    torch.manual_seed(0)
    vae = WanVAE.from_config(
        {"base_dim": 4, "z_dim": 16, "dim_mult": [1, 1, 2, 2], "num_res_blocks": 1}
    )
    sizes = {"frames": 5, "size": (16, 16), "seed": 3}
    bank = build_bank(tmp_path / "a", vae, clips=3, **sizes)
    (bank / "count.txt").write_text("2")
    build_bank(tmp_path / "a", vae, clips=3, **sizes)
    whole = build_bank(tmp_path / "b", vae, clips=3, **sizes)
    for left, right in zip(LatentBank(bank), LatentBank(whole), strict=True):
        assert torch.equal(left["latents"], right["latents"])
        assert left["prompt"] == right["prompt"]
    mixed = iter(MixedBatches([LatentBank(bank)], [2], [1.0], seed=0))
    assert next(mixed)["latents"].shape == (2, 16, 2, 2, 2)
