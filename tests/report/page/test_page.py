"""The page: its HTML, and what is packed into it, from content that is made up and full of markup."""

import base64
import hashlib
import json
import math
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hycam_exp.report.page import captions, document, figure_view, sample_texts, write
from hycam_exp.report.page.document import FOLDER, SCRIPTS
from hycam_exp.report.page.packing import Pool, inline_json, rounded
from hycam_exp.report.page.run_view import MOST_POINTS, run_view
from hycam_exp.report.page.table_view import TableViews
from hycam_exp.report.sources import RecordSource
from hycam_exp.report.statistics.bootstrap import Resampled
from hycam_exp.report.statistics.significance import Comparison
from hycam_exp.report.tables.table import Column, Table, TableCell, TableRow
from tests.report.page.page_content import COMMAND, HOSTILE, METHODS, TASKS, content, record, samples
from tests.report.toy import run_of

VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """A page as its tags and texts; a tag that closes what is not open is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.inside: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), tag
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        self.inside.setdefault(self.open[-1] if self.open else "", []).append(data)

    def values(self, name: str) -> list[str]:
        """An attribute's values."""
        return [attributes[name] or "" for _, attributes in self.tags if name in attributes]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return document(content(tmp_path_factory.mktemp("results")))


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def unpacked(value: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(value)))


def test_the_page_is_well_formed(page: Page) -> None:
    """Every tag is closed in its turn, an id is there once, and whatever refers to an id finds it."""
    assert page.open == []
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    for name in ("aria-labelledby", "popovertarget", "for"):
        assert set(page.values(name)) <= set(ids), name
    links = {href[1:] for href in page.values("href") if href.startswith("#") and not href.startswith("#run=")}
    assert links <= set(ids)


def test_markup_in_what_is_shown_is_text(page: Page) -> None:
    """Titles, labels, notes, problems, claims and commands with markup add no element and no handler."""
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert [tag for tag, _ in page.tags].count("img") == 1
    assert not {"i", "b"} & {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]
    assert sum(HOSTILE in part for part in page.texts) >= 6  # title, row, note, grid, problem, claim
    assert HOSTILE.lower() in next(words for words in page.values("data-words") if "alert" in words)


def test_predictions_lie_in_the_page_as_data(page: Page, text: str) -> None:
    """A run's texts come back as they were, the reference once for all runs that share it."""
    (data,) = (json.loads(t) for t in page.inside["script"] if t.startswith("{"))
    shared = unpacked(data["shared"])
    assert set(data["runs"]) == {record(method, fold).run_id for method in METHODS for fold in range(2)}
    for run_id, packed in data["runs"].items():
        run = unpacked(packed)
        for task in TASKS:
            shown = [[*shared["pool"][number], prediction] for number, prediction, *_ in run["samples"][task]]
            rows = [row for row in samples(run_id) if row["task"] == task and row["prediction"] is not None]
            assert shown == [[row["id"], row["reference"], row["prediction"]] for row in rows]
    assert shared["pool"].count(["dolly0", "the 0"]) == 1
    assert "alert(2)" not in re.sub(r"&lt;.*?&gt;", "", text)


def test_a_script_element_is_ended_by_nothing_in_its_data() -> None:
    """What would end it or begin a comment is written as an escape that JSON reads back."""
    assert json.loads(inline_json({HOSTILE: "<!--"})) == {HOSTILE: "<!--"}
    assert not set("<>&") & set(inline_json({HOSTILE: "<!--"}))


def test_nothing_comes_from_outside(page: Page, text: str) -> None:
    """No address but places in the page and data; the policy allows this style and this script by hash, no other."""
    for name in ("src", "href", "srcset", "action"):
        assert all(value.startswith(("#", "data:")) for value in page.values(name)), name
    (policy,) = (a["content"] or "" for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    for element in ("style", "script"):
        own = page.inside[element][-1]
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy
    assert "@import" not in text
    assert "url(" not in text


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    """It is written once: the second time the file is left as it is."""
    path, made = tmp_path / "report.html", content(tmp_path)
    assert write(path, made)
    first, time = path.read_bytes(), path.stat().st_mtime_ns
    assert not write(path, made)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (first, time)
    assert write(path, replace(made, problems=()))


def test_a_cell_says_what_it_is_compared_with() -> None:
    """The difference over folds with its p and effect, and the bootstrap over test samples, where there is one."""
    comparison = Comparison(
        metric="ppl", task="mean", ours="hycam", baseline="riemoe_lora (recipe.clip=null)", n_folds=5,
        difference=-0.5, interval=(-0.75, -0.25), p=0.00001, p_corrected_resampled=0.02, p_corrected_holm=0.04,
        effect=1.5, effect_interval=(0.25, 2.5),
    )  # fmt: skip
    resampled = Resampled(difference=-0.5, interval=(-0.75, -0.25), share_better=1.0, groups=1234)
    column = Column(group="", name="PPL")
    cells = [TableCell(value=1.0, comparison=comparison, resampled=of) for of in (resampled, None)]
    table = Table(name="t", title="", corner="", columns=[column] * 2, rows=[TableRow(label="HyCAM", cells=cells)])
    found = [detail.lines for detail in TableViews(table).details.values()]
    over_folds = (
        "HyCAM minus RieMoE-LoRA (recipe.clip=null), the best other PEFT row: -0.5000, 95% -0.7500 to -0.2500.",
        "d_z +1.50, 95% +0.25 to +2.50.",
        "p: <0.0001 (paired), 0.0200 (corrected resampled), 0.0400 (with Holm).",
    )
    assert found == [
        (*over_folds, "Bootstrap over 1,234 groups of test samples: 95% -0.7500 to -0.2500."),
        (*over_folds, "No bootstrap: no samples, or not of all runs."),
    ]


def test_a_cell_never_run_is_a_dash_with_its_command(page: Page, text: str) -> None:
    """The dash's button opens the command, once for the cells that share it; other cells say what they lack."""
    dash, other = (a for tag, a in page.tags if tag == "button" and "no value" in (a.get("aria-label") or ""))
    assert dash["aria-label"] == "LoRA, Llama <i>2</i>, PPL: no value, more"
    assert other["aria-label"] == "LoRA, Llama <i>2</i>, ours: no value, more"
    assert dash["popovertarget"] == other["popovertarget"]
    detail = text.split(f'id="{dash["popovertarget"]}"')[1].split("</div>")[0]
    assert COMMAND in Page(f"<div {detail}</div>").inside["code"]
    assert "0 of 5 folds." in detail
    assert text.count("3 of 5 folds.") == 2
    assert text.count("Better than the best other PEFT row, significant by the corrected resampled t-test") == 2


def test_a_cell_says_on_demand_what_it_does_not_show() -> None:
    """A command alone, a star without correction and mixed records have a detail; a plain value has none."""
    cells = [
        TableCell(command=COMMAND),
        TableCell(value=1.0, worse_uncorrected=True, folds=5, num_folds=5),
        TableCell(value=1.0, star=True, star_uncorrected=True, folds=5, num_folds=5),
        TableCell(value=1.0, is_mixed=True),
        TableCell(value=1.0, spread=0.1, folds=5, num_folds=5),
    ]
    columns = [Column(group="", name=str(number)) for number in range(len(cells))]
    made = Table(name="t", title="T", corner="M", columns=columns, rows=[TableRow(label="LoRA", cells=cells)])
    ((_, (row,)),) = TableViews(made).views[0].sections
    *told, plain = [cell.detail for cell in row.cells]
    other = "the best other PEFT row"
    assert plain is None
    assert [(detail.lines[:1], detail.command) for detail in told if detail] == [
        ((), COMMAND),
        ((f"Worse than {other}, significant only by the paired t-test without a correction.",), None),
        ((f"Better than {other}, significant by the corrected resampled t-test after Holm's correction.",), None),
        (("Of records that differ in more than their fold.",), None),
    ]


def test_a_table_shows_value_mark_spread_and_folds(text: str) -> None:
    """Best and second best are marked for eye and ear; a mean of some folds says of how many."""
    cells = [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<td.*?</td>", text.split('id="t-table"')[1])]
    plus = "\N{PLUS-MINUS SIGN}\N{NO-BREAK SPACE}"
    dash = "\N{EN DASH}"
    assert cells[:6] == [
        dash, f"1.500 second best* {plus}0.200", f"1.900 {plus}0.100 (3/5)", f"1.250 best {plus}0.200",
        f"1.500* {plus}0.200", f"1.900 {plus}0.100 (3/5)",
    ]  # fmt: skip
    assert "As published" in text
    assert "-0.500 (-25.0%)" in text


def test_figures_are_in_the_page_with_their_numbers(page: Page, text: str, tmp_path: Path) -> None:
    """A picture has a text in its place and its CSV as a table; a figure not drawn has its command."""
    (picture,) = (a for tag, a in page.tags if tag == "img")
    title, about = captions.caption("pareto")
    alt = f"{title}, tiny_llama-mini. {about.rstrip('.')}; its numbers are in the table below"
    assert (picture["width"], picture["alt"]) == ("1", alt)
    assert "<td>&lt;b&gt;</td><td>1.5</td>" in text
    assert COMMAND in page.inside["code"]
    broken = tmp_path / "x.png"
    broken.write_bytes(b"GIF")
    with pytest.raises(ValueError, match="not a PNG file"):
        list(figure_view.figures([broken]))


def test_every_figure_has_a_title_and_a_sentence() -> None:
    """Those of records and of a run; a figure of one method is called after it, an unknown one by its file."""
    from hycam_exp.report.figures.catalogue import CATALOGUE

    assert {*CATALOGUE, "tsne", "weight_matrix"} == set(captions.CAPTIONS)
    assert captions.caption("routing-riemoe_lora-clip-1.0")[0] == "Routing: RieMoE-LoRA, clip-1.0"
    assert captions.caption("my_own") == ("my own", "")


def test_one_of_a_kind_is_not_many(tmp_path: Path) -> None:
    """The overview's nouns are in the number of what they count."""
    made = content(tmp_path)
    text = document(replace(made, rows=made.rows[:1], problems=made.problems[:1]))
    assert re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text)[:6] == [
        ("runs", "2"), ("setting", "1"), ("settings with all 5 folds", "0"), ("hours of computing", "0.0"),
        ("version of the results", "1"), ("problem", "1"),
    ]  # fmt: skip


def test_a_page_without_anything_is_whole(tmp_path: Path) -> None:
    """No run, table or figure is a page that says so."""
    empty = replace(
        content(tmp_path), rows=[], tables=(), figures=(), missing_figures=(), grids=(), claims=(), problems=()
    )
    page = Page(document(empty))
    assert page.open == []
    assert "No figure has been drawn." in page.texts


def test_texts_are_kept_to_what_a_page_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first samples of every task that fit for all runs, and the page says how many; one too long is cut."""
    made = content(tmp_path)
    ids = [run.id for row in made.rows for run in row.runs]
    whole = sample_texts.read(RecordSource.own(tmp_path), [*ids, "absent"])
    assert (whole.per_task, whole.found_per_task, whole.runs["absent"]) == (3, 3, {})
    assert whole.runs[ids[0]]["dolly"][1]["ppl"] == pytest.approx(2.718281828 ** (2 / 4))
    firsts = len(HOSTILE) * len(TASKS) * len(ids)
    for most, kept in ((firsts, 1), (0, 1), (10 * firsts, 3)):
        monkeypatch.setattr(sample_texts, "MOST_CHARACTERS", most)
        assert sample_texts.read(RecordSource.own(tmp_path), ids).per_task == kept
    monkeypatch.setattr(sample_texts, "LONGEST_TEXT", 4)
    first = sample_texts.read(RecordSource.own(tmp_path), ids).runs[ids[0]]["dolly"][0]["prediction"]
    assert first == f"</sc [{len(HOSTILE) - 4} characters more in the samples file]"
    monkeypatch.setattr(sample_texts, "MOST_CHARACTERS", 1)
    assert "On this page are the first 1 of 3 texts of each task and run" in document(
        replace(made, samples=sample_texts.read(RecordSource.own(tmp_path), ids))
    )


def test_a_perplexity_that_no_float_holds_is_none(tmp_path: Path) -> None:
    """As in a run's scores: a sample of huge loss is not shown as a number that was never measured."""
    made = content(tmp_path)
    run_id = made.rows[0].runs[0].id
    rows = [row | {"nats": nats} for row, nats in zip(samples(run_id)[:3], (60.0 * 4, 1e4, None), strict=True)]
    pq.write_table(pa.Table.from_pylist(rows), RecordSource.own(tmp_path).samples(run_id))
    (shown,) = sample_texts.read(RecordSource.own(tmp_path), [run_id]).runs[run_id].values()
    assert [row["ppl"] for row in shown] == [math.exp(60), None, None]


@pytest.mark.parametrize(("points", "every"), [(MOST_POINTS, 1), (MOST_POINTS + 1, 2), (10 * MOST_POINTS, 10)])
def test_a_long_curve_keeps_every_kth_point_and_the_last(points: int, every: int) -> None:
    """The columns have the thinned points, and say how they were thinned."""
    curve = run_view(run_of(record("lora", 0, steps=points)), {}, Pool())["curves"]["train"]
    steps = curve["columns"]["step"]
    assert (curve["every"], curve["points"], steps[0], steps[-1]) == (every, points, 1, points)
    assert len(steps) <= MOST_POINTS + 1
    assert curve["columns"]["loss"][1] == rounded(3.0 / (1 + every), 5)


def test_equal_values_have_one_number() -> None:
    """A pool holds each value once, and tells 1 from 1.0 and null."""
    pool = Pool()
    assert [pool.number(value) for value in ({"a": 1}, {"a": 1.0}, None, {"a": 1})] == [0, 1, 2, 0]
    assert pool.values == [{"a": 1}, {"a": 1.0}, None]


def test_the_script_parses_nothing_as_html() -> None:
    """All that it shows is made of elements and text nodes, and it asks for nothing."""
    script = "".join((FOLDER / f"{name}.js").read_text() for name in SCRIPTS)
    assert {path.stem for path in FOLDER.glob("*.js")} == set(SCRIPTS)
    for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(", "XMLHttp"):
        assert name not in script


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of #rrggbb."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_has_contrast(scheme: int) -> None:
    """Every colour of text is readable on every surface it stands on: 4.5 to 1 at least (WCAG AA)."""
    block = re.findall(r":root \{(.*?)\}", (FOLDER / "page.css").read_text(), flags=re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
    pairs = [(front, back) for front in ("text", "muted", "accent") for back in ("page", "surface", "raised")]
    pairs += [("warn", "warn-surface"), ("text", "mark"), ("on-accent", "accent")]
    pairs += [("train", "page"), ("validation", "page")]
    for front, back in pairs:
        light, dark = sorted((luminance(colours[front]), luminance(colours[back])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (front, back)
