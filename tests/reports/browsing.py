"""A page in a headless Chromium, for the tests that look at what it does; the fixture is ``browser``."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver on the path"),
]
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
).split()

LEFT, RIGHT, ESCAPE, ENTER, TAB = "\ue012", "\ue014", "\ue00c", "\ue007", "\ue004"  # the driver's spelling


class Browser:
    """A page in Chromium at a given width."""

    def __init__(self, driver, folder: Path) -> None:
        self.driver, self.folder = driver, folder

    def open(self, html: str, width: int = 1366, height: int = 768, part: str = "") -> None:
        file = self.folder / "page.html"
        file.write_text(html, encoding="utf-8")
        self.resize(width, height)
        self.driver.get("about:blank")  # an address that differs in its fragment alone would not load again
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        self.driver.get(file.as_uri() + part)

    def resize(self, width: int, height: int = 768) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def run(self, script: str, *arguments: object):
        return self.driver.execute_script(script, *arguments)

    def slide(self, name: str, value: int) -> None:
        script = "const s = document.getElementById(arguments[0]); s.value = arguments[1];"
        self.run(script + "s.dispatchEvent(new Event('input'))", name, value)

    def keys(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def shown(self) -> list[str]:
        return self.run("return [...document.querySelectorAll('.case')].filter(c => !c.hidden).map(c => c.id)")

    def requests(self) -> list[str]:
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def picture(self) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB"), dtype=float)
