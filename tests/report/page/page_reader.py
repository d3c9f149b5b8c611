"""The page in headless Chromium, from the file system, as a reader uses it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hycam_exp.report.page import document
from tests.report.page.page_content import content, record

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")


FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip


CSS = "css selector"
DESKTOP, PHONE = (1440, 900), (390, 844)


HYCAM = record("hycam", 0).run_id


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium here")
    if not CHROMIUM.is_file() or not DRIVER.is_file():
        pytest.skip(f"no {CHROMIUM} or no {DRIVER}")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=str(DRIVER)))
    driver.get("about:blank")
    driver.get_log("performance")  # of the browser's own first page
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("results")
    path = folder / "report.html"
    path.write_text(document(content(folder)), encoding="utf-8")
    return path.as_uri()


class Reader:
    """A page in a browser, as a reader uses it."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser, self.address = browser, address

    def open(self, place: str = "", size: tuple[int, int] = DESKTOP, scheme: str = "light") -> None:
        """The page afresh; a run is there when its first section is."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.browser.get("about:blank")
        self.browser.get(self.address + place)
        if place.startswith("#run="):
            self.until("#run-content > *")

    def until(self, selector: str, text: str = "") -> Any:
        """The first visible element of a selector, once there is one with this text."""

        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.wait import WebDriverWait

        def found(_: Any) -> Any:
            return next((e for e in self.all(selector) if e.is_displayed() and text in e.text), None)

        wait = WebDriverWait(self.browser, 10, ignored_exceptions=[StaleElementReferenceException])
        return wait.until(found, f"{selector} with {text!r}")

    def all(self, selector: str) -> list[Any]:
        return self.browser.find_elements(CSS, selector)

    def run(self, script: str) -> Any:
        return self.browser.execute_script(script)

    def press(self, *keys: str) -> None:
        """Keys, where the focus is."""
        self.browser.switch_to.active_element.send_keys(*keys)

    def said(self, text: str) -> None:
        """Wait until the live region says it."""
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.browser, 10).until(lambda _: text in self.run("return byId('status').textContent"), text)

    def shown_runs(self) -> list[str]:
        return [row.get_attribute("data-run") for row in self.all("#run-list tbody tr") if row.is_displayed()]

    def column(self, table: str, place: int) -> list[str]:
        return [row.find_elements(CSS, "th, td")[place].text for row in self.all(f"{table} tbody tr")]


@pytest.fixture
def reader(browser: Any, address: str) -> Iterator[Reader]:
    """After every test: no error in the console, and no request but for the file itself."""
    found = Reader(browser, address)
    yield found
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    outside = [url for url in urls if not url.startswith(("data:", "about:", address.split("#")[0]))]
    assert outside == []
    assert address in {url.split("#")[0] for url in urls}, "the log is recorded"
