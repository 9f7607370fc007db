"""Cases in forked children, with limits on memory and time, and what came of them."""

import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

MEGABYTES = 3000  # beyond what the process has when the case begins
DEFECT, HUNG = "traceback", "hung"


@dataclass(frozen=True)
class Ended:
    """A child's exit status (None: killed when its time was over), and its standard error."""

    status: int | None
    said: str

    @property
    def sentences(self) -> list[str]:
        return [line for line in self.said.splitlines() if line.startswith("lvis: ")]

    @property
    def outcome(self) -> str:
        """ "right" (which the case has yet to check), "refused", or what must not be."""
        if self.status is None:
            return HUNG
        if "Traceback" in self.said:
            return DEFECT
        if self.status == 0:
            return "right"
        if self.status == 2 and self.sentences:
            return "refused"
        return f"status {self.status}"


def in_a_child(work: Callable[[], object], seconds: float = 240) -> Ended:
    """`work()` in a fork of this process, which has loaded everything already.

    What it raises is a traceback, SystemExit apart.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        child = os.fork()
        if not child:
            os.setsid()
            os.dup2(said.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stderr = open(2, "w", buffering=1, closefd=False)  # pytest's own has another place
            os._exit(_run(work))
        status = _wait(child, seconds)
        said.seek(0)
        return Ended(status, said.read())


def _run(work: Callable[[], object]) -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = pages + MEGABYTES * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        work()
        return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        os.write(2, traceback.format_exc().encode())
        return 1


def _wait(child: int, seconds: float) -> int | None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


@dataclass
class Table:
    """Outcomes by kind of case; the defects with what repeats them."""

    seed: int
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    defects: list[str] = field(default_factory=list)

    def add(self, kind: str, outcome: str, case: str, said: str, right: bool) -> None:
        self.counts.setdefault(kind, Counter())[outcome] += 1
        if not right:
            self.defects.append(f"[seed {self.seed}] {kind}, {case}: {outcome}\n{said[-1500:]}")

    def markdown(self) -> str:
        names = sorted({name for counts in self.counts.values() for name in counts})
        head = ["case", "n", *names]
        lines = [
            [kind, str(sum(counts.values())), *(str(counts[name]) for name in names)]
            for kind, counts in sorted(self.counts.items())
        ]
        rows = [head, ["---"] * len(head), *lines]
        return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"

    def write(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.md").write_text(f"Seed {self.seed}.\n\n{self.markdown()}")
        (folder / f"{name}_defects.json").write_text(json.dumps(self.defects, indent=1))


def mutated(content: bytes, rng: random.Random, others: list[bytes] = []) -> tuple[str, bytes]:  # noqa: B006
    """(what was done, the bytes): bits flipped, cut, header edited, a piece of another put in."""
    data = bytearray(content)
    kind = rng.choice(("flip", "flips", "cut", "header", "zeros", "splice", "swap"))
    place = rng.randrange(len(data)) if data else 0
    if not data:
        return "empty", b""
    if kind == "flip":
        data[place] ^= 1 << rng.randrange(8)
    elif kind == "flips":
        for _ in range(rng.randrange(2, 60)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del data[place:]
    elif kind == "header":
        for _ in range(rng.randrange(1, 8)):
            data[rng.randrange(min(len(data), 512))] = rng.randrange(256)
    elif kind == "zeros":
        data[place : place + rng.randrange(1, 4096)] = bytes(rng.randrange(1, 4096))
    elif kind == "splice":
        other = rng.choice(others or [content])
        begin = rng.randrange(len(other)) if other else 0
        data[place:] = other[begin:]
    else:
        length = rng.randrange(1, 2048)
        data = data[place : place + length] + data[:place] + data[place + length :]
    return kind, bytes(data)
