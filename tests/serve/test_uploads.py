"""Uploads: what is taken, what is refused with which sentence, and that no path gets out."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from lvis.data.video import VideoWriter

from .conftest import blocks, picture, pictures, restored, sample, serving, start


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> bytes:
    """21 grey frames of 64 x 48, each brighter than the one before."""
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    with VideoWriter(path, Fraction(12)) as writer:
        for level in range(21):
            writer.write(np.full((48, 64, 3), 10 * level, np.uint8))
    return path.read_bytes()


def upload(client, content: bytes, name: str = "clip.mkv", where: str = "/clips"):  # noqa: ANN001, ANN201
    kind = {"content-type": "application/octet-stream"}
    return client.post(where, params={"name": name}, content=content, headers=kind)


def png(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def test_an_uploaded_measurement_keeps_its_rate_and_order(client, clip):
    facts = upload(client, clip).json()
    assert (facts["width"], facts["height"], facts["rate"]) == (64, 48, 12.0)
    messages = restored(client, start(facts["id"], degrade=False))
    levels = [picture(jpeg).mean() for jpeg in pictures(messages, 0)]
    assert np.allclose(levels, range(0, 210, 10), atol=2)
    assert messages[-1]["command"] == (
        "python -m lvis.restore input=clip.mkv task=deblur solver=pinv output=restored.mp4"
    )


def test_a_clean_clip_is_scaled_as_the_command_says(client, clip):
    side = 32 * 4
    messages = restored(client, start(sample(client), side=side))
    assert (messages[0]["width"], "size" in messages[-1]["command"]) == (64, False)
    with_size = upload(client, _video(160, 200)).json()
    messages = restored(client, start(with_size["id"], side=side))
    assert (messages[0]["height"], messages[0]["width"]) == (128, 160)
    assert "size=[128,160]" in messages[-1]["command"]


def _video(height: int, width: int, frames: int = 9) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=12)
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        for _ in range(frames):
            picture = np.zeros((height, width, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (b"", "nothing.mp4", "nothing.mp4 is empty"),
        (b"<script>alert(1)</script>", "page.html", "page.html is not a readable video"),
        (b"\x00" * 5000, "../../etc/zeros.mp4", "zeros.mp4 is not a readable video"),
        (b"#EXTM3U\nfile:///etc/hostname\n", "list.m3u8", "list.m3u8 is not a readable video"),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", "list.mp4", "not a readable video"),
    ],
)
def test_what_is_no_video_gets_one_sentence_without_a_path(client, content, name, reason):
    answer = upload(client, content, name)
    sentence = answer.json()["sentence"]
    assert answer.status_code == 400 and reason in sentence
    folder = client.app.state.server._folder
    assert str(folder) not in answer.text and "Traceback" not in answer.text
    assert sorted(path.suffix for path in folder.iterdir() if path.suffix != ".blocks")


def test_a_refused_upload_leaves_no_file(client):
    folder = client.app.state.server._folder
    before = set(folder.iterdir())
    upload(client, b"\x00" * 5000, "zeros.mp4")
    upload(client, b"no picture", "mask.png", "/masks")
    assert set(folder.iterdir()) == before


def test_a_clip_cut_short_fails_with_its_name_and_without_a_path(client, clip):
    answer = upload(client, clip[: len(clip) // 2], "half.mkv")
    if answer.status_code == 200:
        sentence = restored(client, start(answer.json()["id"]))[-1]["sentence"]
    else:
        sentence = answer.json()["sentence"]
    assert "half.mkv" in sentence and str(client.app.state.server._folder) not in sentence


def test_limits_of_size_pixels_and_duration(menu, clip):
    with serving(menu, max_upload=1000, max_seconds=1, max_pixels=64 * 64) as client:
        assert "larger than" in upload(client, b"x" * 2000).json()["sentence"]
    with serving(menu, max_seconds=1) as client:
        assert "takes 2 s, and this server takes 1 s" in upload(client, clip).json()["sentence"]
    with serving(menu, max_pixels=64 * 64) as client:
        assert "max_pixels" in upload(client, _video(160, 200)).json()["sentence"]


def test_only_files_are_taken(client, clip):
    kind = {"content-type": "text/html"}
    assert (
        client.post("/clips", params={"name": "a"}, content=clip, headers=kind).status_code == 415
    )


def test_the_clip_unused_for_longest_makes_way(menu, clip):
    with serving(menu, max_clips=2) as client:
        first, second, third = (upload(client, clip).json()["id"] for _ in range(3))
        assert "upload it again" in restored(client, start(first))[-1]["sentence"]
        assert restored(client, start(third))[-1]["type"] == "done"
        assert client.get(f"/clips/{second}").content == clip


def test_a_mask_hides_what_is_black_in_it(client, clip):
    white = np.full((48, 64), 255, np.uint8)
    white[:, :32] = 0
    mask = upload(client, png(white), "left.png", "/masks").json()
    identifier = upload(client, clip).json()["id"]
    message = start(identifier, task="inpaint", mask=mask["id"])
    messages = restored(client, message)
    bright = picture(pictures(messages, 0)[20])
    assert bright[:, 40:].mean() > 190 and bright[:, :24].mean() < 150
    assert "mask=mask.png" in messages[-1]["command"]
    assert client.get(messages[-1]["mask"]).headers["content-type"] == "image/png"


def test_masks_that_do_not_fit_are_refused_with_a_sentence(client, clip):
    identifier = upload(client, clip).json()["id"]
    small = upload(client, png(np.full((8, 8), 255, np.uint8)), "small.png", "/masks").json()
    message = start(identifier, task="inpaint", mask=small["id"])
    sentence = restored(client, message)[-1]["sentence"]
    assert "the mask small.png is 8x8 and the video is 64x48" in sentence
    needed = restored(client, start(identifier, task="inpaint", degrade=False))[-1]["sentence"]
    assert "needs the mask" in needed
    assert "not a picture" in upload(client, clip, "mask.mkv", "/masks").json()["sentence"]


def test_a_prompt_is_not_interpolated(client):
    messages = restored(client, start(sample(client), prompt="${oc.env:HOME}"))
    assert "'prompt=${oc.env:HOME}'" in messages[-1]["command"]
    assert len(blocks(messages)) == 3


def test_a_failure_nobody_foresaw_is_logged_and_not_shown(client, monkeypatch, caplog):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("lvis.serve.restoration.Observer.__call__", broken)
    sentence = restored(client, start(sample(client)))[-1]["sentence"]
    assert sentence == "the server could not restore this clip; its log has the reason"
    assert "secret" in caplog.text
