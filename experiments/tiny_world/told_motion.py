"""Whether what the teacher draws moves the way it is told: `python experiments/tiny_world/told_motion.py`.

Sixteen clips, four a direction, with plot.py's sampler. told_motion.csv has how far the centroid of the pixels near the
told colour is from the first frame to the last (x to the right, y down, in pixels of 128), and how many they are.
"""

import csv
from pathlib import Path

import torch
from plot import SAMPLER, SIDE
from torch import Tensor

from lvis.backbone import sample
from lvis.cli.progress import track
from lvis.data.foreground import COLOURS, DIRECTIONS
from lvis.weights import load_text_encoder, load_transformer, load_wan_vae

OBJECTS = ("red disk", "blue square", "green disk", "red square")
NEAR = 0.35  # squared distance in RGB of [-1, 1]^3


def centroid(frame: Tensor, colour: Tensor) -> tuple[int, float, float]:
    """How many pixels of a frame (3, H, W) in [-1, 1] are near a colour (3,), and the mean of their x and y."""
    near = (frame - colour.view(3, 1, 1)).square().sum(0) < NEAR
    rows, columns = near.nonzero(as_tuple=True)
    return len(rows), columns.float().mean().item(), rows.float().mean().item()


@torch.inference_mode()
def main() -> None:
    teacher = load_transformer("bundled:tiny/teacher", text_len=32)
    text_encoder = load_text_encoder("bundled:tiny/text_encoder", text_len=32)
    vae = load_wan_vae("bundled:tiny/wan_vae")
    generator = torch.Generator().manual_seed(1)
    rows = []
    for motion in track(
        [m for m, way in DIRECTIONS.items() if any(way)], description="drawing", unit="directions"
    ):
        prompts = [f"a large {thing} {motion}" for thing in OBJECTS]
        shape = (len(prompts), 16, 9, SIDE // 8, SIDE // 8)
        text, none = text_encoder(prompts), text_encoder([""] * len(prompts))
        latents = sample(teacher, shape, text, none, generator=generator, **SAMPLER)
        for index, prompt in enumerate(prompts):
            video = vae.decode(latents[[index]])[0]
            colour = torch.tensor(COLOURS[prompt.split()[2]]) / 127.5 - 1
            first, last = centroid(video[:, 0], colour), centroid(video[:, -1], colour)
            along = DIRECTIONS[motion]
            moved = (last[1] - first[1], last[2] - first[2])
            rows.append(
                {
                    "prompt": prompt,
                    "x": round(moved[0], 1),
                    "y": round(moved[1], 1),
                    "told_way": round(moved[0] * along[0] + moved[1] * along[1], 1),
                    "pixels_first": first[0],
                    "pixels_last": last[0],
                }
            )
    with Path(__file__).with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    told = torch.tensor([row["told_way"] for row in rows])
    print(f"moved the told way: {told.mean():.1f} +- {told.std() / len(rows) ** 0.5:.1f} pixels")


if __name__ == "__main__":
    main()
