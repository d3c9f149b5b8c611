"""The paper's tables against themselves."""

import dataclasses

from hycam_exp.report.claims.consistency import CLAIMS, implausible, wrong_marks
from hycam_exp.report.claims.statements import FAILS, HOLDS, UNKNOWN
from hycam_exp.report.published import Published, read


def verdicts(published: Published) -> dict[str, str]:
    return {claim.id: claim.found(published, []).published.verdict for claim in CLAIMS}


def test_two_marks_of_table_5_are_certainly_wrong() -> None:
    """Multi LoRA and HyCAM in Dolly's BLEU; RieMoE-LoRA in iCliniq's is a tie as printed, which digits not shown may
    have decided; every other mark of all tables is right."""
    published = read()
    found = {name: wrong_marks(cells, published.scoreboard(name)) for name, cells in published.tables.items()}
    *others, fifth = found.values()
    assert others == [[], [], []]
    assert [(mark.text.split(" ", 1)[1], mark.is_certain) for mark in fifth] == [
        ("Multi LoRA dolly bleu4 0.101 is marked nothing, not second", True),
        ("RieMoE-LoRA icliniq bleu4 0.051 is marked nothing, not second", False),
        ("HyCAM dolly bleu4 0.093 is marked second, not nothing", True),
    ]
    (claim,) = [claim for claim in CLAIMS if claim.id == "marks_table5"]
    finding = claim.found(published, []).published
    assert (finding.values["inconsistent"], finding.values["certain"]) == (3, 2)


def test_a_star_without_improvement_is_wrong() -> None:
    """A baseline has none, nor has HyCAM where a PEFT baseline is better."""
    published = read()
    cells = [
        dataclasses.replace(cell, starred=True)
        for cell in published.tables["table5_tasks_llama2_7b"]
        if cell.column == "dolly" and cell.metric == "ppl" and cell.method in ("hycam", "lora")
    ]
    marks = wrong_marks(cells, published.scoreboard("table5_tasks_llama2_7b"))
    found = [mark for mark in marks if "starred" in mark.text]
    assert len(found) == 2


def test_code_alpacas_number_of_samples_is_wrong_and_no_other() -> None:
    """20,222 where tokens and average give 20,021 to 20,022; the typo corrected, all rows agree."""
    published = read()
    wrong = {row.task: implausible(row) for row in published.datasets if implausible(row)}
    assert list(wrong) == ["code_alpaca"]
    assert "20,222 samples, its tokens and their average give 20,021 to 20,022" in wrong["code_alpaca"]
    rows = [
        dataclasses.replace(row, samples=20_022) if row.task == "code_alpaca" else row for row in published.datasets
    ]
    assert verdicts(dataclasses.replace(published, datasets=rows))["sample_counts"] == HOLDS


def test_what_the_tables_say_of_each_other() -> None:
    """Marks and counts as above; Tables 2, 3 and 6 agree; no average of Table 5 gives Table 2."""
    assert verdicts(read()) == {
        "sample_counts": FAILS, "marks_table2": HOLDS, "marks_table3": HOLDS, "marks_table4": HOLDS,
        "marks_table5": FAILS, "tables_2_and_3": HOLDS, "tables_2_and_6": HOLDS, "table_2_from_table_5": FAILS,
    }  # fmt: skip


def test_an_average_that_is_one_is_recognised() -> None:
    """With Table 2's column replaced by the token-weighted mean of the tasks the statement holds."""
    published = read()
    tasks = published.scoreboard("table5_tasks_llama2_7b").values
    tokens = {row.task: row.total_tokens for row in published.datasets}

    def mean(method: str, metric: str) -> float:
        weighted = sum(tokens[task] * tasks[method, task, metric] for task in tokens)
        return round(weighted / sum(tokens.values()), 3)

    main = [
        dataclasses.replace(cell, value=mean(cell.method, cell.metric)) if cell.column == "llama2_7b" else cell
        for cell in published.tables["table2_main"]
    ]
    found = verdicts(dataclasses.replace(published, tables={**published.tables, "table2_main": main}))
    assert (found["table_2_from_table_5"], found["tables_2_and_6"]) == (HOLDS, FAILS)


def test_tables_without_common_columns_tell_nothing() -> None:
    """Without Llama2-7B and Qwen2.5-7B in Table 2 there is nothing to compare."""
    published = read()
    main = [cell for cell in published.tables["table2_main"] if cell.column == "mistral_7b"]
    found = verdicts(dataclasses.replace(published, tables={**published.tables, "table2_main": main}))
    assert {found[name] for name in ("tables_2_and_3", "tables_2_and_6", "table_2_from_table_5")} == {UNKNOWN}
