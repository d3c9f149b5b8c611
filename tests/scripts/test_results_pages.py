"""The pages of results: what the records say, and no more."""

import json
import re
from pathlib import Path

import pytest

from hycam_exp.records.record import encode
from hycam_exp.records.version import HISTORY, RESULTS_VERSION
from hycam_exp.report.cache import Cache
from scripts import results_pages
from scripts.results_pages import CLAIMS_HEAD, END, ROOT, START, pages, readme
from tests.report.test_crossed_seeds import ppl
from tests.report.toy import known_experiments, records_of_grid


@pytest.fixture(scope="module")
def cache() -> Cache:
    """What was composed for other tests of this process."""
    return known_experiments().cache


def study(results: Path, version: int) -> Path:
    """The records of the mini grid in a folder of results; a search chose HyCAM's rate, and another one than LoRA's."""
    records = results / "studies" / "mini" / "records"
    records.mkdir(parents=True)
    searched = {}
    for record in records_of_grid("mini", ppl, version):
        (records / f"{record.run_id}.json").write_bytes(encode(record))
        method, rate = record.config["method"]["name"], record.config["recipe"]["learning_rate"]
        searched[method] = {"cells": [{"learning_rate": rate}, {"learning_rate": 0.5}], "choice": rate}
    rates = {"hycam": searched["hycam"], "lora": searched["lora"] | {"choice": 0.5}}
    (results / "studies" / "mini" / "tuning.json").write_text(json.dumps(rates))
    return results


def texts(results: Path, cache: Cache) -> tuple[str, str, str]:
    """Results, claims and the README's block."""
    found = pages(results, cache)
    block = found[Path("README.md")].partition(START)[2].partition(END)[0]
    return found[Path("docs/results.md")], found[Path("docs/claims.md")], block


def test_the_committed_pages_are_those_of_the_records(cache: Cache) -> None:
    """Byte for byte: whoever changes a record, a caption or a claim makes the pages anew by `make tables`."""
    for path, content in pages(ROOT / "results", cache).items():
        assert (ROOT / path).read_text(encoding="utf-8") == content, path


def test_every_link_of_the_committed_pages_leads_somewhere() -> None:
    """To a file of the project: a table, a figure, a page."""
    for name in ("results.md", "claims.md"):
        links = re.findall(r"\]\(([^)#]+)", (ROOT / "docs" / name).read_text(encoding="utf-8"))
        assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


def test_of_an_older_version_there_is_a_caveat_and_no_number(tmp_path: Path, cache: Cache) -> None:
    """It names the versions and what changed since; neither table, nor figure, nor verdict on our records."""
    results, claims, block = texts(study(tmp_path, RESULTS_VERSION - 1), cache)
    said = (
        f"The records of `results/studies/mini` are of version {RESULTS_VERSION - 1} of the results, and no number of"
        f" them should be quoted: this code makes version {RESULTS_VERSION} (`hycam_exp/records/version.py`)."
        f" Version {RESULTS_VERSION}: {HISTORY[RESULTS_VERSION]}"
    )
    for text in (results, claims, block):
        assert said in " ".join(text.split())
    assert "|" not in block
    assert "### `mini`" not in results
    assert "figures/" not in results
    assert "the mini set" not in claims


def test_of_todays_version_there_is_the_table_with_its_caveat(tmp_path: Path, cache: Cache) -> None:
    """The README has it with its caption; the page of results besides the differences in words, the command of every
    number, seeds and settings."""
    results, claims, block = texts(study(tmp_path, RESULTS_VERSION), cache)
    caveat = (
        "The 60 cells of `results/studies/mini` are on the backbone tiny_llama and the data mix mini. All tasks are"
        " generated: the numbers compare the methods there, and say nothing of real data sets."
    )
    row = "| HyCAM | **2.275**\\* \N{PLUS-MINUS SIGN} 0.219 |"
    caption = (
        "Means over folds, each of 2 trainings, \N{PLUS-MINUS SIGN} sample standard deviation over folds. Mean PPL"
    )
    for text in (" ".join(block.split()), results):
        assert caveat in text
        assert row in text
        assert caption in text
    assert caveat in claims
    assert "- Ours: **holds** (the mini set; tiny\\_llama; 5 of 5 folds): better in 3 of 3 cells." in claims
    assert "\n- Records of a task in a fold: 14 train, 4 validation, 2 test.\n" in results
    assert "- **PPL**: 2.275, significantly better than LoRA (matched)'s 3.250: -0.975 (" in results
    assert "- **Mini code, ROUGE-L**: 0." in results
    assert (
        "60 of 60 cells are there; `python -m hycam_exp -m experiment=mini study=mini` makes them, and"
        " `python -m hycam_exp.report study=mini` the table: [csv](../results/studies/mini/tables/mini.csv)"
    ) in results
    assert "\nrecipe.epochs=8\n" in results
    of_row = {line.split("**")[1]: line for line in results.splitlines() if "Seeds of fold 0: 0, 10; fold 1" in line}
    rate = r"learning rate [0-9.e-]+, "
    assert re.match(rf"- \*\*HyCAM\*\*, {rate}chosen of 2 rates\.", of_row["HyCAM"])
    assert re.match(rf"- \*\*LoRA\*\*, {rate}not that which was chosen, 0\.5, of 2 rates\.", of_row["LoRA"])
    assert re.match(rf"- \*\*Full Finetune\*\*, {rate}not searched\.", of_row["Full Finetune"])
    assert "experiment=mini_ablation" not in results  # HyCAM alone fills no table of ablations


def test_a_record_that_is_left_out_is_named(tmp_path: Path, cache: Cache) -> None:
    """By its file, with the reason: a page does not hide what it is not made of."""
    found = study(tmp_path, RESULTS_VERSION)
    (found / "studies" / "mini" / "records" / "broken.json").write_text("{")
    results, _, _ = texts(found, cache)
    assert re.search(r"- Not in the tables: .*broken\.json: not a whole run record", results)


def test_a_users_own_runs_are_on_no_page(tmp_path: Path, cache: Cache) -> None:
    """The pages are of studies; without one they have the paper's own numbers alone."""
    own = tmp_path / "runs"
    study(tmp_path / "made", RESULTS_VERSION)
    own.mkdir()
    for path in (tmp_path / "made" / "studies" / "mini" / "records").iterdir():
        path.rename(own / path.name)
    results, claims, block = texts(tmp_path, cache)
    assert "2.275" not in results + claims + block
    assert claims.startswith(CLAIMS_HEAD)
    assert "`table1_datasets_compared`" in results


def test_a_second_time_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Cache) -> None:
    """The same records give the same bytes; the README keeps what stands around its block."""
    study(tmp_path / "results", RESULTS_VERSION)
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(f"before\n{START}old\n{END}\nafter\n")
    monkeypatch.setattr(results_pages, "ROOT", tmp_path)
    monkeypatch.setattr(results_pages, "kept_in", lambda _: cache)
    results_pages.main()
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "README.md", *(tmp_path / "docs").iterdir())}
    assert len(made) == 3
    text = (tmp_path / "README.md").read_text()
    assert text.startswith(f"before\n{START}The 60 cells")
    assert text.endswith(f"{END}\nafter\n")
    results_pages.main()
    assert {path: path.stat().st_mtime_ns for path in made} == made


def test_a_readme_without_the_block_is_an_error() -> None:
    """Nothing is put where it was not asked for."""
    with pytest.raises(ValueError, match=r"README\.md: no block between <!-- results --> and <!-- /results -->"):
        readme(f"text {START} more", [])
