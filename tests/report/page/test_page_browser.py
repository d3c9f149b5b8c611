"""The page in headless Chromium: sorting, filters, commands, and who can read it."""

from itertools import pairwise

import pytest

from tests.report.page.page_content import COMMAND, record
from tests.report.page.page_reader import DESKTOP, HYCAM, PHONE, Reader

pytestmark = pytest.mark.slow
pytest.importorskip("selenium.webdriver", reason="no selenium here")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.select import Select  # noqa: E402

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
    assert reader.all("#no-tables")[0].text == "No table has such a row."


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
def test_a_figure_is_shown_in_full_size_and_back(reader: Reader, size: tuple[int, int]) -> None:
    """Every pixel of the picture, scrolled by keyboard in a named region as wide as the page; then as it was."""
    reader.open("#figures", size)
    figure = reader.all("figure")[0]
    picture, button = (figure.find_element(By.CSS_SELECTOR, selector) for selector in (".picture", "button"))
    image = picture.find_element(By.TAG_NAME, "img")
    width, before = int(image.get_attribute("width")), image.rect["width"]
    reader.run(
        "document.querySelector('figure img').width = 2000; document.querySelector('figure img').style.aspectRatio = 2"
    )
    button.send_keys(Keys.ENTER)
    assert button.get_attribute("aria-pressed") == "true"
    assert image.rect["width"] >= 2000 > size[0] >= picture.rect["width"]
    assert (picture.get_attribute("role"), picture.get_attribute("tabindex")) == ("region", "0")
    assert picture.get_attribute("aria-label") in figure.text
    reader.run(f"document.querySelector('figure img').width = {width}; document.querySelector('figure img').style = ''")
    button.send_keys(Keys.ENTER)
    assert (button.get_attribute("aria-pressed"), image.rect["width"]) == ("false", before)
    assert picture.get_attribute("tabindex") is None


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
