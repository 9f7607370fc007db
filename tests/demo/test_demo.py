"""The demo's page from clip to link, with random weights of a few thousand parameters."""

from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from lvis.backbone import TextEncoder, WanTransformer
from lvis.cli.config import compose
from lvis.demo.clips import DemoClip, camera_move, synthetic
from lvis.demo.command import demo
from lvis.demo.commands import override
from lvis.demo.page import Page, write_page
from lvis.demo.pictures import write_curves, write_strip, write_teaser
from lvis.demo.restorations import CEILING, METHODS, Restored, Score
from lvis.demo.training import Trained, steps_that_fit
from lvis.errors import UserError
from lvis.vae import LeanVAE, WanVAE
from lvis.weights import save_lean_vae, save_text_encoder, save_transformer, save_wan_vae

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Document(HTMLParser):
    """Collects links and texts, and insists that every element is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.videos: list[dict[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs) -> None:  # noqa: ANN001
        attributes = dict(attrs)
        self.links += [attributes[name] for name in ("src", "href") if attributes.get(name)]
        if tag == "video":
            self.videos.append(attributes)
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> list[str]:
    """Overrides that put random weights in place of the bundled ones."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    transformer = WanTransformer(
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        ffn_dim=32,
        text_dim=64,
        text_len=32,
        freq_dim=16,
    )
    save_transformer(transformer, folder / "teacher")
    wan = WanVAE(
        base_dim=4,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        attn_scales=[],
        temperal_downsample=[False, True, True],
    )
    save_wan_vae(wan, folder / "wan_vae")
    lean = LeanVAE(low_width=16, high_width=16, branch_layers=1, fusion_layers=1, ista_layers=1)
    save_lean_vae(lean, folder / "lean_vae")
    save_text_encoder(TextEncoder.tiny(), folder / "text_encoder")
    return [
        f"model.teacher.source={folder / 'teacher'}",
        f"model.teacher_vae.source={folder / 'wan_vae'}",
        f"model.vaes.lean.source={folder / 'lean_vae'}",
        f"model.text_encoder.source={folder / 'text_encoder'}",
        *(
            f"model.students.{task}.lean={folder / 'teacher'}"
            for task in ("inpaint", "deblur", "sr4")
        ),
    ]


def configuration(output: Path, weights: list[str], *overrides: str):
    cfg = compose(
        "demo",
        [
            f"output={output}",
            "clips.frames=9",
            "clips.size=[32,32]",
            "clips.enlarge=1",
            *overrides,
        ],
    )
    cfg.overrides = weights
    return cfg


def test_demo_leaves_a_page_whose_files_are_all_there_and_play(tmp_path, weights):
    cfg = configuration(
        tmp_path / "demo", weights, f"teaser={tmp_path / 'teaser.png'}", "training.seconds=0"
    )
    index = demo(cfg)
    page = Document(index.read_text(encoding="utf-8"))
    assert index == tmp_path / "demo" / "index.html"
    # 3 tasks x 2 clips, a picture and a video each
    assert len(page.links) == 12
    for link in page.links:
        assert (index.parent / link).stat().st_size > 0
    for video in page.videos:
        assert {"controls", "muted", "loop", "playsinline"} <= set(video)
        with av.open(str(index.parent / video["src"])) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.pix_fmt, stream.frames) == (
                "h264",
                "yuv420p",
                9,
            )
    assert "python -m lvis.restore" in page.text and "task=sr4" in page.text
    assert (tmp_path / "teaser.png").exists()


@pytest.mark.slow
def test_demo_trains_and_shows_it(tmp_path, weights):
    cfg = configuration(
        tmp_path / "demo",
        weights,
        "tasks=[sr4]",
        "training.seconds=1",
        "training.first_steps=3",
        "training.max_steps=4",
    )
    cfg.training.overrides = [
        "distill.size=[32,32]",
        "distill.frames=9",
        "distill.batch_size=1",
        "data.num_workers=0",
    ]
    for _ in range(2):  # again: the first demo's training is not resumed
        page = Document(demo(cfg).read_text(encoding="utf-8"))
        assert "python -m lvis.train" in page.text
        assert "training/training.png" in page.links
        for link in page.links:
            assert (tmp_path / "demo" / link).exists()


def restored(folder: Path, clip: DemoClip) -> Restored:
    frames = {
        name: np.full((3, 16, 16, 3), 50, np.uint8)
        for name in ("measurement", "pinv", "student", "clean")
    }
    still, video = write_strip(frames, folder, "inpaint_x", Fraction(16), 2)
    scores = {method: Score(20.0 + place, 0.5) for place, method in enumerate(METHODS)}
    scores[CEILING] = Score(30.0, 0.9)
    return Restored(
        "inpaint",
        clip,
        "python -m lvis.restore task=inpaint",
        scores,
        12.3,
        0.45,
        still,
        video,
        frames,
    )


def test_page_tells_the_numbers_and_escapes_what_it_is_given(tmp_path):
    clip = DemoClip("synthetic", tmp_path / "x.mkv", "a <b>disk</b> & a ring", "a disk")
    journal = [
        {"step": 1, "kind": "train", "likelihood": 2.0, "seconds": 1.0},
        {"step": 2, "kind": "train", "critic": 1.0, "seconds": 1.0},
        {"step": 2, "kind": "validation", "student_psnr": 11.0, "baseline_psnr": 14.0},
    ]
    curves = write_curves(journal, tmp_path / "curves.png")
    found = restored(tmp_path, clip)
    trained = Trained(
        "inpaint", "python -m lvis.train", 2, 5.0, curves, found.video, 11.0, 12.5, 14.0
    )
    index = write_page(Page([clip], [found], trained, {"GPU": "none"}, 7, 61.2), tmp_path)
    html = index.read_text(encoding="utf-8")
    page = Document(html)
    for words in ("23.00 / 0.500", "12.3", "0.45 s", "12.50 dB", "a <b>disk</b> & a ring", "61 s"):
        assert words in page.text
    # the best of the row, and only that, is marked
    assert html.count('class="best"') == 1
    assert '<td class="best">23.00 / 0.500</td>' in html
    assert "30.00 / 0.900" in page.text
    assert "the pseudo-inverse has the higher PSNR" not in page.text
    assert all(not link.startswith("/") and (tmp_path / link).exists() for link in page.links)


def test_page_without_training_does_not_speak_of_it(tmp_path):
    clip = DemoClip("photograph", tmp_path / "x.mkv", "a camera move")
    index = write_page(Page([clip], [restored(tmp_path, clip)], None, {}, 0, 1.0), tmp_path)
    assert "Training works" not in index.read_text(encoding="utf-8")


def test_page_says_where_the_student_is_behind(tmp_path):
    clip = DemoClip("photograph", tmp_path / "x.mkv", "a camera move")
    ahead = restored(tmp_path, clip)
    behind = replace(ahead, scores=ahead.scores | {"pinv": Score(25.0, 0.9)})
    index = write_page(Page([clip], [ahead, behind], None, {}, 0, 1.0), tmp_path)
    html = index.read_text(encoding="utf-8")
    assert "In 1 of 2 rows the pseudo-inverse has the higher PSNR" in html
    assert '<td class="best">25.00 / 0.900</td>' in html


def test_teaser_has_a_row_a_task_and_captions_once(tmp_path):
    from PIL import Image

    rows = [
        {name: np.full((3, 32, 32, 3), level, np.uint8) for name in ("measurement", "clean")}
        for level in (10, 120, 240)
    ]
    picture = np.asarray(Image.open(write_teaser(tmp_path / "teaser.png", rows, 2)))
    column = picture[:, 0, 0]
    for level in (10, 120, 240):
        assert (column == level).sum() == 64
    assert picture.shape[1] == 2 * 64 + 4
    # captions over the first row, nothing but paper in the gaps between rows
    first = np.flatnonzero(column == 10)[0]
    assert len(picture) == first + 3 * 64 + 2 * 4
    assert (picture[:first] > 100).any()
    assert (picture[first + 64 : first + 68] == picture[0, 0]).all()


def test_clips_are_the_same_for_the_same_seed_and_move(tmp_path):
    from lvis.data.video import open_source

    def frames(clip: DemoClip) -> np.ndarray:
        with open_source(str(clip.path)) as source:
            return np.stack(list(source))

    shape = (5, (32, 48), Fraction(16))
    for make in (
        lambda folder: synthetic(folder, 0, 1, *shape),
        lambda folder: camera_move(folder, "coffee.png", *shape),
    ):
        first, second = frames(make(tmp_path / "a")), frames(make(tmp_path / "b"))
        assert first.shape == (5, 32, 48, 3)
        assert np.array_equal(first, second)
        assert not np.array_equal(first[0], first[-1])


def test_a_photograph_of_the_training_is_refused(tmp_path):
    with pytest.raises(UserError, match="astronaut.png is not held out"):
        camera_move(tmp_path, "astronaut.png", 5, (32, 32), Fraction(16))


@pytest.mark.parametrize(
    "text",
    ["a red disk, it's moving", "", "x=1 [2]", "back\\slash", "end\\", "\\'", "media/clip-1.mkv"],
)
def test_override_survives_hydras_grammar(text):
    assert compose("restore", [override("prompt", text)]).prompt == text


@pytest.mark.parametrize(
    "key, value",
    [
        ("tasks", "[]"),
        ("training.seconds", "-1"),
        ("training.first_steps", "1"),
        ("clips.frames", "10"),
        ("clips.size", "[100,100]"),
        ("clips.rate", "0"),
    ],
)
def test_values_out_of_range_are_refused(tmp_path, key, value):
    with pytest.raises(UserError, match=key.replace(".", r"\.")):
        demo(compose("demo", [f"output={tmp_path}", f"{key}={value}"]))


def test_steps_that_fit_pays_for_two_starts_and_keeps_to_the_limits():
    seconds = (6.0, 0.5, 0.5)
    journal = [{"kind": "train", "step": n, "seconds": s} for n, s in enumerate(seconds, 1)]
    # 10 s spent, 3 of them on start-up, once more 3 s: 10 s are left for steps of 0.5 s
    assert steps_that_fit(journal, 23.0, 10.0, 100) == 3 + 20
    assert steps_that_fit(journal, 23.0, 10.0, 8) == 8
    assert steps_that_fit(journal, 1.0, 10.0, 100) == 3
