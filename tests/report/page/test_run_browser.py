"""Runs and samples of the page in headless Chromium."""

from pathlib import Path

import pytest

from hycam_exp.report.page import PageContent, document, sample_texts
from hycam_exp.report.select import select
from tests.report.conftest import MINI, mini_frame, mini_row
from tests.report.page.page_content import HOSTILE, METHODS, TASKS, record
from tests.report.page.page_reader import CSS, DESKTOP, HYCAM, PHONE, Reader
from tests.report.toy import known_experiments

pytestmark = pytest.mark.slow
pytest.importorskip("selenium.webdriver", reason="no selenium here")
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.select import Select  # noqa: E402


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
    for part in ("61.5", "1024 MiB", "1,234 of 99,999", "recipe", "version of the results"):
        assert part in text


def test_samples_are_shown_side_by_side_as_text(reader: Reader) -> None:
    """Markup in a prediction is seen, not done; the pair is beside each other on a desktop, stacked on a phone."""
    for size, is_beside in ((DESKTOP, True), (PHONE, False)):
        reader.open(f"#run={HYCAM}", size)
        left, right = reader.all("#run-content .sample")[0].find_elements(CSS, ".pair > div")
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


def test_a_committed_run_fits_a_phone(reader: Reader, tmp_path: Path) -> None:
    """Real ids, curves and texts: nothing is wider than the screen, and every part of the record is there."""
    rows = select(mini_frame(), known_experiments()).rows
    samples = sample_texts.read(MINI, [run.id for run in mini_frame().runs])
    path = tmp_path / "report.html"
    path.write_text(document(PageContent(source=MINI, rows=rows, samples=samples)), encoding="utf-8")
    committed = Reader(reader.browser, path.as_uri())
    run_id = mini_row("hycam").runs[0].id
    for place in ("", f"#run={run_id}"):
        committed.open(place, PHONE)
        reader.run("for (const box of document.querySelectorAll('details')) box.open = true;")
        assert reader.run("return document.documentElement.scrollWidth") <= PHONE[0]
    assert len(reader.all("#run-content svg")) == 4
    assert len(reader.all("#run-content .sample")) == 50
    reader.browser.get_log("performance")  # of another file than the fixture's
    reader.open()
