import torch

from lvis.pretrain.autoencoder import latent_statistics, reconstruction_loss
from lvis.pretrain.command import is_of_encoder
from lvis.pretrain.inflation import initialise_as_image_vae
from lvis.pretrain.loop import Plan, fit
from lvis.vae import WanVAE


def tiny_vae() -> WanVAE:
    torch.manual_seed(0)
    vae = WanVAE.from_config(
        {"base_dim": 4, "z_dim": 16, "dim_mult": [1, 1, 2, 2], "num_res_blocks": 1}
    )
    initialise_as_image_vae(vae.net)
    return vae


def test_an_inflated_vae_codes_a_still_clip_as_its_frame():
    """Kernels that look at the present only: every latent, and every decoded frame, is the image's."""
    vae = tiny_vae()
    image = torch.rand(1, 3, 1, 16, 16) * 2 - 1
    latents = vae.encode(image.expand(-1, -1, 9, -1, -1))
    torch.testing.assert_close(latents, vae.encode(image).expand_as(latents), atol=1e-5, rtol=1e-5)
    video = vae.decode(latents)
    torch.testing.assert_close(
        video, vae.decode(latents[:, :, :1]).expand_as(video), atol=1e-5, rtol=1e-5
    )


def test_the_decoder_stage_leaves_the_latents_alone():
    vae = tiny_vae()
    for name, parameter in vae.named_parameters():
        parameter.requires_grad_(not is_of_encoder(name))
    video = torch.rand(1, 3, 5, 16, 16) * 2 - 1
    before = vae.encode(video)
    loss = reconstruction_loss(vae, latent_noise=0.0, frames_as_images=False, l1_weight=0.1)
    optimizer = torch.optim.SGD([p for p in vae.parameters() if p.requires_grad], lr=0.1)
    loss({"video": video})["loss"].backward()
    decoded = vae.decode(before).detach()
    optimizer.step()
    assert torch.equal(vae.encode(video), before)
    assert not torch.allclose(vae.decode(before), decoded)


def test_the_chroma_weight_weighs_errors_in_colour_and_leaves_those_in_brightness():
    class Off(torch.nn.Module):
        """Decodes to its input plus a constant colour."""

        def __init__(self, rgb):
            super().__init__()
            self.colour = torch.tensor(rgb).view(1, 3, 1, 1, 1)

        def encode(self, video):
            return video

        def decode(self, latents):
            return latents + self.colour

    def loss(rgb, weight):
        loss_of = reconstruction_loss(
            Off(rgb), latent_noise=0.0, frames_as_images=False, l1_weight=0.0, chroma_weight=weight
        )
        return loss_of({"video": torch.rand(1, 3, 1, 4, 4)})["loss"].item()

    grey, green = [0.3, 0.3, 0.3], [-0.1, 0.2, -0.1]
    assert abs(loss(grey, 6.0) - loss(grey, 1.0)) < 1e-6
    assert abs(loss(green, 6.0) - 6 * loss(green, 1.0)) < 1e-6


def test_statistics_normalise_the_latents():
    vae = tiny_vae()
    videos = [torch.rand(3, 9, 16, 16) * 2 - 1 for _ in range(6)]
    vae.set_statistics(*latent_statistics(vae, videos))
    latents = torch.cat([vae.encode(video[None])[:, :, 1:] for video in videos])
    channels = latents.transpose(0, 1).flatten(1)
    torch.testing.assert_close(channels.mean(1), torch.zeros(16), atol=1e-3, rtol=0)
    torch.testing.assert_close(channels.std(1), torch.ones(16), atol=1e-3, rtol=0)


def test_training_learns_and_a_finished_run_is_not_repeated(tmp_path):
    vae = tiny_vae()
    video = torch.rand(2, 3, 1, 16, 16) * 2 - 1
    loss_of = reconstruction_loss(vae, latent_noise=0.0, frames_as_images=True, l1_weight=0.0)
    first = loss_of({"video": video})["mse"].item()

    def validate() -> dict[str, float]:
        return {"mse": loss_of({"video": video})["mse"].item()}

    plan = Plan(
        steps=40, adamw_rate=3e-3, muon_rate=0.02, warmup_steps=2, validate_every=20, log_every=10
    )

    def batches():
        while True:
            yield {"video": video}

    fit(vae, loss_of, validate, batches(), plan, tmp_path)
    trained = {name: value.clone() for name, value in vae.state_dict().items()}
    assert loss_of({"video": video})["mse"].item() < 0.9 * first

    def none_left():
        raise AssertionError("a finished run asked for a batch")
        yield

    again = tiny_vae()
    fit(again, loss_of, validate, none_left(), plan, tmp_path)
    assert all(torch.equal(value, trained[name]) for name, value in again.state_dict().items())
    assert len((tmp_path / "curve.csv").read_text().splitlines()) == 1 + 4
