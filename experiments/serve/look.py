"""What somebody sees who opens the page: seconds from the command to the page and from the click to the first picture.

    python experiments/serve/look.py                                    # this checkout; look.md beside this file
    python experiments/serve/look.py --command VENV/bin/lvis-serve --images docs/images

Needs Chromium, chromedriver and selenium. The first click after the start of the server is the one that counts;
the others show how much it varies. Screenshots are the page's own at desktop and phone width.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By

HERE = Path(__file__).parent
CLICKS = 5
LONGEST = 120  # seconds for anything
SIZES = {"desktop": (1280, 900, False), "phone": (390, 844, True)}


def until(driver: webdriver.Chrome, script: str) -> object:
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        if found := driver.execute_script(script):
            return found
        time.sleep(0.02)
    raise SystemExit(f"{script}: not within {LONGEST} s")


def chromium() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(
        options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))
    )


def opened(driver: webdriver.Chrome, address: str, size: str, scheme: str) -> None:
    width, height, phone = SIZES[size]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    driver.get("about:blank")  # also forgets what ran before
    driver.get(address)
    until(driver, "return document.querySelectorAll('#choices button').length >= 3")


def clicked(driver: webdriver.Chrome) -> float:
    """Seconds from a click on Restore to the first picture, as the page counts them."""
    driver.find_element(By.ID, "start").click()
    shown = until(driver, "return document.querySelector('#number-click')?.textContent")
    return float(str(shown).split()[0])


def finished(driver: webdriver.Chrome) -> None:
    until(driver, "return !document.querySelector('#result').hidden")


def photograph(driver: webdriver.Chrome, path: Path) -> None:
    driver.save_screenshot(str(path))
    small = Image.open(path).convert("RGB").quantize(192, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def run(arguments: argparse.Namespace) -> None:
    address = f"http://127.0.0.1:{arguments.port}/"
    began = time.perf_counter()
    command = [*shlex.split(arguments.command), f"port={arguments.port}"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=arguments.folder)
    driver = None
    try:
        assert server.stderr is not None
        said = []
        for line in server.stderr:
            said.append(line.rstrip())
            if "open http" in line:
                break
        ready = time.perf_counter() - began
        driver = chromium()
        seconds = []
        for _ in range(CLICKS):
            opened(driver, address, "desktop", "light")
            seconds.append(clicked(driver))
            finished(driver)
        lines = [
            f"`{Path(command[0]).name}`: the page was there after {ready:.1f} s; standard error until then:",
            "",
            *(f"    {line}" for line in said),
            "",
            f"Click to first restored picture, s: {seconds[0]:.2f}; then {', '.join(f'{s:.2f}' for s in seconds[1:])}.",
        ]
        if arguments.images:
            arguments.images.mkdir(parents=True, exist_ok=True)
            driver.find_element(By.ID, "slice-toggle").click()
            time.sleep(2.5)
            photograph(driver, arguments.images / "serve_desktop.png")
            opened(driver, address, "phone", "dark")
            clicked(driver)
            finished(driver)
            time.sleep(1)
            photograph(driver, arguments.images / "serve_phone.png")
        bad = [
            entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"
        ]
        lines.append(f"Errors in the console: {len(bad)}.")
        arguments.output.write_text("\n".join(lines) + "\n")
        print("\n".join([*lines, *bad]))
    finally:
        if driver is not None:
            driver.quit()
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--command", default=f"{sys.executable} -m lvis.serve")
    parser.add_argument("--folder", default=".", help="where the server runs")
    parser.add_argument("--images", type=Path, help="folder for the screenshots; none without it")
    parser.add_argument("--port", type=int, default=8893)
    parser.add_argument("--output", type=Path, default=HERE / "look.md")
    run(parser.parse_args())
