"""The page in a real Chromium: the line, closed tabs, keyboard, screen readers, colours, and what it loads."""

import base64
import io
import json
import time
import urllib.request
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image
from websockets.sync.client import connect

from .browsing import (
    PATIENCE,
    choose,
    click,
    finished,
    grey_clip,
    in_chromium,
    opened,
    photograph,
    start,
    until,
    upload,
)

pytestmark = in_chromium
DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
const dataTransfer = new DataTransfer();
dataTransfer.items.add(new File([bytes], arguments[1]));
document.dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
"""
# the least contrast of any text with the nearest background behind it (WCAG 2.1), and where it is
CONTRAST = """
const rgba = (text) => text.match(/[\\d.]+/g).map(Number);
const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = (rgb) => [0.2126, 0.7152, 0.0722].reduce((sum, part, place) => sum + part * linear(rgb[place] / 255), 0);
let least = [99, ""];
for (const element of document.querySelectorAll("body *:not(script, noscript, option, canvas)")) {
  if (!element.checkVisibility() || ![...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
  let behind = element;
  while (behind && (rgba(getComputedStyle(behind).backgroundColor)[3] ?? 1) < 0.5) behind = behind.parentElement;
  if (element.matches(".tag")) continue; // over the picture
  const pair = [getComputedStyle(element).color, getComputedStyle(behind ?? document.body).backgroundColor];
  const [a, b] = pair.map((one) => light(rgba(one))).sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < least[0]) least = [ratio, `${element.tagName}#${element.id} ${element.textContent.trim().slice(0, 40)}`];
}
return least;
"""


def places(address: str) -> dict[str, int]:
    return json.loads(urllib.request.urlopen(address + "places").read())


def with_sound(path: Path) -> Path:
    """A grey clip with a second of a tone."""
    wave = np.sin(np.arange(48000, dtype=np.float32) / 20)[None].repeat(2, 0)
    with av.open(str(path), "w") as container:
        video, sound = (
            container.add_stream("ffv1", Fraction(12)),
            container.add_stream("flac", 48000),
        )
        video.width, video.height, video.pix_fmt = 96, 64, "yuv444p"
        for number in range(13):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 90, np.uint8), "rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        samples = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave), "fltp", "stereo")
        samples.sample_rate, samples.pts = 48000, 0
        resampler = av.AudioResampler(sound.format.name, "stereo", 48000, sound.frame_size or 4608)
        for one in [*resampler.resample(samples), *resampler.resample(None)]:
            container.mux(sound.encode(one))
        for stream in (video, sound):
            container.mux(stream.encode())
    return path


def test_a_dropped_measurement_is_restored_at_its_size_and_downloaded_with_its_sound(
    browser, tmp_path
):
    clip = with_sound(tmp_path / "clip.mkv")
    content = base64.b64encode(clip.read_bytes()).decode()
    browser.execute_script(DROP, content, "<img src=x onerror=alert(1)>.mkv")
    until(browser, "return document.querySelector('#status').textContent.includes('is ready')")
    facts = browser.find_element("id", "clip-facts")
    assert "<img src=x" in facts.text and not facts.find_elements("css selector", "img")
    click(browser, "degrade")
    assert not browser.find_element("id", "side").is_displayed()
    start(browser)
    assert "degrade=true" not in finished(browser)
    assert browser.execute_script("return [stage.clientWidth > 0, picture.width >= 96]") == [
        True,
        True,
    ]
    result = urllib.request.urlopen(
        browser.execute_script("return document.querySelector('#download').href")
    )
    with av.open(io.BytesIO(result.read())) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height) == (96, 64)
        assert abs(float(sound.duration * sound.time_base) - 1) < 0.1


def test_numbers_are_shown_while_it_restores(browser):
    start(browser, "student")
    finished(browser)
    names = ("click", "first", "rate", "stages", "queue", "dropped", "psnr")
    script = "return document.querySelector('#number-' + arguments[0])?.textContent"
    shown = [browser.execute_script(script, name) for name in names]
    assert all(shown), dict(zip(names, shown, strict=True))


def test_an_uploaded_mask_is_used_and_a_picture_of_another_size_is_refused(browser, tmp_path):
    upload(browser, grey_clip(tmp_path, 220))
    choose(browser, "task", "inpaint")
    click(browser, "degrade")
    for size, ready in (((96, 64), True), ((50, 50), False)):
        mask = np.full(size[::-1], 255, np.uint8)
        mask[10:30, 10:40] = 0
        Image.fromarray(mask).save(tmp_path / f"mask{size[0]}.png")
        browser.find_element("id", "mask-file").send_keys(str(tmp_path / f"mask{size[0]}.png"))
        until(
            browser,
            f"return document.querySelector('#mask-state').textContent.includes('{size[0]}')",
        )
        start(browser)
        if ready:
            assert "mask=mask.png" in finished(browser)
        else:
            assert "50" in until(browser, "return error.textContent")


def test_a_visitor_too_many_sees_the_line_and_then_the_clip(browser, address):
    socket = address.replace("http", "ws") + "session"
    first = {"type": "start", "clip": None, "task": "deblur", "solver": "pinv", "rate": 10}
    with connect(socket) as one, connect(socket) as two:
        for holder in (one, two):
            holder.send(json.dumps(first))
            assert json.loads(holder.recv())["type"] == "ready"
        start(browser)
        until(
            browser, "return document.querySelector('#status').textContent.includes('place 1 of 1')"
        )
        photograph(browser, "line")
    finished(browser)


def test_a_closed_tab_frees_its_place_in_mid_work(browser, address):
    tab = browser.current_window_handle
    browser.switch_to.new_window("tab")
    opened(browser, address)
    start(browser, "vision_xl")
    until(browser, "return document.querySelector('#status').textContent.includes('whole clip')")
    assert places(address)["taken"] == 1
    browser.close()
    browser.switch_to.window(tab)
    end = time.monotonic() + PATIENCE
    while places(address)["taken"] and time.monotonic() < end:
        time.sleep(0.1)
    assert places(address)["taken"] == 0


def test_a_reload_says_that_a_webcam_does_not_go_on(browser):
    browser.execute_script("document.querySelector('[data-clip=webcam]').click()")
    start(browser)
    until(browser, "return Number(document.querySelector('#position').max) > 8")
    browser.refresh()
    assert "ends with a reload" in until(browser, "return error.textContent")
    browser.refresh()
    until(browser, "return document.querySelectorAll('#choices button').length >= 3")
    assert not browser.find_element("id", "error").is_displayed()


def test_all_of_it_works_from_the_keyboard(browser):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(*keys: str) -> None:
        ActionChains(browser).send_keys(*keys).perform()

    def tab_to(name: str) -> None:
        for _ in range(60):
            if browser.execute_script("return document.activeElement.id") == name:
                return
            press(Keys.TAB)
        raise AssertionError(f"no Tab leads to {name}")

    choose(browser, "solver", "pinv")
    browser.execute_script("document.activeElement.blur()")
    tab_to("start")
    press(Keys.ENTER)
    finished(browser)
    tab_to("wipe")
    press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert browser.find_element("id", "wipe").get_attribute("value") == "52"
    tab_to("play")
    press(" ")
    assert browser.find_element("id", "play").text == "Play"
    tab_to("slice-toggle")
    press(Keys.ENTER)
    tab_to("row")
    press(Keys.HOME)
    assert browser.find_element("id", "row").get_attribute("value") == "0"
    tab_to("download")


def test_a_screen_reader_has_a_name_for_everything(browser):
    choose(browser, "task", "inpaint")
    start(browser)
    finished(browser)
    click(browser, "slice-toggle")
    spoken = {
        *("button", "link", "slider", "combobox", "textbox", "spinbutton", "checkbox"),
        *("image", "form", "region"),
    }
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node["ignored"] and node["role"]["value"] in spoken
    ]
    assert len(found) > 20
    assert [role for role, name in found if not name.strip()] == []
    roles = [node["role"]["value"] for node in tree if not node["ignored"]]
    assert "status" in roles and "main" in roles and "heading" in roles


def test_text_is_readable_in_light_and_dark(browser):
    start(browser)
    finished(browser)
    browser.execute_script("error.hidden = false; error.textContent = 'A sentence.'")
    grounds = []
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        photograph(browser, scheme)
        ratio, place = browser.execute_script(CONTRAST)
        assert ratio >= 4.5, (scheme, ratio, place)
        grounds.append(
            browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        )
    assert grounds[0] != grounds[1]


def test_everything_comes_from_this_server(browser):
    start(browser)
    finished(browser)
    loaded = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    names = browser.execute_script(loaded)
    origin = browser.execute_script("return location.origin")
    assert len(names) >= 8
    assert [name for name in names if not name.startswith((origin, "blob:"))] == []
