"""A session from click to result: what is sent, what is kept, who waits, and what is left of it."""

import io
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lvis.cli.config import compose
from lvis.data.video import open_source
from lvis.restore.command import restore
from lvis.serve.restoration import Block, Restoration
from lvis.serve.session import Session
from lvis.serve.wire import pack_frame, unpack_frame

from .conftest import (
    blocks,
    following,
    picture,
    pictures,
    restored,
    sample,
    serving,
    session,
    start,
)

PATIENCE = 120  # seconds


def frames_of(path: Path) -> np.ndarray:
    with open_source(str(path)) as source:
        return np.stack(list(source))


def comes_true(condition: Callable[[], bool]) -> bool:
    """At once or later."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def emptied(client) -> bool:  # noqa: ANN001
    """Whether all places become free."""
    return comes_true(lambda: client.get("/places").json()["taken"] == 0)


@pytest.fixture
def held(monkeypatch) -> Iterator[threading.Event]:
    """Restorations stand still before their next step until this is set."""
    go, step = threading.Event(), Restoration.step

    def waiting(self: Restoration) -> tuple[list[Block], bool]:
        go.wait(PATIENCE)
        return step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Restoration, "step", waiting)
        yield go
        go.set()


@pytest.fixture(scope="module")
def whole(client) -> list:
    return restored(client, start(sample(client)))


def test_a_sample_comes_block_by_block_with_every_frame_once_and_its_time(whole):
    assert whole[0]["type"] == "started" and whole[0]["width"] == 64
    headers = [header for header, _ in blocks(whole)]
    assert [header["block"] for header in headers] == [0, 1, 2]
    numbers = [number for header in headers for number in header["numbers"]]
    assert numbers == list(range(33))
    assert headers[1]["times"][0] == pytest.approx(9 * 1000 / 24)
    assert whole[-1]["type"] == "done" and whole[-1]["facts"]["frames"] == 33


def test_the_result_is_what_its_command_writes(client, whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = whole[-1]
    (tmp_path / "photograph.mkv").write_bytes(client.get(done["clip"]).content)
    answer = client.get(done["result"])
    assert "restored.mp4" in answer.headers["content-disposition"]
    (tmp_path / "page.mp4").write_bytes(answer.content)
    words = shlex.split(done["command"])
    assert words[:3] == ["python", "-m", "lvis.restore"]
    # lossless, because x264 does not write the same file twice
    restore(compose("restore", [*words[3:-1], "output=command.mkv"]))
    server = client.app.state.server
    (record,) = (r for r in server._records.values() if r.token in done["result"])
    output = tmp_path / "direct.mkv"
    with Restoration(
        record.choice, server.menu, server.solvers, record.clip.path, output=output
    ) as restoration:
        while not restoration.step()[1]:
            pass
    wanted = frames_of(tmp_path / "command.mkv")
    assert (frames_of(output) == wanted).all()
    assert (
        np.abs(frames_of(tmp_path / "page.mp4").astype(float) - wanted).mean() < 8
    )  # chroma at half the size


def test_what_is_shown_is_what_is_written(client, whole, tmp_path):
    (tmp_path / "page.mp4").write_bytes(client.get(whole[-1]["result"]).content)
    shown = np.stack([picture(jpeg) for jpeg in pictures(whole, 1)])
    assert np.abs(shown - frames_of(tmp_path / "page.mp4")).mean() < 8  # chroma at half the size


def test_two_sessions_at_once_get_their_own_frames(client):
    clips = [sample(client, 0), sample(client, 1)]
    alone = [restored(client, start(clip)) for clip in clips]
    with session(client) as one, session(client) as two:
        one.send_json(start(clips[0]))
        two.send_json(start(clips[1]))
        together = [[], []]
        for mine, yours in zip(following(one), following(two), strict=True):
            together[0].append(mine)
            together[1].append(yours)
    assert pictures(alone[0], 0) != pictures(alone[1], 0)
    for expected, got in zip(alone, together, strict=True):
        assert pictures(expected, 0) == pictures(got, 0)
        assert pictures(expected, 1) == pictures(got, 1)


def test_a_page_that_does_not_acknowledge_gets_four_blocks_and_holds_no_place(menu):
    with serving(menu, sample_frames=93, max_sessions=1) as client, session(client) as slow:
        slow.send_json(start(sample(client)))
        messages = following(slow, acknowledge=False)
        assert next(messages)["type"] == "started"
        assert [next(messages)[0]["block"] for _ in range(4)] == [0, 1, 2, 3]
        assert emptied(client)  # all is restored, and waits in a file
        assert restored(client, start(sample(client, 1)))[-1]["type"] == "done"
        slow.send_text("ack 4")
        rest = list(following(slow, first=4))
    assert [header["block"] for header, _ in blocks(rest)] == list(range(4, 8))
    assert rest[-1]["facts"]["frames"] == 93


def test_a_page_that_never_goes_on_is_let_go(menu, monkeypatch):
    monkeypatch.setattr("lvis.serve.session.PAUSE", 0.2)
    with serving(menu, sample_frames=93) as client, session(client) as slow:
        slow.send_json(start(sample(client)))
        got = list(following(slow, acknowledge=False))
    assert len(blocks(got)) == 4 and "took no picture" in got[-1]["sentence"]


def test_a_reloaded_page_goes_on_where_it_was(client, whole):
    with session(client) as socket:
        socket.send_json(start(sample(client)))
        messages = following(socket)
        token = next(messages)["session"]
        next(messages)
    with session(client) as socket:
        socket.send_json({"type": "resume", "session": token, "next": 1})
        rest = list(following(socket, first=1))
    assert [header["block"] for header, _ in blocks(rest)] == [1, 2]
    assert pictures(rest, 1) == pictures(whole, 1)[9:]
    assert rest[-1]["facts"]["frames"] == 33
    again = restored(client, {"type": "resume", "session": token, "next": 0})
    assert pictures(again, 1) == pictures(whole, 1)
    assert emptied(client)


def test_a_second_tab_with_the_same_session_takes_it_over(menu):
    with serving(menu, sample_frames=93) as client, session(client) as old:
        old.send_json(start(sample(client)))
        messages = following(old, acknowledge=False)
        token = next(messages)["session"]
        with session(client) as new:
            new.send_json({"type": "resume", "session": token, "next": 0})
            got = list(following(new))
        assert "another tab" in [m for m in messages if isinstance(m, dict)][-1]["sentence"]
        assert [header["block"] for header, _ in blocks(got)] == list(range(8))


def test_what_is_no_longer_kept_is_said(menu):
    with serving(menu, keep_seconds=0) as client:
        done = restored(client, start(sample(client)))
        assert comes_true(lambda: client.get(done[-1]["result"]).status_code == 400)
        again = restored(client, {"type": "resume", "session": done[0]["session"], "next": 0})
        assert "is gone; start it again" in again[-1]["sentence"]
        assert not list(client.app.state.server._folder.glob("*.blocks"))


def test_one_more_than_the_places_waits_in_line_and_then_gets_its_clip(menu, held):
    held.set()  # the server's own first block
    with serving(menu, max_sessions=1, max_waiting=1) as client:
        held.clear()
        with session(client) as first:
            first.send_json(start(sample(client)))
            assert next(following(first))["type"] == "started"
            with session(client) as second, session(client) as third:
                second.send_json(start(sample(client, 1)))
                line = following(second)
                assert next(line) == {"type": "waiting", "position": 1, "line": 1}
                third.send_json(start(sample(client)))
                assert "try again" in next(following(third))["sentence"]
                first.close()
                held.set()
                assert list(line)[-1]["facts"]["frames"] == 33
        assert emptied(client)


def test_closed_pages_leave_no_stream_and_no_place_behind(client):
    for _ in range(20):
        with session(client) as socket:
            socket.send_json(start(sample(client)))
            next(following(socket))
    with session(client):
        pass
    assert emptied(client)
    assert restored(client, start(sample(client)))[-1]["type"] == "done"


def test_a_whole_clip_solver_is_stopped_in_the_middle_of_its_work(menu):
    with serving(menu) as client:
        with session(client) as socket:
            socket.send_json(start(sample(client), solver="vision_xl"))
            started = next(following(socket))
            assert started["whole"]
        assert emptied(client)
        # work that is not stopped keeps its blocks before its place is free
        assert client.app.state.server.kept(started["session"]).blocks == 0


def jpeg(value: int, size: tuple[int, int] = (64, 48)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (value, 128, 255 - value)).save(file, "JPEG", quality=95)
    return file.getvalue()


def test_a_webcam_is_restored_with_its_own_frame_numbers_and_times(client):
    with session(client) as socket:
        socket.send_json(start(None, rate=10))
        assert socket.receive_json()["type"] == "ready"
        for number in range(21):
            socket.send_bytes(pack_frame(2 * number, 100.5 * number, jpeg(10 * number)))
        messages = following(socket)
        assert next(messages)["session"] is None
        got = [next(messages), next(messages)]
        socket.send_text("stop")
        done = next(messages)
    assert [n for header, _ in got for n in header["numbers"]] == list(range(0, 42, 2))
    assert got[1][0]["times"][0] == 904.5
    reds = [picture(one)[..., 0].mean() for one in pictures(got, 0)]
    assert np.allclose(reds, range(0, 210, 10), atol=6)
    assert done["facts"]["frames"] == 21 and done["facts"]["dropped"] == 0


def test_a_webcam_faster_than_its_solver_loses_its_oldest_frames_and_the_page_learns_how_many(
    client, monkeypatch
):
    live_step = Session._live_step

    def slow(self, restoration, messages, number):  # noqa: ANN001, ANN202
        if number == 0:
            comes_true(lambda: bool(self._live) and unpack_frame(self._live[-1], 2**20)[0] == 99)
        return live_step(self, restoration, messages, number)

    monkeypatch.setattr(Session, "_live_step", slow)
    with session(client) as socket:
        socket.send_json(start(None, rate=30, solver="student"))
        assert socket.receive_json()["type"] == "ready"
        messages = following(socket)
        for number in range(100):
            socket.send_bytes(pack_frame(number, 0.0, jpeg(number)))
            if number == 9:
                assert next(messages)["type"] == "started"
        headers = [next(messages)[0] for _ in range(3)]
        socket.send_text("stop")
    numbers = [number for header in headers for number in header["numbers"]]
    assert numbers == [*range(9), *range(76, 100)]
    assert headers[-1]["facts"]["dropped"] == 100 - len(numbers)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (pack_frame(0, 0.0, b"not a picture"), "not a readable JPEG"),
        (pack_frame(0, 0.0, jpeg(3, (4000, 4000))), "above max_pixels"),
        (b"", "empty"),
    ],
)
def test_a_webcam_that_sends_no_picture_is_told_so(client, message, reason):
    with session(client) as socket:
        socket.send_json(start(None, rate=10))
        assert socket.receive_json()["type"] == "ready"
        socket.send_bytes(message)
        assert reason in socket.receive_json()["sentence"]


def test_a_whole_clip_solver_refuses_a_webcam(client):
    with session(client) as socket:
        socket.send_json(start(None, rate=10, solver="vision_xl"))
        socket.receive_json()
        socket.send_bytes(pack_frame(0, 0.0, jpeg(3)))
        assert "needs the whole clip" in socket.receive_json()["sentence"]
