"""A scene from another camera: lvis.warp, then lvis.restore, against the true new view.

    python experiments/avis/novel_views/run.py SEED ...

Adds the scenes of these seeds to results.json beside this file, and draws frames.png of the first of them. Clips
go to outputs/novel_views.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lvis.cli.config import compose
from lvis.data.comparison import SideBySide
from lvis.data.frames import DEFAULT_RATE, VideoInfo, to_frames, to_video
from lvis.data.video import open_sink, open_source
from lvis.files import replacing, write_text
from lvis.provenance import code_version, today
from lvis.restore.command import restore
from lvis.solvers.initial import fill_nearest
from lvis.warp import Pinhole, Trajectory
from lvis.warp.command import warp

sys.path.insert(0, str(Path(__file__).parent))
from scene import Scene  # noqa: E402

SIDE, FRAMES, FOV, ORBIT, MOVING = 128, 33, 60.0, 4.0, 16
VIEWS = {"orbit-left": {"yaw": 12.0}, "orbit-down": {"pitch": 12.0}}
SOLVERS = {
    "pinv": ["solver=pinv"],
    "avis": ["solver=avis"],
    "avis, gamma = 100": ["solver=avis", "solver.gamma=100"],
    "avis_flash": ["solver=avis_flash"],
}
HERE, OUTPUT = Path(__file__).parent, Path("outputs/novel_views")


def measure(seed: int, view: str) -> tuple[dict, dict[str, np.ndarray]]:
    """The scores of one scene and trajectory, and its clips, uint8 (T, H, W, 3)."""
    folder = OUTPUT / f"{view}_{seed}"
    camera = Pinhole.with_field_of_view(SIDE, SIDE, FOV)
    path = Trajectory(**VIEWS[view], orbit=ORBIT, frames=MOVING)
    scene, here = Scene(seed, FRAMES), Trajectory().pose(0)
    filmed = [scene.render(number, camera, here) for number in range(FRAMES)]
    truth = np.stack([scene.render(n, camera, path.pose(n))[0] for n in range(FRAMES)])
    source, depth = np.stack([f for f, _ in filmed]), np.stack([d for _, d in filmed])
    write(folder / "clip.mkv", source)
    np.savez(folder / "depth.npz", depth=depth.astype(np.float32))
    angles = [f"camera.{name}={degrees}" for name, degrees in VIEWS[view].items()]
    keys = [f"camera.fov={FOV}", f"camera.orbit={ORBIT}", f"camera.frames={MOVING}", *angles]
    began = time.perf_counter()
    place = [f"input={folder / 'clip.mkv'}", f"output={folder}"]
    warped = warp(compose("warp", [*place, f"depth={folder / 'depth.npz'}", *keys]))
    seconds = time.perf_counter() - began
    clips = {"filmed": source, "warped": read(warped.video)}
    observed = read(warped.mask)[..., 0] >= 128
    filled = fill_nearest(to_video(clips["warped"]), torch.from_numpy(~observed)[None, None])
    clips["nearest infill"] = to_frames(filled)
    for name, overrides in SOLVERS.items():
        target = folder / f"{name.replace(', gamma = ', '_')}.mkv"
        given = [f"input={warped.video}", f"mask={warped.mask}", f"output={target}", "task=inpaint"]
        restore(compose("restore", [*given, *overrides]))
        clips[name] = read(target)
    clips["truth"] = truth
    scores = {
        name: {
            "all": psnr(clip, truth, np.ones_like(observed)),
            "observed": psnr(clip, truth, observed),
            "holes": psnr(clip, truth, ~observed),
        }
        for name, clip in clips.items()
        if name not in ("filmed", "warped", "truth")
    }
    about = {"holes": float((~observed).mean()), "warp_seconds_a_frame": seconds / FRAMES}
    return {"scene": seed, "view": view, **about, "psnr": scores}, clips


def psnr(video: np.ndarray, reference: np.ndarray, places: np.ndarray) -> float:
    """Of these places of the whole clip together, (T, H, W), in dB; frames without any would have none of their own."""
    error = np.square(video[places].astype(np.float64) - reference[places])
    return float(10 * np.log10(255**2 / error.mean()))


def write(path: Path, frames: np.ndarray) -> None:
    with open_sink(str(path), VideoInfo(SIDE, SIDE, DEFAULT_RATE)) as sink:
        for frame in frames:
            sink.write(frame)


def read(path: Path) -> np.ndarray:
    with open_source(str(path)) as source:
        return np.stack(list(source))


def means(rows: list[dict]) -> dict:
    """Mean over scenes and views of each method's PSNR."""
    return {
        name: {part: float(np.mean([row["psnr"][name][part] for row in rows])) for part in parts}
        for name, parts in rows[0]["psnr"].items()
    }


def draw(pictures: dict[str, dict[str, np.ndarray]]) -> None:
    """A row a view: its last frame as filmed, warped, restored, and true."""
    shown = [
        "filmed",
        "warped",
        "pinv",
        "nearest infill",
        "avis",
        "avis, gamma = 100",
        "avis_flash",
        "truth",
    ]
    board = SideBySide(shown, 2 * SIDE, 2 * SIDE)
    rows = []
    for clips in pictures.values():
        stills = [clips[name][-1].repeat(2, axis=0).repeat(2, axis=1) for name in shown]
        rows.append(board(stills))
    with replacing(HERE / "frames.png") as partial:
        Image.fromarray(np.concatenate(rows)).save(partial)


def main() -> None:
    target = HERE / "results.json"
    rows = json.loads(target.read_text())["rows"] if target.exists() else []
    made = {"date": today(), "code": code_version()}
    if weights := os.environ.get("WEIGHTS_DIGEST"):  # of experiments/evaluation.sh
        made["weights"] = weights
    for seed in map(int, sys.argv[1:]):
        pictures = {}
        for view in VIEWS:
            row, pictures[view] = measure(seed, view)
            row |= made
            same = (seed, view)
            rows = [old for old in rows if (old["scene"], old["view"]) != same] + [row]
        if seed == 0:
            draw(pictures)
    rows.sort(key=lambda row: (row["scene"], row["view"]))
    about = {
        "side": SIDE,
        "frames": FRAMES,
        "fov": FOV,
        "orbit": ORBIT,
        "moving": MOVING,
        "views": VIEWS,
    }
    write_text(
        target, json.dumps({"settings": about, "means": means(rows), "rows": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
