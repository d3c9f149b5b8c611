"""The page in headless Chromium, from the file system: sorting, filters, a run, and who can read it."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hycam_exp.report import records
from hycam_exp.report.page import PageContent, document, sample_texts
from hycam_exp.report.summary import summarise
from tests.report.conftest import mini_records
from tests.report.page_content import COMMAND, HOSTILE, METHODS, TASKS, content, record

pytestmark = pytest.mark.slow
webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium here")
from selenium.common.exceptions import StaleElementReferenceException  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.select import Select  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
DESKTOP, PHONE = (1440, 900), (390, 844)
HYCAM = record("hycam", 0).run_id
# Every visible text whose colour has too little contrast with what is behind it.
FAINT = """
const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const behind = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const colour = parts(getComputedStyle(e).backgroundColor);
    if (colour.length < 4 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
return [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility()
  && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())).map((e) => {
  const style = getComputedStyle(e);
  const front = parts(e instanceof SVGElement ? style.fill : style.color);
  const [light, dark] = [luminance(front), luminance(behind(e))].sort((a, b) => b - a);
  return [(light + 0.05) / (dark + 0.05), e.outerHTML.slice(0, 120)];
}).filter(([ratio]) => ratio < 4.5);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if not CHROMIUM.is_file() or not DRIVER.is_file():
        pytest.skip(f"no {CHROMIUM} or no {DRIVER}")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=str(DRIVER)))
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

        def found(_: Any) -> Any:
            return next((e for e in self.all(selector) if e.is_displayed() and text in e.text), None)

        wait = WebDriverWait(self.browser, 10, ignored_exceptions=[StaleElementReferenceException])
        return wait.until(found, f"{selector} with {text!r}")

    def all(self, selector: str) -> list[Any]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def run(self, script: str) -> Any:
        return self.browser.execute_script(script)

    def press(self, *keys: str) -> None:
        """Keys, where the focus is."""
        self.browser.switch_to.active_element.send_keys(*keys)

    def said(self, text: str) -> None:
        """Wait until the live region says it."""
        WebDriverWait(self.browser, 10).until(lambda _: text in self.run("return byId('status').textContent"), text)

    def shown_runs(self) -> list[str]:
        return [row.get_attribute("data-run") for row in self.all("#run-list tbody tr") if row.is_displayed()]

    def column(self, table: str, place: int) -> list[str]:
        return [row.find_elements(By.CSS_SELECTOR, "th, td")[place].text for row in self.all(f"{table} tbody tr")]


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


def test_a_heading_sorts_by_its_column(reader: Reader) -> None:
    """Ascending, descending, as it was; what is absent stays last; the order is told to eye and ear."""
    reader.open("#tables")
    heading = reader.all("#t-table th[data-column='1']")[0]
    first = reader.column("#t-table", 1)
    orders = []
    for order in ("ascending", "descending", "none"):
        heading.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
        assert heading.get_attribute("aria-sort") == order
        orders.append([text.split()[0] for text in reader.column("#t-table", 1)])
    assert orders[0] == ["1.500*", "1.900", "\N{EN DASH}"]
    assert orders[1] == ["1.900", "1.500*", "\N{EN DASH}"]
    assert reader.column("#t-table", 1) == first
    other = reader.all("#t-table th[data-column='2'] button")[0]
    heading.find_element(By.TAG_NAME, "button").click()
    other.click()
    assert [e.get_attribute("aria-sort") for e in reader.all("#t-table th[data-column]")] == [
        "none",
        "none",
        "ascending",
    ]
    reader.said("Sorted by PPL")


def test_runs_are_found_by_method_task_and_words(reader: Reader) -> None:
    """Filters work together, are counted aloud, and a task shows its own scores; `Show all` ends them."""
    reader.open("#runs")
    assert len(reader.shown_runs()) == 6
    Select(reader.all("[data-filter='method']")[0]).select_by_value("hycam")
    reader.said("2 of 6 runs")
    assert reader.shown_runs() == [record("hycam", fold).run_id for fold in (0, 1)]
    assert reader.until("tr[data-run] .score").text == "3.000"
    Select(reader.all("[data-filter='task']")[0]).select_by_value("dolly")
    reader.said("scores of dolly")
    assert reader.until("tr[data-run] .score").text == "2.500"
    reader.all("[data-filter='words']")[0].send_keys("F1-")
    reader.said("1 of 6 runs")
    reader.all("#run-filters button")[0].click()
    reader.said("6 of 6 runs")


def test_absent_scores_stand_last_in_either_order(reader: Reader) -> None:
    """The runs without BLEU-4 come after those with it."""
    reader.open("#runs")
    button = reader.all("#run-list th[data-column='3'] button")[0]
    for _ in range(2):
        button.click()
        assert reader.column("#run-list", 3)[-2:] == ["\N{EN DASH}"] * 2


def test_tables_are_filtered_by_row_and_group(reader: Reader) -> None:
    """Other rows and other groups of columns go, and come back."""
    reader.open("#tables")
    group = Select(reader.all("#table-groups")[0])
    group.select_by_value("Llama <i>2</i>")
    shown = [e.text for e in reader.all("#t-table thead tr:last-child th") if e.is_displayed()]
    assert len(shown) == 1
    group.select_by_value("")
    reader.all("#table-rows")[0].send_keys("full")
    rows = [row for row in reader.all("#t-table tbody tr") if row.is_displayed()]
    assert [row.find_element(By.TAG_NAME, "th").text for row in rows] == ["Full Finetune"]
    reader.all("#table-rows")[0].send_keys("x")
    reader.said("0 tables shown")


def test_a_phone_shows_every_grids_command(reader: Reader) -> None:
    """Within its width, without a scroll to the side."""
    reader.open(size=PHONE)
    boxes = [command.rect for command in reader.all("#grids .command")]
    assert boxes
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= PHONE[0] for box in boxes)
    assert (
        reader.run("const b = document.querySelector('#grids').parentElement; return b.scrollWidth - b.clientWidth")
        == 0
    )


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_figures_leave_no_holes_and_do_not_overlap(reader: Reader, size: tuple[int, int]) -> None:
    """In a column each begins soon after the one above has ended, also when its numbers are opened."""
    reader.open("#figures", size)
    reader.run("const box = document.querySelector('.figures'), first = box.children[0];"
               "for (const height of [300, 90, 500, 40]) { const copy = first.cloneNode(true);"
               "copy.style.height = `${height}px`; box.append(copy); }")  # fmt: skip
    reader.run("packFigures(); document.querySelector('.figures details').open = true;")
    reader.run("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));")
    columns: dict[float, list[dict[str, float]]] = {}
    for figure in reader.all("figure"):
        columns.setdefault(figure.rect["x"], []).append(figure.rect)
    assert len(columns) == (2 if size == DESKTOP else 1)
    for rects in columns.values():
        rects.sort(key=lambda rect: rect["y"])
        gaps = [below["y"] - above["y"] - above["height"] for above, below in pairwise(rects)]
        assert all(8 <= gap <= 40 for gap in gaps), gaps


def test_a_run_opens_and_closes_by_keyboard(reader: Reader) -> None:
    """Enter opens it with the focus on its title, Escape returns to the link; the address can be passed on."""
    reader.open("#runs")
    link = next(a for a in reader.all("#run-list a") if a.text == HYCAM)
    link.send_keys(Keys.ENTER)
    reader.until("#run-content section")
    assert reader.browser.current_url.endswith(f"#run={HYCAM}")
    assert reader.browser.switch_to.active_element.text == HYCAM
    headings = [e.text for e in reader.all("#run-content > section > h2, #run-content .columns h2")]
    assert headings == ["Scores", "Curves", "Samples", "Cost", "Environment", "Config", "Routing"]
    reader.press(Keys.ESCAPE)
    reader.until("#run-list")
    assert reader.browser.switch_to.active_element.text == HYCAM
    reader.open("#run=no%20such%3Cb%3E")
    assert reader.until("#run-content .problems").text == "There is no such run in this report."
    assert reader.all("#run-title")[0].text == "no such<b>"
    reader.open("#run=%E0")  # no valid address
    assert reader.until("#run-content .problems").text == "There is no such run in this report."


def test_a_run_shows_what_was_recorded(reader: Reader) -> None:
    """Scores, curves with a text, cost, config and environment, from the record."""
    reader.open(f"#run={HYCAM}")
    scores = reader.all("#run-content table")[0].text
    assert "Dolly 2.0 2.500" in scores
    said = reader.all("#run-content svg")[0].get_attribute("aria-label")
    assert said.startswith("Loss. training: 3 at step 1, 0.25 at step 12. validation: 1.25 at step 12")
    text = reader.all("#run-content")[0].text
    for part in ("61.5", "1024 MiB", "1,234 of 99,999", "recipe", "digest of the code"):
        assert part in text


def test_samples_are_shown_side_by_side_as_text(reader: Reader) -> None:
    """Markup in a prediction is seen, not done; the pair is beside each other on a desktop, stacked on a phone."""
    for size, is_beside in ((DESKTOP, True), (PHONE, False)):
        reader.open(f"#run={HYCAM}", size)
        left, right = reader.all("#run-content .sample")[0].find_elements(By.CSS_SELECTOR, ".pair > div")
        assert left.text == "Reference\nthe 0"
        assert right.text == f"Prediction\n{HOSTILE}"
        assert (left.location["y"] == right.location["y"]) == is_beside
        assert reader.all("#run-content img, #run-content script") == []
        assert [e.text for e in reader.all("#run-content .problems li")] == [HOSTILE]
    closed = reader.all("#run-content details summary")
    next(e for e in closed if e.text.startswith("WebGPT")).send_keys(Keys.ENTER)
    reader.until("#run-content .sample h3", "web_gpt0")


def test_differing_words_are_marked(reader: Reader) -> None:
    """Words of one text only are marked; texts that share little are left as they are."""
    reader.open("#runs")
    pairs = {("a b c d", "a b x d"): ["c", "x"], ("a b", "a b"): [], ("a b c d", "w x y z"): None}
    for (left, right), expected in pairs.items():
        script = (
            f"const d = differences({left!r}, {right!r}); return d && d.flat().filter((p) => p[1]).map((p) => p[0]);"
        )
        assert reader.run(script) == expected


def test_samples_of_all_runs_are_searched(reader: Reader) -> None:
    """Words, method and task together; a hit leads to its run."""
    reader.open("#samples")
    form = "#sample-search"
    reader.all(f"{form} [name=words]")[0].send_keys("prediction 2")
    Select(reader.all(f"{form} [name=method]")[0]).select_by_value("lora")
    Select(reader.all(f"{form} [name=task]")[0]).select_by_value("web_gpt")
    reader.all(f"{form} [name=words]")[0].send_keys(Keys.ENTER)
    reader.until("#sample-results p", "2 samples found")
    reader.said("2 samples found")
    hits = [a.text for a in reader.all("#sample-results a")]
    assert hits == [record("lora", fold).run_id for fold in (0, 1)]
    Select(reader.all(f"{form} [name=method]")[0]).select_by_value("")
    Select(reader.all(f"{form} [name=task]")[0]).select_by_value("")
    reader.all(f"{form} [name=words]")[0].clear()
    reader.all(f"{form} button")[0].click()
    total = 3 * len(TASKS) * len(METHODS) * 2
    reader.until("#sample-results p", f"{total} samples found")
    assert len(reader.all("#sample-results .sample")) == 20
    reader.all("#sample-results > button")[0].click()
    assert len(reader.all("#sample-results .sample")) == total


def test_a_dash_opens_its_command_by_keyboard(reader: Reader) -> None:
    """Enter shows it, Escape closes it and gives the focus back, and the page stays where it was."""
    reader.open("#tables", PHONE)
    dash = reader.all("#t-table button[aria-label*='no value']")[0]
    dash.send_keys(Keys.ENTER)
    detail = reader.until(".detail:popover-open")
    assert COMMAND in detail.text
    assert detail.rect["x"] >= 0
    assert detail.rect["x"] + detail.rect["width"] <= PHONE[0]
    reader.press(Keys.ESCAPE)
    assert reader.all(".detail:popover-open") == []
    assert reader.run("return document.activeElement.getAttribute('aria-label')").endswith("no value, more")


@pytest.mark.parametrize("place", ["", f"#run={HYCAM}"], ids=["report", "run"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_fits_and_can_be_read(reader: Reader, size: tuple[int, int], scheme: str, place: str) -> None:
    """Nothing is wider than the screen with everything opened, and every text has contrast, light and dark."""
    reader.open(place, size, scheme)
    reader.run("for (const box of document.querySelectorAll('details')) box.open = true;")
    assert reader.run("return document.documentElement.scrollWidth") <= size[0]
    assert reader.run(FAINT) == []
    background = reader.run("return getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(250, 250, 248)", "dark": "rgb(18, 22, 26)"}[scheme]


def test_a_committed_run_fits_a_phone(reader: Reader, tmp_path: Path) -> None:
    """Real ids, curves and texts: nothing is wider than the screen, and every part of the record is there."""
    results = Path(__file__).parents[2] / "results"
    found = records.read(results).records
    summaries, samples = summarise(found), sample_texts.read(results, [record.run_id for record in found])
    path = tmp_path / "report.html"
    path.write_text(document(PageContent(summaries=summaries, samples=samples)), encoding="utf-8")
    committed = Reader(reader.browser, path.as_uri())
    run_id = next(record.run_id for record in mini_records() if record.config["method"]["name"] == "hycam")
    for place in ("", f"#run={run_id}"):
        committed.open(place, PHONE)
        reader.run("for (const box of document.querySelectorAll('details')) box.open = true;")
        assert reader.run("return document.documentElement.scrollWidth") <= PHONE[0]
    assert len(reader.all("#run-content svg")) == 4
    assert len(reader.all("#run-content .sample")) == 50
    reader.browser.get_log("performance")  # of another file than the fixture's
    reader.open()


@pytest.mark.parametrize("place", ["", f"#run={HYCAM}"], ids=["report", "run"])
def test_every_control_has_a_name_and_a_place_in_the_order(reader: Reader, place: str) -> None:
    """What a screen reader is told of each control, region and picture is not empty; Tab reaches the first ones."""
    reader.open(place)
    reader.run("for (const box of document.querySelectorAll('details')) box.open = true;")
    nodes = reader.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "link", "searchbox", "combobox", "image", "img", "progressIndicator", "region", "form"}
    named = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]]
    assert [role for role, name in named if role in roles and not name.strip()] == []
    summaries = [e.get_attribute("textContent") for e in reader.all("section > details > summary, figcaption summary")]
    assert len(set(summaries)) == len(summaries), "each is told apart by its name alone"
    assert {"banner", "navigation", "main", "contentinfo", "heading", "table", "button"} <= {role for role, _ in named}
    levels = reader.run("return [...document.querySelectorAll('h1,h2,h3,h4,h5')].filter((h) => h.checkVisibility())"
                        ".map((h) => Number(h.tagName[1]))")  # fmt: skip
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    reader.run("document.activeElement.blur(); window.scrollTo(0, 0);")
    reader.open()
    reader.press(Keys.TAB)
    assert reader.run("return document.activeElement.textContent") == "Skip to the content"
    assert reader.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    reader.press(Keys.ENTER)
    assert reader.run("return document.activeElement.id") == "main"


def test_without_script_tables_and_figures_are_read(reader: Reader) -> None:
    """Tables, figures, commands and the list of runs are in the HTML; no control is there that would do nothing."""
    reader.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        reader.open()
        assert reader.all("#t-table")[0].is_displayed()
        assert reader.all("figure img")[0].is_displayed()
        assert len(reader.all("#run-list tbody tr")) == 6
        assert [e for e in reader.all("th button, .filters") if e.is_displayed()] == []
        assert reader.until("noscript .problems")
    finally:
        reader.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
