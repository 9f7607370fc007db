"""`python -m lvis.evaluate task=inpaint vae=lean`: a solver and what surrounds it, clip by clip, by a protocol.

`-m task=inpaint,deblur,sr4 vae=wan,lean` fills one table; `-m solver=avis solver.t0=0.1,0.2 label='${solver.t0}'`
makes one per setting. Rows that results.jsonl already has of the same solver and settings are not computed again.
"""

import json
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from lvis.cli.build import build
from lvis.cli.config import entry, plain
from lvis.cli.progress import console, say, track
from lvis.errors import UserError
from lvis.evaluate.clips import NamedClip, list_clips
from lvis.evaluate.methods import BASELINE, METHODS, compare, methods_of
from lvis.evaluate.pictures import save_picture
from lvis.evaluate.provenance import config_digest, digest, row_digest
from lvis.evaluate.report import differences, protocol_tables
from lvis.evaluate.scoring import Scoring
from lvis.evaluate.settings import check
from lvis.evaluate.table import Row, own_rows, read_rows, summary
from lvis.evaluate.videos import CLEAN, MEASUREMENT, save_videos
from lvis.files import write_text
from lvis.metrics import Suite
from lvis.operators import LinearOperator
from lvis.provenance import code_version, machine, today
from lvis.solvers.base import Solver
from lvis.solvers.build import build_solver, settled

# what identifies a row; "settings" is the digest of everything that its numbers follow from, "content" that of the
# clip's file, and "number" its place in the list, which seeds the draws
KEY: tuple[str, ...] = (
    "clips", "clip", "content", "number", "task", "vae", "label", "solver", "settings", "method", "seed", "frames",
    "size",
)  # fmt: skip
# of which tables show the last row
SHOWN = ("clips", "clip", "task", "vae", "label", "method")


def evaluate(cfg: DictConfig) -> list[Row]:
    """Score every method on every clip, append the rows to `<output>/results.jsonl`, write tables and pictures.

    Raises:
        UserError: unreadable clips, missing weights, an unknown metric, a value out of range, a results.jsonl that is
            not ours, or an output that cannot be written.
    """
    check(cfg)
    cfg = settled(cfg)
    settings = plain(cfg)
    before = own_rows(Path(cfg.output) / "results.jsonl")
    clips = list_clips(
        settings["clips"]["source"],
        settings["clips"]["count"],
        cfg.clips.frames,
        (int(cfg.clips.size[0]), int(cfg.clips.size[1])),
        cfg.seed,
    )
    quality = cfg.protocol.h264_quality
    suffix = "" if quality is None else f"h264q{quality}"
    suite = Suite(cfg.protocol.metrics, settings["metric_weights"], suffix)
    solver = build_solver(cfg)
    about = description(settings)
    cell = digest(
        {key: about.get(key) for key in KEY if key not in ("clip", "content", "number", "method")}
    )
    scoring = Scoring(suite, quality, Path(cfg.output) / "features" / cell)
    if told := overlap(before, about, solver.name, {clip.name: clip.content() for clip in clips}):
        say(told)
    text = json.dumps(settings, indent=2, default=str)
    for name in ("solver", "config"):
        path = Path(cfg.output) / "configs" / f"{about[name]}.json"
        if name == "solver" or not path.is_file():
            write_text(path, text)
    score_clips(cfg, clips, solver, scoring, about)
    sets = scoring.sets(methods_of(solver), [_distinct(clip) for clip in clips])
    keep_sets(Path(cfg.output) / "sets.jsonl", [
        {**about, "method": method, "clips_in_set": number, **found.values, "unmeasured": found.unmeasured}
        for method, (number, found) in sets.items()
    ])  # fmt: skip
    return write_tables(cfg, suite)


def description(settings: dict) -> Row:
    """What all rows of a run have in common."""
    return {
        "clips": settings["clips"]["name"],
        "task": settings["task"]["name"],
        "vae": settings["vae"]["name"],
        "label": settings["label"],
        "solver": digest(settings["solver"]),
        "seed": settings["seed"],
        "frames": settings["clips"]["frames"],
        "size": list(settings["clips"]["size"]),
        "prompt": settings["prompt"],
        "assumed": settings["assumed"] or None,
        "protocol": settings["protocol"]["name"],
        "settings": row_digest(settings),
        "config": config_digest(settings),
        "code": code_version(),
        "machine": machine(),
        "date": today(),
    }


def overlap(rows: list[Row], about: Row, method: str, clips: dict[str, str]) -> str:
    """One sentence where `rows` has this method, task and label by other settings: one table would mix the two.

    `clips` are names with contents: rows of other ones under one name would be mixed, too. Empty for the baseline,
    whose rows every solver's run repeats.
    """
    place = ("clips", "task", "vae", "label")
    wanted = [about[key] for key in place]
    same = [r for r in rows if [r[key] for key in place] == wanted and r["method"] == method]
    others = {row.get("settings") for row in same} - {about["settings"]}
    if any(clips.get(row["clip"], row.get("content")) != row.get("content") for row in same):
        return (
            f"results.jsonl has rows of other clips of the same names, with clips.name={about['clips']} and "
            f"label={about['label']}; tables show the last of each: give clips.name another name to keep them apart"
        )
    if method == BASELINE or not others:
        return ""
    return (
        f"results.jsonl has rows of {len(others)} other settings with label={about['label']} of this task; "
        "tables show the last of each clip: give another label to keep them apart"
    )


def operators(cfg: DictConfig) -> tuple[LinearOperator, LinearOperator]:
    """The operator that measures, and the one that solvers assume: the same with `assumed` on top."""
    truth = build(cfg.task.operator)
    if not cfg.assumed:
        return truth, truth
    if "_target_" in cfg.assumed:
        return truth, build(cfg.assumed)
    unknown = [key for key in cfg.assumed if key not in cfg.task.operator]
    if unknown:
        raise UserError(
            f"assumed.{unknown[0]} is not a key of task={cfg.task.name}'s operator; it has "
            f"{', '.join(map(str, list(cfg.task.operator)[1:]))}"
        )
    merged = OmegaConf.merge(cfg.task.operator, cfg.assumed)
    assert isinstance(merged, DictConfig)
    return truth, build(merged)


def score_clips(
    cfg: DictConfig, clips: list[NamedClip], solver: Solver, scoring: Scoring, about: Row
) -> None:
    """Measure, restore and score this process's share of the clips, one at a time."""
    output = Path(cfg.output)
    results = output / "results.jsonl"
    before = own_rows(results)
    have = {row_key(row): row for row in before}
    shown = {tuple(row[key] for key in SHOWN): row_key(row) for row in before}
    truth, told = operators(cfg)
    share = range(cfg.process.rank, len(clips), cfg.process.count)
    for index in track(share, description=f"{cfg.task.name} {cfg.vae.name}", unit="clips"):
        clip = clips[index]
        here = {**about, "clip": clip.name, "content": clip.content(), "number": index}
        keys = [row_key({**here, "method": method}) for method in methods_of(solver)]
        if all(key in have for key in keys):
            # tables show the last row of each clip, which may be that of other weights
            again = [have[key] for key in keys]
            hidden = [r for r in again if shown[tuple(r[name] for name in SHOWN)] != row_key(r)]
            if hidden:
                append(results, hidden)
            continue
        clean = clip.load()
        # the number in the whole list seeds the draw, so that shares of several processes agree with one
        generator = torch.Generator().manual_seed(cfg.seed + index)
        drawn = generator.get_state()
        fixed = truth.realise(clean.shape, generator)
        y = fixed.measure(clean, generator)
        known = fixed
        if told is not truth:
            generator.set_state(drawn)
            known = told.realise(clean.shape, generator)
        restored = compare(known, y, clean, solver, cfg.seed, cfg.prompt)
        with torch.inference_mode():
            scores = scoring.clip(_distinct(clip), restored, clean, fixed, y)
        rows = [
            {
                **here,
                "method": method,
                **scores[method].values,
                "seconds": restoration.seconds,
                "time_to_first_frame": restoration.time_to_first_frame,
                **{f"passes_{name}": number for name, number in restoration.passes.items()},
                "unmeasured": scores[method].unmeasured,
            }
            for method, restoration in restored.items()
        ]
        append(results, rows)
        if index < cfg.clips.pictures:
            stem = f"{cfg.label}_{cfg.task.name}_{cfg.vae.name}_{clip.name}"
            save_picture(output / "pictures" / f"{stem}.png", known.lift(y), restored, clean)
        if index < cfg.clips.videos:
            answers = {method: restoration.video for method, restoration in restored.items()}
            save_videos(output, here, {MEASUREMENT: known.lift(y), **answers, CLEAN: clean})


def append(results: Path, rows: list[Row]) -> None:
    """Add rows of one clip in a single write, so that several processes can share the file.

    Raises:
        UserError: the file cannot be written or the disk is full.
    """
    text = "".join(json.dumps(row) + "\n" for row in rows)
    try:
        results.parent.mkdir(parents=True, exist_ok=True)
        torn = results.is_file() and results.stat().st_size and not _ends_a_line(results)
        with results.open("a", encoding="utf-8") as file:
            # a crash may have left half a line, which must not swallow this one
            file.write(("\n" if torn else "") + text)
    except OSError as error:
        raise UserError(
            f"cannot write {results}: {error.strerror}; make room or choose another output, and run it "
            "again: what is there is kept"
        ) from error


def keep_sets(path: Path, rows: list[Row]) -> None:
    """Replace the rows of the same cells in sets.jsonl by these."""
    if not rows:
        return
    fresh = {row_key(row) for row in rows}
    kept = [row for row in read_rows(path) if row_key(row) not in fresh]
    write_text(path, "".join(json.dumps(row) + "\n" for row in (*kept, *rows)))


def write_tables(cfg: DictConfig, suite: Suite) -> list[Row]:
    """All tables of the folder from its rows; prints this run's, returns the rows."""
    output = Path(cfg.output)
    rows = own_rows(output / "results.jsonl")
    for label in sorted({row["label"] for row in rows}):
        labelled = [row for row in rows if row["label"] == label]
        named = {row["method"] for row in labelled}
        known = [method for method in METHODS if method in named]
        table = summary(labelled, [*known, *sorted(named - set(METHODS))])
        write_text(output / f"table_{label}.md", table)
    mine = [row for row in rows if row.get("protocol") == cfg.protocol.name]
    labelled = [row for row in mine if row["label"] == cfg.label]
    sets = [
        row
        for row in read_rows(output / "sets.jsonl")
        if (row["label"], row["protocol"]) == (cfg.label, cfg.protocol.name)
    ]
    text = protocol_tables(labelled, sets, suite.columns, cfg.confidence)
    head = f"## Protocol {cfg.protocol.name}, label {cfg.label}\n\n"
    write_text(output / f"metrics_{cfg.protocol.name}_{cfg.label}.md", head + text)
    text = differences(mine, suite.columns, plain(cfg.compare_with), cfg.confidence)
    head = f"## Protocol {cfg.protocol.name}\n\n"
    write_text(output / f"differences_{cfg.protocol.name}.md", head + text)
    if rows:
        console.print((output / f"table_{cfg.label}.md").read_text(encoding="utf-8"), markup=False)
    return rows


def _distinct(clip: NamedClip) -> str:
    content = clip.content()
    return f"{clip.name}_{digest(content)}" if content else clip.name


def row_key(row: Row) -> tuple:
    return tuple(json.dumps(row.get(name)) for name in KEY)


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


main = entry("evaluate")(evaluate)
