"""A server in this process, with small clips and solvers that cost little."""

import contextlib
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from lvis.cli.config import compose, plain
from lvis.serve.app import make_app
from lvis.serve.choices import Menu
from lvis.serve.command import bound
from lvis.serve.settings import ServeSettings
from lvis.serve.wire import unpack

from .browsing import CHROMIUM, DRIVER, opened

SOLVERS = ["pinv", "student", "vision_xl"]


def settings_of(**keys: Any) -> ServeSettings:
    """Those of the command, with these keys."""
    small = {"solvers": SOLVERS, "sample_size": [64, 64], "sample_frames": 33}
    return ServeSettings.of(plain(compose("serve")) | small | keys)


@pytest.fixture(scope="session")
def menu() -> Menu:
    return Menu.read(SOLVERS, (), most_pixels(), 0)


def most_pixels() -> int:
    return settings_of().max_pixels


@contextlib.contextmanager
def serving(menu: Menu, **keys: Any) -> Iterator[TestClient]:
    app = make_app(settings_of(**keys), menu)
    with TestClient(app, base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="module")
def client(menu) -> Iterator[TestClient]:
    with serving(menu) as client:
        yield client


def sample(client: TestClient, place: int = 0) -> str:
    return client.get("/options").json()["samples"][place]["id"]


def start(clip: str | None, **keys: Any) -> dict[str, Any]:
    return {"type": "start", "clip": clip, "task": "deblur", "solver": "pinv", **keys}


@contextlib.contextmanager
def session(client: TestClient) -> Iterator[Any]:
    # starlette's client cancels what it leaves
    with (
        contextlib.suppress(CancelledError),
        client.websocket_connect("/session", headers={"host": "localhost"}) as socket,
    ):
        yield socket


def following(socket: Any, acknowledge: bool = True, first: int = 0) -> Iterator[Any]:
    """A session's messages to its last one: (header, JPEGs) of blocks, dicts of the rest."""
    count = first
    while True:
        message = socket.receive()
        if message["type"] == "websocket.close":
            return
        if message.get("bytes") is not None:
            count += 1
            if acknowledge:
                socket.send_text(f"ack {count}")
            yield unpack(message["bytes"])
            continue
        found = json.loads(message["text"])
        yield found
        if found["type"] in ("done", "error"):
            return


def restored(client: TestClient, message: dict[str, Any]) -> list[Any]:
    """All messages of one session."""
    with session(client) as socket:
        socket.send_json(message)
        return list(following(socket))


def blocks(messages: list[Any]) -> list[Any]:
    return [message for message in messages if isinstance(message, tuple)]


def pictures(messages: list[Any], side: int) -> list[bytes]:
    """JPEGs of one side, 0 measured, 1 restored."""
    return [jpeg for _, jpegs in blocks(messages) for jpeg in jpegs[side::2]]


def picture(jpeg: bytes) -> np.ndarray:
    """Levels (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(float)


@pytest.fixture(scope="module")
def address(menu) -> Iterator[str]:
    """A server on a free port of this machine."""
    import uvicorn

    listening = bound("127.0.0.1", 0)
    app = make_app(settings_of(sample_frames=93), menu)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws_max_size=2**22))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def browser(address):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
        "--window-size=1280,1000",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    opened(driver, address)
    yield driver
    bad = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    driver.quit()
    assert [line for line in bad if "400 (Bad Request)" not in line] == []
