"""How `lvis.serve` does under load, on loopback: clients at once, slow readers, abrupt closes, one long stream.

    python experiments/serve/load.py                        # 1, 4, 16, 50 clients: table.md beside this file
    python experiments/serve/load.py --clients 4 --live 30  # and one webcam for 30 minutes

Every client checks that it gets each block once and in order and that its pictures are those of its clip.
"""

import argparse
import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import websockets

from lvis.serve.wire import pack_frame, unpack

HERE = Path(__file__).parent
LONGEST_WAIT = 900  # seconds, for any one client


@dataclass
class Seen:
    """One client's clip: seconds in line, to the first block, between blocks; what it got."""

    first: float = 0.0
    gaps: list[float] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    measured: str = ""
    failed: str = ""


class Server:
    """`lvis.serve` in a process of its own."""

    def __init__(self, port: int, sessions: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.socket = f"ws://127.0.0.1:{port}/session"
        words = [f"port={port}", f"max_sessions={sessions}", "max_waiting=200"]
        self.process = subprocess.Popen([sys.executable, "-m", "lvis.serve", *words])

    def get(self, path: str) -> dict:
        with urllib.request.urlopen(self.base + path, timeout=60) as answer:
            return json.loads(answer.read())

    def memory(self) -> float:
        """MiB that the process holds."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

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
        {"type": "start", "clip": clip, "task": "deblur", "solver": "student", **keys}
    )


async def one(server: Server, clip: str, delay: float = 0.0) -> Seen:
    """A client from click to last block; `delay` in seconds before each acknowledgement."""
    seen, digest = Seen(), hashlib.sha256()
    began = time.perf_counter()
    last = None
    async with websockets.connect(server.socket, max_size=None) as socket:
        await socket.send(request(clip))
        async for message in socket:
            now = time.perf_counter()
            if isinstance(message, bytes):
                header, jpegs = unpack(message)
                seen.numbers += header["numbers"]
                for jpeg in jpegs[::2]:
                    digest.update(jpeg)
                if last is None:
                    seen.first = now - began
                else:
                    seen.gaps.append(now - last)
                last = now
                await asyncio.sleep(delay)
                await socket.send(f"ack {header['block'] + 1}")
                continue
            answer = json.loads(message)
            if answer["type"] == "error":
                seen.failed = answer["sentence"]
            if answer["type"] in ("done", "error"):
                break
    seen.measured = digest.hexdigest()
    return seen


def percentiles(values: list[float]) -> str:
    return " / ".join(f"{np.percentile(values, p):.2f}" for p in (50, 95, 99)) if values else "-"


async def many(server: Server, count: int, slow: int = 0) -> str:
    """A row of the table: `count` clients, `slow` of which read slowly."""
    clips = [sample["id"] for sample in server.get("/options")["samples"]]
    frames = server.get("/options")["samples"][0]["frames"]
    alone = {clip: (await one(server, clip)).measured for clip in clips}
    began = time.perf_counter()
    wanted = [clips[place % len(clips)] for place in range(count)]
    delays = [1.0 if place < slow else 0.0 for place in range(count)]
    clients = [one(server, c, d) for c, d in zip(wanted, delays, strict=True)]
    seen = await asyncio.wait_for(asyncio.gather(*clients), LONGEST_WAIT)
    seconds = time.perf_counter() - began
    lost = sum(client.numbers != list(range(frames)) for client in seen)
    mixed = sum(c.measured != alone[clip] for c, clip in zip(seen, wanted, strict=True))
    fast = seen[slow:]
    firsts = percentiles([client.first for client in fast])
    gaps = percentiles([gap for client in fast for gap in client.gaps])
    name = f"{count}" + (f", {slow} of them slow" if slow else "")
    rate = sum(len(client.numbers) for client in seen) / seconds
    return f"| {name} | {firsts} | {gaps} | {rate:.1f} | {lost} | {mixed} |"


async def abrupt(server: Server, times: int) -> str:
    clip = server.get("/options")["samples"][0]["id"]
    before = server.memory()
    for _ in range(times):
        socket = await websockets.connect(server.socket, max_size=None)
        await socket.send(request(clip))
        await socket.recv()
        socket.transport.abort()
    began = time.perf_counter()
    while server.get("/places")["taken"] or server.get("/places")["waiting"]:
        await asyncio.sleep(0.05)
        if time.perf_counter() - began > 60:
            return f"{times} abrupt closes: places still taken after 60 s: {server.get('/places')}"
    return (
        f"{times} connects and abrupt closes: no stream left after {time.perf_counter() - began:.1f} s, "
        f"memory {before:.0f} -> {server.memory():.0f} MiB"
    )


async def live(server: Server, minutes: float) -> str:
    """One webcam of 10 frames per second, 160 x 120; memory each minute."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (120, 160, 3), np.uint8)
    picture = cv2.imencode(".jpg", cv2.GaussianBlur(noise, (0, 0), 3))[1].tobytes()
    memory, numbers, number = [], [], 0
    async with websockets.connect(server.socket, max_size=None) as socket:
        await socket.send(request(None, rate=10))
        await socket.recv()
        began = time.perf_counter()

        async def read() -> None:
            async for message in socket:
                if isinstance(message, bytes):
                    header, _ = unpack(message)
                    numbers.extend(header["numbers"])
                    await socket.send(f"ack {header['block'] + 1}")

        reading = asyncio.create_task(read())
        while (passed := time.perf_counter() - began) < 60 * minutes:
            await socket.send(pack_frame(number, 1000 * passed, picture))
            number += 1
            if number % 600 == 1:
                memory.append(round(server.memory()))
            await asyncio.sleep(max(0.0, number / 10 - (time.perf_counter() - began)))
        reading.cancel()
    return f"one live stream, {minutes:g} min, {len(numbers)} of {number} frames; MiB: {memory}"


async def run(arguments: argparse.Namespace) -> None:
    lines = [
        f"max_sessions={arguments.sessions}, {os.cpu_count()} CPUs, affinity {len(os.sched_getaffinity(0))}",
        "",
        "| clients | first block, s (50/95/99 %) | later blocks, s (50/95/99 %) | frames/s, all | lost | mixed up |",
        "|---|---|---|---|---|---|",
    ]
    with Server(arguments.port, arguments.sessions) as server:
        for count in arguments.clients:
            lines.append(await many(server, count))
            print(lines[-1], flush=True)
        if arguments.slow:
            lines.append(await many(server, 4, slow=arguments.slow))
        lines += ["", await abrupt(server, arguments.closes)]
        if arguments.live:
            lines += ["", await live(server, arguments.live)]
    arguments.output.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 50])
    parser.add_argument("--slow", type=int, default=1)
    parser.add_argument("--closes", type=int, default=200)
    parser.add_argument("--live", type=float, default=0.0, help="minutes")
    parser.add_argument("--sessions", type=int, default=2)
    parser.add_argument("--port", type=int, default=8871)
    parser.add_argument("--output", type=Path, default=HERE / "table.md")
    asyncio.run(run(parser.parse_args()))
