"""`python -m lvis.evaluate task=inpaint vae=lean`: PSNR and SSIM of a solver and what surrounds it, clip by clip.

`-m task=inpaint,deblur,sr4 vae=wan,lean` fills one table; `-m solver=avis solver.t0=0.1,0.2 label='${solver.t0}'`
makes one a setting. Rows that results.jsonl already has of the same solver and settings are not computed again.
"""

import hashlib
import json
from collections.abc import Callable
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
from lvis.evaluation.videos import CLEAN, MEASUREMENT, save_videos
from lvis.files import write_text
from lvis.operators import LinearOperator
from lvis.progress import console, track
from lvis.restoring.comparison import SideBySide
from lvis.solvers.base import Solver
from lvis.solvers.pinv import PinvSolver

BASELINE, MEASURED, CEILING = "pinv", "D(E(y))", "D(E(x))"
STUDENT = "student"
# one table has the columns of all solvers that its rows name, in this order
METHODS = (BASELINE, MEASURED, STUDENT, "avis", "avis_flash", CEILING)


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
    solver = instantiate(cfg.solver)
    settings = plain(cfg.solver)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    methods = methods_of(solver)
    for index, (name, clean) in enumerate(
        track(clips, description=f"{cfg.task.name} {cfg.vae.name}", unit="clips")
    ):
        about = {
            "clips": cfg.clips.name,
            "clip": name,
            "task": cfg.task.name,
            "vae": cfg.vae.name,
            "label": cfg.label,
            "solver": digest,
            "seed": cfg.seed,
            "frames": cfg.clips.frames,
            "size": list(size),
        }
        if all(_key({**about, "method": method}) in have for method in methods):
            continue
        generator = torch.Generator().manual_seed(cfg.seed + index)
        fixed = operator.realise(clean.shape, generator)
        y = fixed.measure(clean, generator)
        restored = compare(fixed, y, clean, solver, cfg.seed)
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
        if index < cfg.clips.videos:
            answers = {method: restoration.video for method, restoration in restored.items()}
            save_videos(output, about, {MEASUREMENT: fixed.lift(y), **answers, CLEAN: clean})
    write_text(output / "configs" / f"{digest}.json", json.dumps(plain(cfg), indent=2, default=str))
    rows = read_rows(results)
    for label in sorted({row["label"] for row in rows}):
        labelled = [row for row in rows if row["label"] == label]
        named = {row["method"] for row in labelled}
        known = [method for method in METHODS if method in named]
        table = summary(labelled, [*known, *sorted(named - set(METHODS))])
        write_text(output / f"table_{label}.md", table)
    console.print(table, markup=False)
    return rows


def methods_of(solver: Solver) -> tuple[str, ...]:
    """What is compared for a solver: itself, the baseline, and where it has a VAE the two marks that frame it."""
    has_vae = hasattr(solver, "vae")
    wanted = {BASELINE, solver.name} | ({MEASURED, CEILING} if has_vae else set())
    return tuple(sorted(wanted, key=lambda name: (*METHODS, name).index(name)))


@torch.inference_mode()
def compare(
    operator: LinearOperator, y: Tensor, clean: Tensor, solver: Solver, seed: int
) -> dict[str, Restoration]:
    """Every method's answer for one measurement y of `clean` (1, 3, T, H, W)."""
    size = (clean.shape[3], clean.shape[4])
    how: dict[str, Callable[[], Restoration]] = {
        BASELINE: lambda: solve(PinvSolver(solver.device), operator, y, size, seed),
        MEASURED: lambda: through_vae(solver.vae, operator.lift(y)),  # type: ignore[attr-defined]
        CEILING: lambda: through_vae(solver.vae, clean),  # type: ignore[attr-defined]
        solver.name: lambda: solve(solver, operator, y, size, seed),
    }
    return {name: how[name]() for name in methods_of(solver)}


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
        json.dumps(row.get(name))
        for name in (
            "clips",
            "clip",
            "task",
            "vae",
            "label",
            "solver",
            "method",
            "seed",
            "frames",
            "size",
        )
    )


main = entry("evaluate")(evaluate)

if __name__ == "__main__":
    main()
