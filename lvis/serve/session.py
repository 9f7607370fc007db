"""One visitor's WebSocket: a clip or a webcam in, blocks out, no faster than the page takes them."""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from lvis.data.frames import VideoInfo
from lvis.errors import UserError, of_the_machine
from lvis.serve.cancel import Cancelled, cancellable
from lvis.serve.choices import Choice
from lvis.serve.records import Record
from lvis.serve.restoration import Block, Restoration
from lvis.serve.wire import pack, unpack_frame

if TYPE_CHECKING:
    from lvis.serve.app import Server

AHEAD = 4  # blocks that the page has not acknowledged yet
LIVE_FRAMES = 24  # of a webcam that wait; the oldest make way
LIVE_RATES = (1, 60)  # frames per second of a webcam
PATIENCE = 30  # seconds for the first message, a webcam's frames and its page's acknowledgement
PAUSE = 600  # seconds that a page may take no block of its clip, which is kept in a file

Result = TypeVar("Result")
log = logging.getLogger(__name__)


class Session:
    """Serves one WebSocket from its first message to its end; docs/serve.md has the messages."""

    def __init__(self, server: "Server", socket: WebSocket) -> None:
        self.server, self.socket = server, socket
        self._sent = self._acknowledged = 0
        self._room = asyncio.Event()
        self._live: deque[bytes] = deque()
        self._fresh = asyncio.Event()
        self._dropped = 0
        self._stopped = False
        self._cancelled = threading.Event()
        self._tells: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the page has what it asked for, or is gone; then no stream of it is left."""
        await self.socket.accept()
        try:
            first = await asyncio.wait_for(self.socket.receive_json(), PATIENCE)
        except (WebSocketDisconnect, TimeoutError, ValueError, KeyError, RuntimeError):
            await self._close()
            return
        work = asyncio.create_task(self._work(first if isinstance(first, dict) else {}))
        reader = asyncio.create_task(self._read())
        try:
            await asyncio.wait({work, reader}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _ended(work, reader)
        await self._close()

    async def _close(self) -> None:
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await self.socket.close()

    async def _read(self) -> None:
        """Acknowledgements and a webcam's frames, until the page is gone."""
        while True:
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if (data := message.get("bytes")) is not None:
                if len(self._live) >= LIVE_FRAMES:
                    self._live.popleft()
                    self._dropped += 1
                self._live.append(data)
                self._fresh.set()
            elif (text := message.get("text")) is not None:
                if text.startswith("ack "):
                    with contextlib.suppress(ValueError):
                        self._acknowledged = max(self._acknowledged, int(text[4:]))
                    self._room.set()
                elif text == "stop":
                    self._stopped = True
                    self._fresh.set()

    async def _work(self, first: dict[str, Any]) -> None:
        try:
            if first.get("type") == "resume":
                await self._clip(self.server.kept(str(first.get("session"))), first.get("next"))
                return
            choice = Choice.of(first, self.server.menu)
            if choice.clip is None:
                await self._webcam(choice, first.get("rate"))
            else:
                await self._clip(self.server.record(choice), 0)
        except (WebSocketDisconnect, Cancelled):
            return
        except Exception as error:
            await self._fail(error)

    async def _fail(self, error: Exception) -> None:
        sentence = str(error) if isinstance(error, UserError) else of_the_machine(error)
        if sentence is None:
            log.exception("a session failed")
            sentence = "the server could not restore this clip; its log has the reason"
        sentence = self.server.media.concealed(" ".join(sentence.split()))
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await self.socket.send_json({"type": "error", "sentence": sentence})

    async def _clip(self, record: Record, begin: Any) -> None:
        """Send the blocks from number `begin` on: those that are kept, then those that are made now."""
        if isinstance(begin, bool) or not isinstance(begin, int) or begin < 0:
            raise UserError("the page did not say where to continue; start again")
        record.gone.set()  # whoever shows this clip has been reloaded
        async with record.lock:
            record.gone.clear()
            with self.server.in_use(record):
                self._sent = self._acknowledged = begin
                if record.started is not None:
                    await self.socket.send_json(record.started)
                await self._until_gone(record, self._delivered(record, begin))

    async def _until_gone(self, record: Record, work: Any) -> None:
        task, gone = asyncio.create_task(work), asyncio.create_task(record.gone.wait())
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise UserError("this clip goes on in another tab, or in this one after a reload")
            task.result()
        finally:
            await _ended(task, gone)

    async def _delivered(self, record: Record, number: int) -> None:
        """Send block `number` and those after it as the page has room, and restore those that are not kept yet.

        The restoration waits for no page: a slow one holds no place.
        """
        restoring = asyncio.create_task(self._restore(record)) if record.done is None else None
        if restoring is not None:
            restoring.add_done_callback(lambda _: record.grown.set())
        try:
            while True:
                while number < record.blocks:
                    await self._send(await asyncio.to_thread(record.kept, number), PAUSE)
                    number += 1
                if restoring is None or restoring.done():
                    break
                record.grown.clear()
                await record.grown.wait()
            if restoring is not None:
                restoring.result()
        finally:
            if restoring is not None:
                await _ended(restoring)
        await self.socket.send_json(record.done)

    async def _restore(self, record: Record) -> None:
        """Until the record has all blocks."""
        clip, choice = record.clip, record.choice
        assert clip is not None

        def opening() -> Restoration:
            return Restoration(
                *(choice, self.server.menu, self.server.solvers, clip.path),
                mask=None if record.mask is None else record.mask.path,
                output=record.result,
                longest=self.server.settings.max_seconds,
            )

        async with self.server.places.place(self._tell), self._opened(opening) as restoration:
            if record.started is None:
                record.started = self._started(restoration, record.token)
                await self.socket.send_json(record.started)
            pool = self.server.slow_pool if restoration.whole else self.server.pool
            number, began, last = 0, time.monotonic(), False
            while not last:
                self._check_turn(began)
                step = partial(self._kept_step, restoration, record, number)
                number, last = await self._thread(pool, step)
                record.grown.set()
        command = record.command(self.server.menu, restoration.settings.size)
        record.done = {
            **{"type": "done", "facts": restoration.facts(), "command": command},
            "result": f"/results/{record.token}",
            "clip": f"/clips/{clip.identifier}",
            "mask": record.mask and f"/masks/{record.mask.identifier}",
        }

    def _kept_step(self, restoration: Restoration, record: Record, number: int) -> tuple[int, bool]:
        """In a thread: keep the next blocks, unless they are kept already; the number after them, and whether
        they were the last."""
        blocks, last = restoration.step()
        for place, block in enumerate(blocks, number):
            if place >= record.blocks:
                record.keep(self._pack(restoration, block, place))
        return number + len(blocks), last

    async def _webcam(self, choice: Choice, rate: Any) -> None:
        low, high = LIVE_RATES
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not low <= rate <= high:
            raise UserError(f"rate={rate} is not a frame rate from {low} to {high}; give one")
        mask = self.server.media.get(choice.mask, "mask") if choice.mask else None
        most = self.server.settings.max_pixels
        async with self.server.places.place(self._tell):
            self._live.clear()
            self._dropped = 0
            await self.socket.send_json({"type": "ready"})
            await self._frames(1)
            _, _, picture = await asyncio.to_thread(unpack_frame, self._live[0], most)
            height, width = picture.shape[:2]
            live = VideoInfo(height, width, Fraction(rate).limit_denominator(1000))

            def opening() -> Restoration:
                return Restoration(
                    *(choice, self.server.menu, self.server.solvers, None),
                    mask=None if mask is None else mask.path,
                    live=live,
                )

            async with self._opened(opening) as restoration:
                await self.socket.send_json(self._started(restoration, None))
                number, began = 0, time.monotonic()
                while await self._frames(restoration.next_frames):
                    self._check_turn(began)
                    frames = [self._live.popleft() for _ in range(restoration.next_frames)]
                    step = partial(self._live_step, restoration, frames, number)
                    for message in await self._thread(self.server.pool, step):
                        await self._send(message, PATIENCE)
                        number += 1
            facts = {**restoration.facts(), "dropped": self._dropped}
            await self.socket.send_json({"type": "done", "facts": facts})

    async def _frames(self, count: int) -> bool:
        """Wait for `count` frames of the webcam; False once it was stopped."""
        while len(self._live) < count:
            if self._stopped:
                return False
            self._fresh.clear()
            try:
                await asyncio.wait_for(self._fresh.wait(), PATIENCE)
            except TimeoutError:
                raise UserError(
                    f"no picture came from the webcam for {PATIENCE} s; check it and start again"
                ) from None
        return True

    def _live_step(
        self, restoration: Restoration, messages: list[bytes], number: int
    ) -> list[bytes]:
        most = self.server.settings.max_pixels
        frames = [unpack_frame(message, most) for message in messages]
        wanted = (restoration.info.height, restoration.info.width, 3)
        if any(picture.shape != wanted for _, _, picture in frames):
            raise UserError("the webcam changed the size of its pictures; start again")
        extras = {"numbers": [f[0] for f in frames], "times": [f[1] for f in frames]}
        blocks = restoration.feed(np.stack([picture for _, _, picture in frames]))
        # a stream's block is exactly the frames that were fed
        return [self._pack(restoration, block, number, extras) for block in blocks]

    def _pack(
        self,
        restoration: Restoration,
        block: Block,
        number: int,
        extras: dict[str, Any] | None = None,
    ) -> bytes:
        count, rate = len(block.restored), float(restoration.info.rate)
        numbers = list(range(block.first, block.first + count))
        header = {
            "block": number,
            "numbers": numbers,
            "times": [1000 * n / rate for n in numbers],
            "facts": {
                **restoration.facts(),
                "ahead": max(0, number - self._acknowledged),
                "waiting": len(self._live),
                "dropped": self._dropped,
            },
            **(extras or {}),
        }
        return pack(header, block.pictures())

    def _started(self, restoration: Restoration, token: str | None) -> dict[str, Any]:
        height, width = restoration.size
        return {
            **{"type": "started", "session": token, "width": width, "height": height},
            **{"rate": float(restoration.info.rate), "frames": restoration.info.count},
            **{"whole": restoration.whole, "solver": restoration.choice.solver},
        }

    async def _send(self, message: bytes, patience: float) -> None:
        """One block, once the page has room, for which it has `patience` seconds."""
        while self._sent - self._acknowledged >= AHEAD:
            self._room.clear()
            try:
                await asyncio.wait_for(self._room.wait(), patience)
            except TimeoutError:
                raise UserError(
                    f"the page took no picture for {patience:g} s; start again"
                ) from None
        await self.socket.send_bytes(message)
        self._sent += 1

    def _tell(self, position: int, line: int) -> None:
        message = {"type": "waiting", "position": position, "line": line}
        task = asyncio.create_task(self.socket.send_json(message))
        self._tells.add(task)
        task.add_done_callback(self._told)

    def _told(self, task: asyncio.Task[None]) -> None:
        self._tells.discard(task)
        if not task.cancelled():
            task.exception()  # a page that is gone

    def _check_turn(self, began: float) -> None:
        most = self.server.settings.turn_seconds
        if self.server.places.waiting and time.monotonic() - began > most:
            raise UserError(
                f"others are waiting and this clip has had its {most:g} s (turn_seconds); "
                "start it again to join the line"
            )

    @contextlib.asynccontextmanager
    async def _opened(self, opening: Callable[[], Restoration]):  # noqa: ANN202
        """A restoration that is closed in a thread, whatever happens."""
        restoration = await self._thread(self.server.pool, opening)
        try:
            yield restoration
        except BaseException as error:
            leave = partial(restoration.__exit__, type(error), error, error.__traceback__)
            await _finished(asyncio.create_task(asyncio.to_thread(leave)))
            raise
        await asyncio.to_thread(restoration.__exit__, None, None, None)

    async def _thread(self, pool: Executor, work: Callable[[], Result]) -> Result:
        """Do `work` in the pool. When this is cancelled, so is the work, and its end is waited for."""

        def working() -> Result:
            with cancellable(self._cancelled):
                return work()

        future = pool.submit(working)
        waiting = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            self._cancelled.set()
            if not future.cancel():
                await _finished(waiting)
                if waiting.exception() is None and isinstance(
                    late := waiting.result(), Restoration
                ):
                    late.__exit__(Cancelled, Cancelled(), None)
            raise


async def _finished(work: asyncio.Future[Any]) -> None:
    """Wait for work in a thread, which does not end because somebody no longer wants it."""
    while not work.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({work})


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks of ours once, and let them clean up."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()
