"""Command lines drawn from the configurations: they run, or one sentence and status 2 says why not."""

import importlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from children import HUNG, in_a_child
from omegaconf import OmegaConf

from lvis.cli.config import CONF, compose

SMALL = {
    "restore": ("input={media}/clip.mkv", "output={here}/out.mp4", "task=deblur", "solver=pinv"),
    "evaluate": ("solver=pinv", "output={here}/out", "clips.size=[32,32]", "clips.frames=9")
    + ("clips.count=1", "clips.pictures=0"),
    "train": ("hydra.run.dir={here}/run", "distill.size=[32,32]", "distill.frames=9")
    + ("trainer.max_steps=1", "data.num_workers=0", "data.val_clips=1"),
    "plan": (),
    "report": ("results={media}/rows", "output={here}/page"),
    "prepare": ("input={media}", "output={here}/shards", "size=[32,32]", "frames=9", "workers=1"),
    "warp": ("input={media}/clip.mkv", "depth={media}/depth.npz", "output={here}/view"),
}
VALUES = (
    "nan", "inf", "-inf", "-1", "0", "1", "2.0", "2.5", "1e99", "99999999999999999999", "true", "null", "''", "x",
    "[]", "[1]", "[a,b]", "{}", "{a: 1}", "../..", "/dev/null", "é ü", "'1e5'", "auto", "-0.0", "${nowhere}", "???",
    "[[1,2],[3]]", "1_000", "0x10",
)  # fmt: skip


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def near(rng: random.Random, default: Any) -> str:
    """A value of the default's kind, which may well be right."""
    if isinstance(default, bool):
        return rng.choice(("true", "false"))
    if isinstance(default, int):
        return str(rng.choice((0, 1, 2, -default, default + 1, 2 * default, float(default))))
    if isinstance(default, float):
        return str(rng.choice((0.0, 1, default / 2, 2 * default, -default, 1e-12, 1e6)))
    return rng.choice(VALUES)


def drawn(rng: random.Random, keys: dict[str, Any]) -> list[str]:
    words = []
    for _ in range(rng.randrange(1, 4)):
        if rng.random() < 0.15:
            group = rng.choice([p for p in sorted(CONF.iterdir()) if p.is_dir()])
            option = rng.choice([p.stem for p in sorted(group.glob("*.yaml"))] + ["nothing"])
            words.append(f"{group.name}={option}")
        else:
            key = rng.choice(list(keys))
            value = rng.choice(VALUES) if rng.random() < 0.4 else near(rng, keys[key])
            if rng.random() < 0.03:
                key = key[:-1]
            words.append(f"{rng.choice(('', '', '', '', '', '', '', '', '+', '~'))}{key}={value}")
    return words


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Path:
    import numpy as np
    from test_damaged_files import write_rows
    from test_media import FRAMES, HEIGHT, WIDTH, write

    folder = tmp_path_factory.mktemp("media")
    write(folder / "clip.mkv", "libx264", "flac", "yuv420p")
    write_rows(folder / "rows")
    np.savez(folder / "depth.npz", depth=np.full((FRAMES, HEIGHT, WIDTH), 2.0, np.float32))
    return folder


@pytest.mark.slow
@pytest.mark.cases(300)
def test_drawn_command_lines(table, cases, media, tmp_path, monkeypatch):
    mains, keys = {}, {}
    for command in SMALL:
        mains[command] = importlib.import_module(f"lvis.{command}.command").main
        keys[command] = dict(leaves(OmegaConf.to_container(compose(command), resolve=False)))
    for number in range(cases):
        rng = random.Random(f"{table.seed} {number}")
        command = list(SMALL)[number % len(SMALL)]
        here = tmp_path / str(number)
        here.mkdir()
        words = [word.format(media=media, here=here) for word in SMALL[command]]
        # the first of each command is as it stands, and must run
        extra = drawn(rng, keys[command]) if number >= len(SMALL) else []

        def work(command=command, here=here, words=words, extra=extra) -> None:
            monkeypatch.chdir(here)
            sys.argv = [f"lvis.{command}", *words, *extra]
            mains[command]()

        ended = in_a_child(work)
        # a value may well ask for more work than there is time
        outcome = "still running" if ended.outcome == HUNG else ended.outcome
        right = outcome in ("right", "refused", "still running")
        right = right and (outcome != "refused" or len(ended.sentences) == 1)
        right = right and (outcome != "refused" or bool(extra))
        table.add(command, outcome, f"case {number}, {' '.join(extra)}", ended.said, right)
