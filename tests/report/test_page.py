"""The page as a browser shows it, and what lvis.report says when there is nothing to show."""

import os
import subprocess
import sys

import numpy as np
import pytest
from browser import Browser, chromium
from PIL import Image
from rows import results_with_videos, row, write_results

from lvis.cli.config import compose
from lvis.errors import UserError
from lvis.report.command import report

needs_chromium = pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    results = results_with_videos(folder / "results")
    # a second section, for the overview and its long table
    rows = [row(method, "x", 20, task="sr4") for method in ("pinv", "a method with a long name")]
    write_results(results / "more", rows)
    output = folder / "page"
    return report(compose("report", [f"results={results}", f"output={output}"]))


def test_page_is_whole_without_anything_from_elsewhere(page):
    html = page.read_text(encoding="utf-8")
    assert "http:" not in html and "https:" not in html and "file:" not in html
    media = sorted(path.name for path in (page.parent / "media").iterdir())
    assert len([name for name in media if name.endswith(".mp4")]) == 4
    with Image.open(page.parent / "media" / "default_inpaint_lean_clip-0_clean.xt.png") as picture:
        assert picture.size == (48, 9)
        levels = np.asarray(picture).mean(axis=(1, 2))
    assert (np.diff(levels) > 0).all()


def test_names_are_escaped(tmp_path):
    rows = [row("<b>bold</b>", "<i>clip</i>", 20), row("pinv", "<i>clip</i>", 21)]
    results = write_results(tmp_path / "results", rows)
    path = report(compose("report", [f"results={results}", f"output={tmp_path / 'page'}"]))
    html = path.read_text(encoding="utf-8")
    assert "<b>" not in html and "<i>clip" not in html


@pytest.fixture(scope="module")
def browser():
    program = chromium()
    assert program is not None
    with Browser(program) as opened:
        yield opened


@needs_chromium
@pytest.mark.parametrize("width, dark", [(1280, False), (390, True)])
def test_players_play_together_and_the_slider_moves_them(page, browser, width, dark):
    browser.errors.clear()
    browser.open(page, width, dark=dark)
    videos = "[...document.querySelectorAll('.board video')]"
    browser.until(f"{videos}.length === 4 && {videos}.every(v => v.readyState >= 2)")
    # they take half a second, after which all begin again: no single look need find all of them playing
    browser.run(
        f"(() => {{ window.played = new Set(); {videos}.forEach(v => v.addEventListener('timeupdate',"
        " () => { if (!v.paused && v.currentTime > 0) played.add(v); })); })()"
    )
    browser.run("document.querySelector('.play').click()")
    browser.until("played.size === 4")
    browser.until("Number(document.querySelector('.time').value) > 0")
    browser.run("document.querySelector('.play').click()")
    browser.until(f"{videos}.every(v => v.paused)")
    browser.run(
        "(() => { const s = document.querySelector('.time'); s.value = 6;"
        " s.dispatchEvent(new Event('input')); })()"
    )
    browser.until(f"{videos}.every(v => !v.seeking && Math.floor(v.currentTime * 16) === 6)")
    assert browser.run("document.querySelector('output').textContent") == "7 / 9"
    line = browser.run("getComputedStyle(document.querySelector('.slice i')).top")
    # the middle of the seventh of nine lines of a slice that is 80 pixels high
    assert float(line.removesuffix("px")) == pytest.approx(80 * 6.5 / 9, abs=0.5)
    assert browser.errors == []


@needs_chromium
def test_zoom_wipe_and_menus_do_what_they_say(page, browser):
    browser.errors.clear()
    browser.open(page, 1280)
    scale = "getComputedStyle(document.querySelector('.board video')).transform"
    assert "matrix(1, 0, 0, 1" in browser.run(scale)
    browser.run(
        "(() => { const z = document.querySelector('.zoom'); z.value = 4;"
        " z.dispatchEvent(new Event('input')); document.querySelector('.wipe').click(); })()"
    )
    assert "matrix(4, 0, 0, 4" in browser.run(scale)
    browser.until("document.querySelectorAll('.wiping video').length === 2")
    browser.until("[...document.querySelectorAll('.wiping video')].every(v => v.readyState >= 2)")
    browser.run("document.querySelector('.wipe').click()")
    assert browser.run("document.querySelectorAll('.wiping video').length") == 0
    browser.run(
        "(() => { const m = document.querySelector('#overview select');"
        " m.value = 'frames_per_second'; m.dispatchEvent(new Event('change')); })()"
    )
    shown = "[...document.querySelectorAll('#overview [data-choice]')].filter(d => !d.hidden)"
    assert browser.run(f"{shown}.map(d => d.dataset.choice)") == ["frames_per_second"]
    assert browser.errors == []


@needs_chromium
@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_need_not_scroll_sideways(page, browser, width):
    browser.open(page, width)
    browser.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    browser.run("document.querySelector('.wipe').click()")
    assert browser.run("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(
    "override",
    [
        "report=pdf",
        "confidence=1.5",
        "media=-1",
        "results=nowhere",
        "results=null",
        "results=[a,b]",
    ],
)
def test_values_out_of_range_are_refused(tmp_path, override):
    overrides = [f"results={write_results(tmp_path / 'r', [row('pinv', 'a', 20)])}", override]
    with pytest.raises(UserError, match=override.split("=")[0]):
        report(compose("report", [*overrides, f"output={tmp_path / 'page'}"]))
    assert not (tmp_path / "page").exists()


def test_a_missing_folder_is_one_sentence_and_exit_code_2(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "lvis.report", "results=nowhere", f"output={tmp_path}"],
        capture_output=True,
        text=True,
        env={**os.environ, "LVIS_DEBUG": "0"},
    )
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0 and "nowhere" in done.stderr
