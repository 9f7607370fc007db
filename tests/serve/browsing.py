"""What the tests in Chromium do on the page."""

import os
import shutil
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lvis.data.video import VideoWriter

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
PATIENCE = 180  # seconds, on a machine that does other things too
in_chromium = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium and chromedriver are missing"),
]


def opened(driver, address: str) -> None:  # noqa: ANN001
    driver.get(address)
    until(driver, "return document.querySelectorAll('#choices button').length >= 3")


def until(driver, script: str):  # noqa: ANN001, ANN201
    """Wait until the script returns something, and return it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := driver.execute_script(script):
            return found
        time.sleep(0.1)
    state = "return [document.querySelector('#status').textContent, error.textContent]"
    raise AssertionError(f"{script}: {driver.execute_script(state)}")


def click(driver, name: str) -> None:  # noqa: ANN001
    driver.find_element("id", name).click()


def choose(driver, name: str, value: str) -> None:  # noqa: ANN001
    from selenium.webdriver.support.ui import Select

    Select(driver.find_element("id", name)).select_by_value(value)


def start(driver, solver: str = "pinv") -> None:  # noqa: ANN001
    choose(driver, "solver", solver)
    click(driver, "start")


def finished(driver) -> str:  # noqa: ANN001
    return until(driver, "return !document.querySelector('#result').hidden && command.textContent")


def level(driver, left: float, top: float) -> list[int]:  # noqa: ANN001
    """RGB of the canvas at a share of its width and height."""
    script = (
        "const c = document.querySelector('#picture'); return [...c.getContext('2d').getImageData("
        "Math.floor(arguments[0] * c.width), Math.floor(arguments[1] * c.height), 1, 1).data]"
    )
    return driver.execute_script(script, left, top)[:3]


def photograph(driver, name: str) -> None:  # noqa: ANN001
    """A screenshot, into the folder that LVIS_SCREENSHOTS names."""
    if folder := os.environ.get("LVIS_SCREENSHOTS"):
        driver.save_screenshot(str(Path(folder) / f"{name}.png"))


def grey_clip(folder: Path, value: int) -> Path:
    path = folder / f"grey{value}.mkv"
    with VideoWriter(path, Fraction(12)) as writer:
        for _ in range(21):
            writer.write(np.full((64, 96, 3), value, np.uint8))
    return path


def upload(driver, path: Path) -> None:  # noqa: ANN001
    driver.find_element("id", "file").send_keys(str(path))
    until(driver, "return document.querySelector('#status').textContent.includes('is ready')")
