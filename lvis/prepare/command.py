"""`python -m lvis.prepare input=FOLDER output=DATA`: videos into shards of clips that training reads.

Folders, lists with captions and known datasets go in; webdataset shards with an index come out. Run the same command
again to resume or to add new videos. An array of jobs makes a share of the shards each (job.index, job.count), and one
run with job.merge=true ends it. The keys are in conf/prepare.yaml.
"""

import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from lvis.cli.config import entry, plain
from lvis.cli.progress import say
from lvis.data.shard_format import HELD_OUT, TRAIN, Index, Shard
from lvis.errors import UserError
from lvis.prepare.folder import REPORT, Folder
from lvis.prepare.jobs import Advance, Meter, Pool
from lvis.prepare.planning import Plan, PlannedShard, plan
from lvis.prepare.settings import Settings
from lvis.prepare.sources import Source, find_sources, sample_of
from lvis.prepare.survey import Survey, Surveyed, survey
from lvis.prepare.writing import STATE, write_shard

if TYPE_CHECKING:
    # the backbone takes seconds to import, in every process
    from lvis.backbone import TextEncoder
    from lvis.backbone.prompts import PromptCache


def prepare(cfg: DictConfig) -> Index | None:
    """Make the shards; returns the index, or None for one job of several.

    Raises:
        UserError: a key out of its range, no videos, none that gives a clip, or a folder that cannot be written.
    """
    settings = Settings.of(plain(cfg))
    sources = find_sources(settings.input, settings.layout)
    sources = sample_of(sources, settings.sample, settings.seed)
    folder = Folder(settings)
    folder.claim()
    whole = plan(surveyed(sources, settings), sources, settings)
    to_do = folder.to_do(whole)
    if to_do:
        folder.open()
        make(to_do, cfg, settings)
    if settings.latents and not settings.merge:
        encode(folder.share(whole), cfg, settings)
    if settings.job_count is not None:
        say(f"job {settings.job_index} of {settings.job_count} is done; end with job.merge=true")
        return None
    index = folder.finish(whole)
    report(index, whole, settings)
    return index


def surveyed(sources: list[Source], settings: Settings) -> list[Surveyed]:
    """What is in each source, from the output folder where it is known already."""
    found = Survey(Path(settings.output) / STATE / "survey", sources)
    with Meter("reading", "videos", found.missing()) as meter:
        pool = Pool(_survey_one, settings.workers)
        to_do = found.to_do(settings.job_index or 0, settings.job_count or 1)
        for entry_ in pool.run(((source, settings) for source in to_do), meter):
            found.add(entry_)
    return found.entries()


def make(shards: list[PlannedShard], cfg: DictConfig, settings: Settings) -> None:
    """Cut, encode and write `shards`."""
    captions = {piece.caption for shard in shards for piece in shard.pieces}
    prompts = None if settings.prompts is None else embedded(captions, cfg, settings)
    with Meter("cutting", "clips", sum(shard.samples for shard in shards)) as meter:
        pool = Pool(partial(_make_one, prompts=prompts), settings.workers)
        for _ in pool.run(((shard, settings) for shard in shards), meter):
            pass
        say(
            f"cut {meter.total} clips in {meter.seconds:.1f} s, {meter.total / meter.seconds:.2f} per second"
        )


def encode(shards: list[Shard], cfg: DictConfig, settings: Settings) -> None:
    """Write the latents of finished shards."""
    from lvis.prepare.latents import encode_shards

    rate = encode_shards(shards, cfg, settings)
    say("the latents are there already" if rate is None else f"encoded {rate:.2f} clips per second")


def embedded(captions: set[str], cfg: DictConfig, settings: Settings) -> "PromptCache":
    """The embeddings of captions on disk, to be read by processes without the encoder.

    Raises:
        UserError: the encoder cannot be found.
    """
    from lvis.backbone.prompts import PromptCache

    encoder = plain(cfg.model.text_encoder)
    if settings.prompts != "model":
        encoder["source"] = settings.prompts
    folder = Path(settings.output) / STATE / "prompts"
    facts = (folder, encoder["source"])
    cache = PromptCache(
        *facts, lambda: _load_encoder(encoder, str(cfg.device)), encoder["text_len"]
    )
    with Meter("embedding", "captions", len(captions)) as meter:
        for number, caption in enumerate(sorted(captions), 1):
            cache.tokens(caption)
            meter.show(number)
    return PromptCache(*facts, _encoder_is_gone, encoder["text_len"])


def report(index: Index, whole: Plan, settings: Settings) -> None:
    """The closing summary on standard error."""
    total = whole.used + len(whole.problems)
    left_out = "".join(f", {count} {problem}" for problem, count in sorted(whole.counts().items()))
    size = sum(shard.bytes for shard in index.shards)
    say(f"{total} videos: {whole.used} used{left_out}")
    if whole.problems:
        say(f"what was left out and why: {Path(settings.output) / REPORT}")
    say(
        f"{index.clips[TRAIN]} clips to train on and {index.clips[HELD_OUT]} held out, in "
        f"{len(index.shards)} shards, {size / 1e6:.1f} MB in all: {settings.output}"
    )


def _survey_one(task: tuple[Source, Settings], advance: Advance) -> Surveyed:
    source, settings = task
    entry_ = survey(source, settings, lambda: advance(0))
    advance(1)
    return entry_


def _make_one(
    task: tuple[PlannedShard, Settings], advance: Advance, prompts: "PromptCache | None"
) -> Shard:
    shard, settings = task
    return write_shard(shard, settings, prompts, advance)


def _load_encoder(encoder: dict[str, Any], device: str) -> "TextEncoder":
    from lvis.hardware import pick_device

    return hydra.utils.instantiate(encoder).to(pick_device(device))


def _encoder_is_gone() -> "TextEncoder":
    raise UserError("an embedding of a caption was removed while shards were made; run again")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    # a job that SLURM ends must clean up as an interrupted one does
    signal.signal(signal.SIGTERM, _interrupt)
    entry("prepare")(prepare)()
