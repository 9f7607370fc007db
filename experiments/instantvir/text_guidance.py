"""The supplement's text guidance (Figure 4): one measurement, several prompts.

    python experiments/instantvir/text_guidance.py --prompt "" --prompt "a red disk moves left" task=deblur vae=wan

Arguments that are no options are those of lvis.evaluate. Every prompt's restoration is compared with the first
one's: how much they differ in A x, which the measurement fixes, and in the null space, which it leaves free. Writes
text_guidance.jsonl, text_guidance.md and a picture per clip to `output`.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from PIL import Image
from torch import Tensor

from lvis.cli.build import build
from lvis.cli.config import compose, fail, plain
from lvis.data.comparison import SideBySide
from lvis.data.frames import to_frames
from lvis.errors import UserError
from lvis.evaluate.clips import list_clips
from lvis.evaluate.command import operators
from lvis.evaluate.methods import solve
from lvis.evaluate.provenance import config_digest
from lvis.files import replacing, write_text
from lvis.markdown import markdown_table
from lvis.metrics import psnr_frames, residual_rms
from lvis.operators import LinearOperator
from lvis.provenance import code_version, machine, today

PROMPTS = ["", "a red disk moves left", "a blue square moves right"]
HEAD = (
    "prompt",
    "minus",
    "n",
    "rms of d",
    "of A d",
    "seen",
    "free",
    "free share",
    "residual",
    "PSNR",
)


@dataclass(frozen=True)
class Split:
    """Root mean squares of a difference d of videos in [-1, 1].

    Attributes:
        total: of d.
        measured: of A d, over the measurement's values.
        seen: of A^+ A d, the part of d that A passes on.
        free: of d - A^+ A d, the part in A's null space, with what `rcond` counts to it.
    """

    total: float
    measured: float
    seen: float
    free: float

    @property
    def free_share(self) -> float:
        """The null space's share of |d|^2; 0 where nothing differs."""
        return self.free**2 / (self.free**2 + self.seen**2) if self.total else 0.0


@torch.no_grad()
def split_difference(operator: LinearOperator, first: Tensor, second: Tensor) -> Split:
    """Split first - second, (B, 3, T, H, W) each, by a realised operator on pixels."""
    difference = (first - second).double()
    image = operator(difference)
    seen = operator.pinv(image)
    parts = (difference, image, seen, difference - seen)
    return Split(*(part.square().mean().sqrt().item() for part in parts))


@torch.inference_mode()
def guide(overrides: list[str], prompts: list[str]) -> list[dict]:
    """A row per clip and prompt.

    Raises:
        UserError: fewer than two prompts, or an operator on latents, whose A x is no picture.
    """
    if len(prompts) < 2:
        raise UserError(f"{len(prompts)} prompt is nothing to compare; give --prompt twice or more")
    cfg = compose("evaluate", overrides)
    size = (int(cfg.clips.size[0]), int(cfg.clips.size[1]))
    source, count = plain(cfg)["clips"]["source"], cfg.clips.count
    operator, told = operators(cfg)
    if operator.space != "pixel":
        raise UserError(f"task={cfg.task.name} acts on latents; take one that measures pixels")
    solver = build(cfg.solver)
    about = {"task": cfg.task.name, "vae": cfg.vae.name, "method": solver.name, "seed": cfg.seed}
    about |= {
        "config": config_digest(plain(cfg)),
        "code": code_version(),
        "machine": machine(),
        "date": today(),
    }
    rows = []
    for index, clip in enumerate(list_clips(source, count, cfg.clips.frames, size, cfg.seed)):
        clean = clip.load()
        generator = torch.Generator().manual_seed(cfg.seed + index)
        fixed = operator.realise(clean.shape, generator)
        y = fixed.measure(clean, generator)
        known = fixed if told is operator else told
        videos = {p: solve(solver, known, y, size, cfg.seed, p).video for p in prompts}
        for prompt, video in videos.items():
            split = split_difference(fixed, video, videos[prompts[0]])
            rows.append(
                {
                    **about,
                    "clip": clip.name,
                    "prompt": prompt,
                    "minus": prompts[0],
                    "rms": split.total,
                    "rms_measured": split.measured,
                    "rms_seen": split.seen,
                    "rms_free": split.free,
                    "free_share": split.free_share if prompt != prompts[0] else None,
                    "residual_rms": residual_rms(fixed(video), y),
                    "psnr": psnr_frames(video, clean).mean().item(),
                }
            )
        shown = {"measurement": fixed.lift(y)} | {p or "(none)": v for p, v in videos.items()}
        board = SideBySide(list(shown), *size)
        middle = [to_frames(v[:, :, [v.shape[2] // 2]])[0] for v in shown.values()]
        with replacing(Path(cfg.output) / f"text_guidance_{clip.name}.png") as partial:
            Image.fromarray(board(middle)).save(partial)
    write_text(
        Path(cfg.output) / "text_guidance.jsonl", "".join(json.dumps(r) + "\n" for r in rows)
    )
    write_text(Path(cfg.output) / "text_guidance.md", table(rows, prompts))
    print(table(rows, prompts))
    return rows


def table(rows: list[dict], prompts: list[str]) -> str:
    """Means over clips, one line per prompt."""
    lines = []
    for prompt in prompts:
        found = [row for row in rows if row["prompt"] == prompt]
        keys = ("rms", "rms_measured", "rms_seen", "rms_free")
        differs = [f"{fmean(row[key] for row in found):.4f}" for key in keys]
        shares = [row["free_share"] for row in found if row["free_share"] is not None]
        share = f"{fmean(shares):.2f}" if shares else "-"
        quality = [f"{fmean(r['residual_rms'] for r in found):.4f}"]
        quality += [f"{fmean(r['psnr'] for r in found):.2f} dB"]
        cells = [prompt or "(none)", prompts[0] or "(none)", str(len(found)), *differs, share]
        lines.append([*cells, *quality])
    return markdown_table(HEAD, lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompt", action="append", help="twice or more; the first is the base")
    options, overrides = parser.parse_known_args()
    try:
        guide(["output=outputs/text_guidance", *overrides], options.prompt or PROMPTS)
    except UserError as error:
        fail(error)


if __name__ == "__main__":
    main()
