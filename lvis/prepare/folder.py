"""The folder of the shards: whose settings it has, what is done in it, and the index that ends it."""

import json
from pathlib import Path
from typing import Any

from lvis.data.shard_format import INDEX, Index, Shard, read_index, write_index
from lvis.errors import UserError
from lvis.files import remove_partial, write_text
from lvis.prepare.planning import Plan, PlannedShard
from lvis.prepare.settings import Settings
from lvis.prepare.writing import STATE, evidence_path, read_evidence

REPORT = "report.jsonl"


class Folder:
    """The output of a run, which may be continued by others."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.path = Path(settings.output)
        self.state = self.path / STATE

    def claim(self) -> None:
        """Write the settings into a new folder.

        Raises:
            UserError: the folder was made with other settings, or by something else.
        """
        record, here = self.state / "settings.json", self.settings.recorded()
        if record.is_file():
            there = json.loads(record.read_text(encoding="utf-8"))
            other = [name for name in here if there.get(name) != here[name]]
            if other:
                name = other[0]
                raise UserError(
                    f"output={self.path} was started with {name}={there.get(name)}, not {here[name]}; "
                    "give the same settings or another folder"
                )
            return
        if self.path.is_dir() and any(self.path.iterdir()) and not self.state.is_dir():
            raise UserError(
                f"output={self.path} is not empty and not a folder of shards; name another one"
            )
        write_text(record, json.dumps(here, indent=1) + "\n")

    def done(self, plan: Plan) -> dict[str, Shard]:
        """The planned shards that are there and whole, by name."""
        found = {s.name: read_evidence(self.path, s, self.settings) for s in plan.shards}
        return {name: shard for name, shard in found.items() if shard is not None}

    def to_do(self, plan: Plan) -> list[PlannedShard]:
        """The shards that this job is to make; without a job, all that are missing."""
        if self.settings.merge:
            return []
        done = self.done(plan)
        return [shard for shard in self._mine(plan) if shard.name not in done]

    def share(self, plan: Plan) -> list[Shard]:
        """This job's shards that are there and whole; without a job, all of them."""
        done = self.done(plan)
        return [done[shard.name] for shard in self._mine(plan) if shard.name in done]

    def _mine(self, plan: Plan) -> list[PlannedShard]:
        index, count = self.settings.job_index or 0, self.settings.job_count or 1
        return [shard for number, shard in enumerate(plan.shards) if number % count == index]

    def open(self) -> None:
        """Take the index away: it no longer tells what is in the folder."""
        (self.path / INDEX).unlink(missing_ok=True)

    def finish(self, plan: Plan) -> Index:
        """Write the report and the index, and remove what belongs to neither.

        Raises:
            UserError: a shard is missing, or there is none at all.
        """
        lines = [json.dumps(problem, ensure_ascii=False) + "\n" for problem in plan.problems]
        write_text(self.path / REPORT, "".join(lines))
        done = self.done(plan)
        missing = [shard.name for shard in plan.shards if shard.name not in done]
        if missing:
            raise UserError(
                f"{len(missing)} of {len(plan.shards)} shards are missing ({missing[0]} ...); run the "
                "jobs that failed again, or the command without job.* to make them here"
            )
        if not done:
            raise UserError(
                f"none of the {len(plan.problems)} videos gave a clip; "
                f"{self.path / REPORT} says why for each"
            )
        self._tidy(set(done))
        shards = tuple(done[shard.name] for shard in plan.shards)
        write_index(self.path, Index(self._shown(), shards))
        return read_index(self.path)

    def _shown(self) -> dict[str, Any]:
        # where the videos lay on this machine is nobody else's business
        return {name: value for name, value in self.settings.recorded().items() if name != "input"}

    def _tidy(self, names: set[str]) -> None:
        for folder in (self.path, self.state, self.state / "done", self.state / "survey"):
            remove_partial(folder)
        for path in self.path.glob("*.tar"):
            # of a plan before videos were removed
            if path.name not in names and evidence_path(self.path, path.name).is_file():
                evidence_path(self.path, path.name).unlink()
                path.unlink()
