"""How `lvis.serve` does under load, on loopback: clients at once, slow readers, abrupt closes, one long stream.

    python experiments/serve/load.py                       # 1, 4, 16, 50 clients: table.md beside this file
    python experiments/serve/load.py --clients --live 30   # only one webcam, for 30 minutes: live.md

Each client restores a clip of its own, whose pictures carry the clip's number and theirs. Both are read in all measured
pictures, and the clip's in all restored ones (a video VAE smooths numbers that change with every frame). Server and
clients share the CPUs that this process may use.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import websockets
from coded import coded, decoded, write_clip

from lvis.serve.wire import pack_frame, unpack

HERE = Path(__file__).parent
FRAMES, SIDE = 69, 192
SLOW = 1.0  # seconds that a slow reader takes for a block
HEAD = (
    "| clients | places | in line, s | first block after that, s | later blocks, s "
    "| frames/s, all | lost | mixed up |\n"
    "|---|---|---|---|---|---|---|---|"
)


@dataclass
class Seen:
    """What one client got, and when, in seconds."""

    line: float = 0.0
    first: float = 0.0
    gaps: list[float] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    foreign: int = 0
    failed: str = ""


class Server:
    """`lvis.serve` in a process of its own."""

    def __init__(self, port: int, sessions: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.socket = f"ws://127.0.0.1:{port}/session"
        self.sessions = sessions
        words = [f"port={port}", f"max_sessions={sessions}", "max_waiting=300", "max_clips=300"]
        self.process = subprocess.Popen([sys.executable, "-m", "lvis.serve", *words])

    def get(self, path: str) -> dict:
        with urllib.request.urlopen(self.base + path, timeout=60) as answer:
            return json.loads(answer.read())

    def upload(self, path: Path) -> str:
        kind = {"content-type": "application/octet-stream"}
        address = f"{self.base}/clips?name={path.name}"
        asked = urllib.request.Request(address, path.read_bytes(), kind, method="POST")
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.loads(answer.read())["id"]

    def held(self) -> tuple[float, int, int]:
        """MiB, threads and open files of the process."""
        process = Path(f"/proc/{self.process.pid}")
        pages = int((process / "statm").read_text().split()[1])
        threads = len(list((process / "task").iterdir()))
        files = len(list((process / "fd").iterdir()))
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, threads, files

    def __enter__(self) -> "Server":
        for _ in range(240):
            try:
                self.get("/places")
                return self
            except OSError:
                time.sleep(0.5)
        raise SystemExit("the server did not start")

    def __exit__(self, *exception: object) -> None:
        self.process.terminate()
        self.process.wait(30)


def request(clip: str | None, **keys: object) -> str:
    return json.dumps(
        {"type": "start", "clip": clip, "task": "deblur", "solver": "student", "degrade": False}
        | keys
    )


async def one(server: Server, clip: str, number: int, delay: float = 0.0) -> Seen:
    """A client from click to last block; `delay` before each acknowledgement."""
    seen, began, last = Seen(), time.perf_counter(), None
    async with websockets.connect(server.socket, max_size=None) as socket:
        await socket.send(request(clip))
        async for message in socket:
            now = time.perf_counter()
            if isinstance(message, str):
                answer = json.loads(message)
                if answer["type"] == "started":
                    seen.line = now - began
                if answer["type"] == "error":
                    seen.failed = answer["sentence"]
                if answer["type"] in ("done", "error"):
                    break
                continue
            header, jpegs = unpack(message)
            for place, frame in enumerate(header["numbers"]):
                measured, restored = map(decoded, jpegs[2 * place : 2 * place + 2])
                seen.foreign += measured != (number, frame) or restored[0] != number
            seen.numbers += header["numbers"]
            if last is None:
                seen.first = now - began - seen.line
            else:
                seen.gaps.append(now - last)
            last = now
            await asyncio.sleep(delay)
            with contextlib.suppress(websockets.ConnectionClosed):  # after the last block
                await socket.send(f"ack {header['block'] + 1}")
    return seen


def percentiles(values: list[float]) -> str:
    return " / ".join(f"{np.percentile(values, p):.2f}" for p in (50, 95, 99)) if values else "-"


async def many(server: Server, folder: Path, count: int, slow: int = 0) -> str:
    """A row of the table: `count` clients, and `slow` more that read slowly, which come first."""
    paths = [write_clip(folder / f"{n}.mkv", n, FRAMES, SIDE) for n in range(slow + count)]
    clips = [server.upload(path) for path in paths]
    began = time.perf_counter()
    clients = [
        one(server, clip, n, SLOW if n < slow else 0.0)
        for n, clip in enumerate(clips)
    ]  # fmt: skip
    seen = await asyncio.gather(*clients)
    seconds = time.perf_counter() - began
    for client in seen:
        if client.failed:
            print(client.failed)
    lost = sum(client.numbers != list(range(FRAMES)) for client in seen)
    mixed = sum(client.foreign for client in seen)
    fast = seen[slow:]
    columns = [
        f"{count}" + (f" and {slow} slow ones" if slow else ""),
        f"{server.sessions}",
        percentiles([client.line for client in fast]),
        percentiles([client.first for client in fast]),
        percentiles([gap for client in fast for gap in client.gaps]),
        f"{sum(len(client.numbers) for client in seen) / seconds:.1f}",
        f"{lost}",
        f"{mixed}",
    ]
    return "| " + " | ".join(columns) + " |"


async def abrupt(server: Server, folder: Path, times: int) -> str:
    """Connections that end without a word: at once, after the start, after the first block, in the line."""
    clip = server.upload(write_clip(folder / "abrupt.mkv", 1, FRAMES, SIDE))
    await one(server, clip, 1)
    before = server.held()
    for number in range(times):
        socket = await websockets.connect(server.socket, max_size=None)
        if number % 4:
            await socket.send(request(clip))
        for _ in range(number % 4 - 1):
            await socket.recv()
        socket.transport.abort()
    began = time.perf_counter()
    while (places := server.get("/places"))["taken"] or places["waiting"]:
        await asyncio.sleep(0.05)
        if time.perf_counter() - began > 60:
            return f"{times} abrupt closes: after 60 s {places}"
    seconds = time.perf_counter() - began
    await asyncio.sleep(2)
    after = server.held()
    names = ("MiB", "threads", "open files")
    held = ", ".join(
        f"{a:.0f} -> {b:.0f} {n}" for n, a, b in zip(names, before, after, strict=True)
    )
    return f"{times} connects and abrupt closes: no stream left after {seconds:.1f} s; {held}"


async def live(server: Server, minutes: float, output: Path) -> None:
    """One webcam of 10 frames per second, 160 x 120; its memory each minute, into `output` as it goes."""
    memory, latencies, numbers, wrong = [], [], [], 0
    dropped, number = 0, 0
    taken: dict[int, float] = {}

    def report(passed: float) -> None:
        lines = [
            f"One live stream, {passed / 60:.1f} minutes at 10 frames per second, 160 x 120, "
            "task=deblur, solver=student.",
            f"Sent {number}, restored {len(numbers)}, dropped by the bound {dropped}, out of order or foreign {wrong}.",
            f"Camera to page, s (50/95/99 %): {percentiles(latencies)}.",
            f"MiB at each minute: {', '.join(map(str, memory))}.",
        ]
        output.write_text("\n\n".join(lines) + "\n")

    async with websockets.connect(server.socket, max_size=None) as socket:
        await socket.send(request(None, rate=10))
        await socket.recv()
        began = time.perf_counter()

        async def read() -> None:
            nonlocal wrong, dropped
            async for message in socket:
                if isinstance(message, str):
                    print(message)
                    continue
                header, jpegs = unpack(message)
                for place, frame in enumerate(header["numbers"]):
                    wrong += bool(numbers) and frame <= numbers[-1]
                    wrong += decoded(jpegs[2 * place]) != (frame >> 8 & 255, frame & 255)
                    numbers.append(frame)
                    latencies.append(time.perf_counter() - taken.pop(frame))
                dropped = header["facts"]["dropped"]
                await socket.send(f"ack {header['block'] + 1}")

        reading = asyncio.create_task(read())
        while (passed := time.perf_counter() - began) < 60 * minutes and not reading.done():
            picture = coded(number >> 8, number, 120, 160)
            taken[number] = time.perf_counter()
            jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
            await socket.send(pack_frame(number, 1000 * passed, jpeg))
            number += 1
            if number % 600 == 1:
                memory.append(round(server.held()[0]))
                report(passed)
            await asyncio.sleep(max(0.0, number / 10 - (time.perf_counter() - began)))
        report(time.perf_counter() - began)
        reading.cancel()


async def run(arguments: argparse.Namespace, folder: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    lines = [
        f"Server and clients on {cores} of {os.cpu_count()} cores. Seconds are those of 50 / 95 / 99 %.",
        "",
        HEAD,
    ]
    if arguments.clients:
        with Server(arguments.port, 2) as server:
            for count in arguments.clients:
                lines.append(await many(server, folder, count))
                print(lines[-1], flush=True)
            lines.append(await many(server, folder, 4, slow=2))
            closes = await abrupt(server, folder, arguments.closes)
        most = max(arguments.clients)
        with Server(arguments.port, most) as server:
            lines += [await many(server, folder, most), "", closes]
        arguments.output.write_text("\n".join(lines) + "\n")
        print("\n".join(lines))
    if arguments.live:
        with Server(arguments.port, 2) as server:
            await live(server, arguments.live, arguments.output.with_name("live.md"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 4, 16, 50])
    parser.add_argument("--closes", type=int, default=200)
    parser.add_argument("--live", type=float, default=0.0, help="minutes")
    parser.add_argument("--port", type=int, default=8871)
    parser.add_argument("--output", type=Path, default=HERE / "table.md")
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(run(parser.parse_args(), Path(scratch)))
