"""The page in a real Chromium: what a visitor does, and that the console stays empty."""

import time

import numpy as np

from .browsing import (
    choose,
    click,
    finished,
    grey_clip,
    in_chromium,
    level,
    opened,
    photograph,
    start,
    until,
    upload,
)

pytestmark = in_chromium


def test_a_sample_plays_after_one_click_and_is_operated_by_its_sliders(browser):
    start(browser)
    until(browser, "return document.querySelector('#number-click')?.textContent")
    photograph(browser, "desktop")
    command = finished(browser)
    assert command.startswith("python -m lvis.restore input=photograph.mkv task=deblur")
    click(browser, "play")
    wipe = (
        "const w = document.querySelector('#wipe'); w.value = arguments[0]; w.oninput({target: w})"
    )
    shown = []
    for value in (0, 100):
        browser.execute_script(wipe, value)
        shown.append(browser.execute_script("return picture.toDataURL()"))
    assert shown[0] != shown[1]
    click(browser, "zoom-in")
    assert browser.execute_script("return picture.toDataURL()") != shown[1]
    click(browser, "slice-toggle")
    assert browser.find_element("id", "slice").is_displayed()
    lines = (
        "const shown = Number(document.querySelector('#frame').value);"
        "const d = slice.getContext('2d').getImageData(30, 0, 1, shown + 1).data;"
        "return d.filter((_, place) => place % 4 === 3 && d[place] === 0).length"
    )
    assert browser.execute_script(lines) == 0  # frames that were too late leave no gap
    frame = browser.find_element("id", "frame").text
    time.sleep(0.4)
    assert browser.find_element("id", "frame").text == frame
    fetched = "return fetch(download.href).then((r) => r.headers.get('content-type'))"
    assert browser.execute_script(fetched) == "video/mp4"


def test_a_bad_file_gets_a_sentence_and_a_good_one_is_restored_after_it(browser, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"<img src=x onerror=alert(1)>")
    browser.find_element("id", "file").send_keys(str(broken))
    sentence = until(browser, "return error.textContent")
    assert "broken.mp4 is not a readable video" in sentence and "/tmp" not in sentence
    upload(browser, grey_clip(tmp_path, 77))
    start(browser)
    assert "input=grey77.mkv" in finished(browser)
    assert np.allclose(level(browser, 0.8, 0.5), 77, atol=4)
    assert not browser.find_element("id", "error").is_displayed()


def test_two_tabs_get_their_own_clips(browser, address, tmp_path):
    tabs = [browser.current_window_handle]
    upload(browser, grey_clip(tmp_path, 40))
    browser.switch_to.new_window("tab")
    opened(browser, address)
    tabs.append(browser.current_window_handle)
    upload(browser, grey_clip(tmp_path, 200))
    for tab in tabs:
        browser.switch_to.window(tab)
        start(browser)
    for tab, value in zip(tabs, (40, 200), strict=True):
        browser.switch_to.window(tab)
        assert f"grey{value}" in finished(browser)
        until(browser, "return Number(document.querySelector('#frame').value) > 0")
        assert np.allclose(level(browser, 0.2, 0.5), value, atol=4)


def test_a_reload_in_mid_stream_goes_on(browser):
    start(browser, "student")
    until(browser, "return Number(document.querySelector('#position').max) > 8")
    browser.refresh()
    finished(browser)
    assert browser.execute_script("return document.querySelector('#position').max") == "92"


def test_a_webcam_is_restored_live_until_it_is_stopped(browser):
    browser.execute_script("document.querySelector('[data-clip=webcam]').click()")
    start(browser)
    until(browser, "return document.querySelector('#number-latency')?.textContent")
    until(browser, "return Number(document.querySelector('#position').max) > 20")
    seen = np.array([level(browser, x, y) for x in (0.1, 0.4, 0.9) for y in (0.2, 0.7)])
    assert seen.max() > 60  # Chromium's fake camera is green; a black picture is none
    click(browser, "stop")
    assert "Stopped" in browser.find_element("id", "status").text


def test_a_painted_mask_hides_what_was_painted(browser, tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains

    upload(browser, grey_clip(tmp_path, 220))
    choose(browser, "task", "inpaint")
    click(browser, "mask-paint")
    until(browser, "return painter.open")
    canvas = browser.find_element("id", "paint")
    browser.execute_script("brush.value = 60")
    drag = ActionChains(browser).move_to_element_with_offset(canvas, -60, -40).click_and_hold()
    drag.move_by_offset(30, 30).move_by_offset(-30, 20).release().perform()
    click(browser, "paint-use")
    until(browser, "return document.querySelector('#status').textContent.includes('mask is ready')")
    start(browser)
    assert "mask=mask.png" in finished(browser)
    mask = (
        "return fetch(document.querySelector('#download-mask').href).then((r) => r.blob())"
        ".then(createImageBitmap).then((b) => { const c = new OffscreenCanvas(b.width, b.height)"
        ".getContext('2d'); c.drawImage(b, 0, 0); return [...c.getImageData(0, 0, b.width, b.height)"
        ".data].filter((_, i) => i % 4 === 0) })"
    )
    share = np.mean(np.array(browser.execute_script(mask)) == 0)
    assert 0.05 < share < 0.9


def test_a_phone_has_no_sideways_scrolling(browser, address):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 375, "height": 812, "deviceScaleFactor": 2, "mobile": True},
    )
    opened(browser, address)
    start(browser)
    until(browser, "return document.querySelector('#number-click')?.textContent")
    top = "return picture.getBoundingClientRect().top"
    assert 0 <= browser.execute_script(top) < 500  # in sight without scrolling
    photograph(browser, "phone")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 375
