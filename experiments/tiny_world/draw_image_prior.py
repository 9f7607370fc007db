"""What the latent image prior knows: `python experiments/tiny_world/draw_image_prior.py SOURCE OUTPUT.png [STEPS]`.

Rows: held-out synthetic frames, D(E(x)) of them, and DDIM samples from noise.
"""

import sys

import torch
from PIL import Image

from lvis.backbone.ddim import timesteps, tweedie
from lvis.backbone.image_prior import TIMESTEPS
from lvis.data.synthetic import SyntheticVideos
from lvis.metrics import psnr_frames
from lvis.weights.image_prior import load_image_prior

COUNT, SIDE = 6, 128


@torch.inference_mode()
def main(source: str, output: str, steps: int = 25) -> None:
    prior = load_image_prior(source, batch_size=COUNT)
    clips = SyntheticVideos(0, 1, (SIDE, SIDE), "val", length=COUNT)
    frames = torch.cat([clips[i]["video"] for i in range(COUNT)], dim=1).transpose(0, 1)
    coded = prior.decode(prior.encode(frames)).clamp(-1, 1)
    print("D(E(x)):", psnr_frames(coded[:, :, None], frames[:, :, None]).mean().item(), "dB")
    times = timesteps(steps, TIMESTEPS, 1.0)
    shape = (COUNT, prior.channels, SIDE // prior.factor, SIDE // prior.factor)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for t, following in zip(times, [*times[1:], -1], strict=True):
        noise = prior.noise(latents, t)
        clean = tweedie(latents, noise, prior.alpha_bar(t))
        reached = prior.alpha_bar(following)
        latents = reached**0.5 * clean + (1 - reached) ** 0.5 * noise
    samples = prior.decode(latents).clamp(-1, 1)
    rows = [torch.cat(list(row), dim=2) for row in (frames, coded, samples)]
    picture = (torch.cat(rows, dim=1).permute(1, 2, 0) + 1) * 127.5
    Image.fromarray(picture.round().to(torch.uint8).numpy()).save(output)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
