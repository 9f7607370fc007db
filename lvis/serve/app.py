"""The page, its files, uploads and results over HTTP, and one WebSocket per session."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from lvis.errors import UserError
from lvis.serve.cancel import cancellation
from lvis.serve.choices import SIDES, Choice, Menu, scaled
from lvis.serve.guard import Guard
from lvis.serve.media import Item, Media
from lvis.serve.places import Places
from lvis.serve.records import Record
from lvis.serve.restoration import Restoration
from lvis.serve.session import Session
from lvis.serve.settings import ServeSettings
from lvis.serve.solvers import Solvers

STATIC = Path(__file__).with_name("static")
UPLOAD_TYPES = ("application/octet-stream", "video/", "image/")


class Server:
    """What all sessions share. `folder` is private to it and holds uploads, kept blocks and results."""

    def __init__(self, settings: ServeSettings, menu: Menu, folder: Path) -> None:
        self.settings, self.menu = settings, menu
        self.media = Media(folder, settings)
        self.solvers = Solvers()
        self.places = Places(settings.max_sessions, settings.max_waiting)
        self.pool = ThreadPoolExecutor(settings.workers, "restore")
        self.slow_pool = ThreadPoolExecutor(1, "restore whole clips")
        self.samples: list[Item] = []
        self._folder = folder
        self._records: dict[str, Record] = {}
        self._ends: dict[str, asyncio.TimerHandle] = {}

    def warm(self) -> None:
        """Make the samples and restore the first block of one, as the page's first click will."""
        self.samples = self.media.add_samples()
        task = "deblur" if "deblur" in self.menu.tasks else next(iter(self.menu.tasks))
        message = {"clip": "", "task": task, "solver": next(iter(self.menu.solvers))}
        choice = Choice.of(message, self.menu)
        with Restoration(choice, self.menu, self.solvers, self.samples[0].path) as restoration:
            while not restoration.step()[0]:
                pass

    def record(self, choice: Choice) -> Record:
        """Raises UserError where the clip or the mask is no longer there."""
        clip = self.media.get(choice.clip)
        mask = self.media.get(choice.mask, "mask") if choice.mask else None
        record = Record(choice, clip, mask, self._folder)
        self._records[record.token] = record
        return record

    def kept(self, token: str) -> Record:
        """Raises UserError where nothing is kept of that session."""
        if token not in self._records:
            raise UserError(
                f"this clip was kept for {self.settings.keep_seconds:g} s and is gone; start it again"
            )
        return self._records[token]

    @contextlib.contextmanager
    def in_use(self, record: Record) -> Iterator[None]:
        """A record and its files stay while this lasts, and `keep_seconds` longer."""
        items = [item for item in (record.clip, record.mask) if item is not None]
        if (end := self._ends.pop(record.token, None)) is not None:
            end.cancel()
        for item in items:
            item.users += 1
        try:
            yield
        finally:
            for item in items:
                item.users -= 1
            loop = asyncio.get_running_loop()
            end = loop.call_later(self.settings.keep_seconds, self._forget, record)
            self._ends[record.token] = end

    def _forget(self, record: Record) -> None:
        self._ends.pop(record.token, None)
        if record.lock.locked():
            return
        self._records.pop(record.token, None)
        record.remove()

    def close(self) -> None:
        for pool in (self.pool, self.slow_pool):
            pool.shutdown(cancel_futures=True)


def make_app(
    settings: ServeSettings, menu: Menu, ready: Callable[[], None] = lambda: None
) -> FastAPI:
    """The ASGI application; its lifespan makes the samples, warms the first solver, calls `ready`, cleans up."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with tempfile.TemporaryDirectory(prefix="lvis-serve-") as folder, cancellation():
            server = Server(settings, menu, Path(folder))
            app.state.server = server
            try:
                await asyncio.to_thread(server.warm)
                ready()
                yield
            finally:
                server.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    _add_pages(app)
    _add_files(app)
    app.mount("/static", StaticFiles(directory=STATIC), "static")
    app.add_middleware(Guard, host=settings.host, token=settings.token)

    @app.exception_handler(UserError)
    async def refused(request: Request, error: UserError) -> JSONResponse:
        sentence = request.app.state.server.media.concealed(" ".join(str(error).split()))
        return JSONResponse({"sentence": sentence}, 400)

    @app.websocket("/session")
    async def session(socket: WebSocket) -> None:
        await Session(socket.app.state.server, socket).run()

    return app


def _add_pages(app: FastAPI) -> None:
    @app.get("/")
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/options")
    async def options(request: Request) -> dict[str, Any]:
        server: Server = request.app.state.server
        limits = ("max_upload", "max_seconds", "max_pixels", "keep_seconds")
        return {
            **server.menu.shown(),
            "samples": [sample.shown() for sample in server.samples],
            "limits": {name: getattr(server.settings, name) for name in limits},
        }

    @app.get("/places")
    async def places(request: Request) -> dict[str, int]:
        line = request.app.state.server.places
        return {"taken": line.taken, "count": line.count, "waiting": line.waiting}


def _add_files(app: FastAPI) -> None:
    @app.post("/clips")
    async def add_clip(request: Request, name: str = "") -> dict[str, object]:
        server = _for_upload(request)
        path = await server.media.receive(request.stream(), name)
        return (await asyncio.to_thread(server.media.add_clip, path, name)).shown()

    @app.post("/masks")
    async def add_mask(request: Request, name: str = "") -> dict[str, object]:
        server = _for_upload(request)
        path = await server.media.receive(request.stream(), name)
        return (await asyncio.to_thread(server.media.add_mask, path, name)).shown()

    @app.get("/clips/{identifier}")
    async def clip(request: Request, identifier: str) -> FileResponse:
        return _download(request.app.state.server.media.get(identifier))

    @app.get("/masks/{identifier}")
    async def mask(request: Request, identifier: str) -> FileResponse:
        item = request.app.state.server.media.get(identifier, "mask")
        return _attachment(item.path, "mask.png", "image/png")

    @app.get("/clips/{identifier}/first")
    async def first(request: Request, identifier: str, side: int = 0) -> Response:
        media: Media = request.app.state.server.media
        item = media.get(identifier)
        assert item.info is not None
        if side and side not in SIDES:
            raise UserError(f"side={side} is not offered; use one of {', '.join(map(str, SIDES))}")
        size = scaled(item.info, side or None)
        return Response(
            await asyncio.to_thread(media.first_frame, item, size), 200, None, "image/jpeg"
        )

    @app.get("/results/{token}")
    async def result(request: Request, token: str) -> FileResponse:
        record = request.app.state.server.kept(token)
        if record.done is None:
            raise UserError("this clip is not restored to its end yet; wait for it")
        return _attachment(record.result, "restored.mp4", "video/mp4")


def _for_upload(request: Request) -> Server:
    if not request.headers.get("content-type", "").startswith(UPLOAD_TYPES):
        raise HTTPException(415, "send the file itself, as application/octet-stream")
    return request.app.state.server


def _download(item: Item) -> FileResponse:
    return _attachment(item.path, item.name, "application/octet-stream")


def _attachment(path: Path, name: str, kind: str) -> FileResponse:
    return FileResponse(path, media_type=kind, filename=name, content_disposition_type="attachment")
