"""`python -m lvis.evaluate task=inpaint vae=lean`: PSNR and SSIM of the student and what surrounds it, clip by clip.

`-m task=inpaint,deblur,sr4 vae=wan,lean` fills one table. Rows that results.jsonl already has are not computed again.
"""

import json
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from lvis.config import entry, plain
from lvis.data.frames import to_frames
from lvis.evaluation.clips import named_clips
from lvis.evaluation.methods import Restoration, scores, solve, through_vae
from lvis.evaluation.table import Row, read_rows, summary
from lvis.files import write_text
from lvis.operators import LinearOperator
from lvis.progress import console, track
from lvis.restoring.comparison import SideBySide
from lvis.solvers.pinv import PinvSolver

METHODS = ("pinv", "D(E(y))", "student", "D(E(x))")


def evaluate(cfg: DictConfig) -> list[Row]:
    """Score every method on every clip, append the rows to `<output>/results.jsonl`, write tables and pictures.

    Raises:
        UserError: unreadable clips, or missing weights.
    """
    output = Path(cfg.output)
    results = output / "results.jsonl"
    size = (int(cfg.clips.size[0]), int(cfg.clips.size[1]))
    source = cfg.clips.source if isinstance(cfg.clips.source, str) else list(cfg.clips.source)
    have = {_key(row) for row in read_rows(results)}
    clips = list(named_clips(source, cfg.clips.count, cfg.clips.frames, size, cfg.seed))
    operator = instantiate(cfg.task.operator)
    student = instantiate(cfg.solver)
    for index, (name, clean) in enumerate(
        track(clips, description=f"{cfg.task.name} {cfg.vae.name}", unit="clips")
    ):
        about = {
            "clips": cfg.clips.name,
            "clip": name,
            "task": cfg.task.name,
            "vae": cfg.vae.name,
            "label": cfg.label,
            "seed": cfg.seed,
            "frames": cfg.clips.frames,
            "size": list(size),
        }
        if all(_key({**about, "method": method}) in have for method in METHODS):
            continue
        generator = torch.Generator().manual_seed(cfg.seed + index)
        fixed = operator.realise(clean.shape, generator)
        y = fixed.measure(clean, generator)
        restored = compare(fixed, y, clean, student, cfg.seed)
        rows = [
            {
                **about,
                "method": method,
                **scores(restoration.video, clean),
                "seconds": restoration.seconds,
                "time_to_first_frame": restoration.time_to_first_frame,
            }
            for method, restoration in restored.items()
        ]
        output.mkdir(parents=True, exist_ok=True)
        with results.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        if index < cfg.clips.pictures:
            stem = f"{cfg.label}_{cfg.task.name}_{cfg.vae.name}_{name}"
            save_picture(output / "pictures" / f"{stem}.png", fixed.lift(y), restored, clean)
    write_text(output / "config.json", json.dumps(plain(cfg), indent=2, default=str))
    rows = read_rows(results)
    for label in sorted({row["label"] for row in rows}):
        table = summary([row for row in rows if row["label"] == label], METHODS)
        write_text(output / f"table_{label}.md", table)
    console.print(table, markup=False)
    return rows


def compare(
    operator: LinearOperator, y: Tensor, clean: Tensor, student, seed: int
) -> dict[str, Restoration]:
    """Every method's answer for one measurement y of `clean` (1, 3, T, H, W)."""
    size = (clean.shape[3], clean.shape[4])
    return {
        "pinv": solve(PinvSolver(student.device), operator, y, size, seed),
        "D(E(y))": through_vae(student.vae, operator.lift(y)),
        "student": solve(student, operator, y, size, seed),
        "D(E(x))": through_vae(student.vae, clean),
    }


def save_picture(
    path: Path, visible: Tensor, restored: dict[str, Restoration], clean: Tensor
) -> None:
    """The middle frame of the measurement, of every answer and of the clean clip, side by side."""
    from PIL import Image

    frame = clean.shape[2] // 2
    videos = (
        {"measurement": visible}
        | {name: r.video for name, r in restored.items()}
        | {"clean": clean}
    )
    board = SideBySide(list(videos), clean.shape[3], clean.shape[4])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(
        board([to_frames(v[:, :, frame : frame + 1])[0] for v in videos.values()])
    ).save(path)


def _key(row: Row) -> tuple:
    return tuple(
        json.dumps(row[name])
        for name in ("clips", "clip", "task", "vae", "label", "method", "seed", "frames", "size")
    )


main = entry("evaluate")(evaluate)

if __name__ == "__main__":
    main()
