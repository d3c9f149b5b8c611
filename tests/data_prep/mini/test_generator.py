import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data_prep import canonical, folders, mini, reading, tasks
from data_prep.mini import generator
from data_prep.mini.world import AILMENTS
from hycam_exp.config.compose import compose

TASKS = ("mini_reasoning", "mini_medical", "mini_passage", "mini_code", "mini_sources")


@pytest.fixture(scope="module")
def drawn() -> dict[str, list]:
    """All rows of all tasks, as a run uses them."""
    return {task: generator.rows(task) for task in TASKS}


@pytest.mark.parametrize("task", TASKS)
def test_two_thousand_rows_with_distinct_prompts(drawn: dict[str, list], task: str) -> None:
    """A task has 2,000 rows, and at least 95% of its prompts differ."""
    rows = drawn[task]
    assert len(rows) == 2000
    assert len({generator.prompt(row) for row in rows}) >= 1900


def test_groups_are_many(drawn: dict[str, list]) -> None:
    """Passages and questions, by which folds are cut, are mostly different ones."""
    assert len({row["context"] for row in drawn["mini_passage"]}) > 1700
    assert len({row[0]["question"]["full_text"] for row in drawn["mini_sources"]}) > 1700


def test_fewer_rows_are_the_first_ones(drawn: dict[str, list]) -> None:
    """Asking for fewer rows gives the start of the same list; another seed gives another one."""
    assert {task: generator.rows(task, 20) for task in TASKS} == {task: drawn[task][:20] for task in TASKS}
    assert generator.rows("mini_passage", 20, seed=1) != drawn["mini_passage"][:20]


def test_rows_have_the_upstream_fields(drawn: dict[str, list]) -> None:
    """Each row has exactly the fields of its real set, with texts that are not empty where an answer stands."""
    fields = {
        "mini_reasoning": ["instruction", "input", "output"],
        "mini_medical": ["input", "answer_icliniq"],
        "mini_passage": ["instruction", "context", "response", "category"],
        "mini_code": ["instruction", "input", "output"],
    }
    for task, names in fields.items():
        assert {tuple(row) for row in drawn[task]} == {tuple(names)}
    sides = [side for row in drawn["mini_sources"] for side in row]
    assert {tuple(side) for side in sides} == {("question", "quotes", "answer", "tokens", "score")}
    assert {tuple(side["question"]) for side in sides} == {("dataset", "id", "full_text")}
    assert {tuple(side["quotes"]) for side in sides} == {("title", "extract")}


def test_command_writes_records_that_training_reads(tmp_path: Path) -> None:
    """The command writes a file for each task, the same bytes under any hash seed, read as any canonical one."""
    for seed in ("0", "99"):
        command = [sys.executable, "-m", "data_prep.mini", "--out", str(tmp_path / seed), "--count", "60"]
        paths = os.pathsep.join(sys.path)
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths})
    first, second = (
        {str(path.relative_to(tmp_path / seed)): path.read_bytes() for path in (tmp_path / seed).rglob("*.parquet")}
        for seed in ("0", "99")
    )
    assert first == second
    assert sorted(first) == sorted(f"{task}/{task}.parquet" for task in TASKS)
    for task in TASKS:
        assert reading.read(task, str(tmp_path / "0"), alone=False).records == generator.records(task, 60)
    assert list(folders.folders(tmp_path / "0")) == sorted(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_committed_records_are_what_the_generator_makes(task: str) -> None:
    """The records that lie in the package are the generator's, record by record; by the same pyarrow, byte by byte."""
    path = mini.RECORDS / task / f"{task}.parquet"
    records = generator.records(task)
    assert list(canonical.read(task, path)) == records
    made = canonical.encoded(records)
    if pq.ParquetFile(path).metadata.created_by == pq.ParquetFile(io.BytesIO(made)).metadata.created_by:
        assert path.read_bytes() == made


def test_no_task_is_called_as_a_real_set() -> None:
    """Names of the generated tasks are their own, in the package and in data=mini."""
    assert tuple(generator.TASKS) == mini.TASKS
    assert compose().data.tasks == list(mini.TASKS)
    assert not set(mini.TASKS) & set(tasks.TASKS)


def test_unknown_task_is_named() -> None:
    """A task that does not exist is an error that names it."""
    with pytest.raises(ValueError, match="'mini_reasonin'"):
        generator.rows("mini_reasonin")


def test_too_few_prompts_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that cannot give enough distinct prompts says so instead of repeating itself."""
    same = generator.Drawn("dolly", lambda rng, number: {"instruction": "the same"})
    monkeypatch.setitem(generator.TASKS, "mini_passage", same)
    with pytest.raises(ValueError, match=r"mini_passage has no 2 distinct prompts \(found 1\)"):
        generator.rows("mini_passage", 2)


SOLUTIONS: dict[str, Callable[..., float]] = {
    "are left?": lambda start, gain, loss: start + gain - loss,
    "in all?": lambda a, b, c: a + b + c,
    "have?": lambda boxes, each, extra: boxes * each + extra,
    "one get?": lambda whole, kept, friends: (whole - kept) / friends,
    "come back?": lambda count, price, paid: paid - count * price,
    "together?": lambda own, more: own + own + more,
    "whole trip?": lambda first, second: 2 * (first + second),
    "years?": lambda now, older, years: now + older + years,
}


def solve(problem: str) -> str:
    """The answer of a word problem, worked out from its text alone."""
    asked = re.search(r"Who is the (\w+)\?", problem)
    if asked:
        (top, better, middle), (other, _, low) = re.findall(r"(\w+) is (\w+) than (\w+)", problem)
        names = [top, middle, low] if middle == other else [other, low, middle]
        return names[0] if better[:3] == asked[1][:3] else names[-1]
    solution = next(value for ending, value in SOLUTIONS.items() if problem.endswith(ending))
    return f"{solution(*map(int, re.findall(r'[0-9]+', problem))):g}"


def test_reasoning_answers_follow_from_the_problem(drawn: dict[str, list]) -> None:
    """The last word of the reasoning is what the problem's own numbers give."""
    wrong = [
        row
        for row in drawn["mini_reasoning"]
        if row["output"].rsplit("the answer is ", 1)[1] != f"{solve(row['instruction'])}."
    ]
    assert wrong == []


def test_reasoning_steps_are_true(drawn: dict[str, list]) -> None:
    """Each equation of each reasoning holds."""
    sides = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__floordiv__}
    found = [eq for row in drawn["mini_reasoning"] for eq in re.findall(r"(\d+) (.) (\d+) = (\d+)", row["output"])]
    assert len(found) > 3000
    assert [(a, sign, b, c) for a, sign, b, c in found if sides[sign](int(a), int(b)) != int(c)] == []


def test_medical_answers_follow_from_the_symptoms_and_the_days(drawn: dict[str, list]) -> None:
    """Symptoms give ailment, remedy and advice; more than seven days give the clinic, fewer give rest."""
    for row in drawn["mini_medical"]:
        (ailment,) = [a for a in AILMENTS if sum(symptom in row["input"] for symptom in a.symptoms) == 2]
        days = int(re.search(r"(\d+) days", row["input"])[1])
        answer = row["answer_icliniq"]
        assert f"point to {ailment.name}. Try {ailment.remedy} and {ailment.advice}." in answer
        assert f"{days} days, " in answer
        assert (f"visit the {ailment.clinic} clinic" in answer) == (days > 7)
        assert ("rest at home and wait" in answer) == (days <= 7)


def weighty(text: str) -> set[str]:
    """Numbers and names: the words that an answer can only have from its text."""
    return set(re.findall(r"\d+|[A-Z][a-z]+", text))


def test_passage_answers_stand_in_the_passage(drawn: dict[str, list]) -> None:
    """Each name and number of an answer is a word of the passage, and each category occurs."""
    own = {"According", "The", "In", "River"}
    for row in drawn["mini_passage"]:
        if row["context"]:
            assert weighty(row["response"]) - weighty(row["context"]) <= own, row
    categories = {row["category"] for row in drawn["mini_passage"]}
    assert categories == {"closed_qa", "information_extraction", "summarization", "open_qa"}


def test_passage_answers_turn_on_the_passage(drawn: dict[str, list]) -> None:
    """A closed question is not answered by its own words: the response holds words that only the passage has."""
    for row in drawn["mini_passage"]:
        if row["category"] == "closed_qa":
            told = set(re.findall(r"\w+", row["response"])) - set(re.findall(r"\w+", row["instruction"]))
            assert told & set(re.findall(r"\w+", row["context"])), row


def test_passage_knowledge_is_of_the_world(drawn: dict[str, list]) -> None:
    """A question without a passage is answered with the remedy of the ailment that it names."""
    for row in drawn["mini_passage"]:
        if not row["context"]:
            ailment = max((a for a in AILMENTS if a.name in row["instruction"]), key=lambda a: len(a.name))
            assert (
                row["response"] == f"The remedy for {ailment.name} is {ailment.remedy}. It is good to {ailment.advice}."
            )


EXPECTED: tuple[tuple[str, Callable], ...] = (
    (r"adds (\d) to every", lambda k, v: [sum((int(k), x)) for x in v]),
    (r"multiplies every number in a list by (\d)", lambda k, v: [sum([x] * int(k)) for x in v]),
    (r"subtracts (\d) from every", lambda k, v: [x + -int(k) for x in v]),
    (r"keeps the numbers greater than (\d)", lambda k, v: list(filter(int(k).__lt__, v))),
    (r"keeps the numbers smaller than (\d)", lambda k, v: list(filter(int(k).__gt__, v))),
    (r"keeps the numbers that (\d) divides", lambda k, v: [x for x in v if x in range(0, 99, int(k))]),
    (r"counts the numbers greater than (\d)", lambda k, v: len([x for x in v if not x <= int(k)])),
    (r"counts how often (\d) is", lambda k, v: len([x for x in v if x == int(k)])),
    (r"tells whether (\d) is in", lambda k, v: any(x == int(k) for x in v)),
    (r"drops the first (\d) items", lambda k, v: [x for i, x in enumerate(v) if i >= int(k)]),
    (r"gives the last (\d) items", lambda k, v: [x for i, x in enumerate(v) if i >= len(v) - int(k)]),
    (r"adds up all numbers", lambda v: v[0] + sum(v[1:])),
    (r"adds up the squares", lambda v: sum(abs(x) ** 2 for x in v)),
    (r"finds the largest number", lambda v: sorted(v)[-1]),
    (r"finds the smallest number", lambda v: sorted(v)[0]),
    (r"gives the largest number minus", lambda v: sorted(v)[-1] - sorted(v)[0]),
    (r"sorts a list from high to low", lambda v: [-x for x in sorted(-x for x in v)]),
    (r"turns a list around", lambda v: list(reversed(v))),
    (r"gives the whole part of the mean", lambda v: int(sum(v) / len(v))),
    (r"counts the letter (\w) in", lambda c, v: len([x for x in v if x == c])),
    (r"replaces every (\w) by (\w) in", lambda c, d, v: "".join(d if x == c else x for x in v)),
    (r"gives the first (\d) letters", lambda k, v: "".join(x for i, x in enumerate(v) if i < int(k))),
    (r"repeats a text (\d) times", lambda k, v: "".join(v for _ in range(int(k)))),
    (r"tells whether a text starts with (\w)", lambda c, v: v[0] == c),
    (r"turns a text around", lambda v: "".join(reversed(v))),
    (r"writes a text in upper case", lambda v: "".join(x.upper() for x in v)),
    (r"keeps the words longer than (\d)", lambda k, v: [w for w in v if w[int(k) :]]),
    (r"keeps the words that start with (\w)", lambda c, v: [w for w in v if w[0] == c]),
    (r"tells whether (\d) divides", lambda k, v: v / int(k) == v // int(k)),
    (r"raises a number to the power (\d)", lambda k, v: pow(v, int(k))),
    (r"lists the multiples of (\d) up to", lambda k, v: [x for x in range(1, v + 1) if x % int(k) == 0]),
    (r"adds up the numbers from (\d) to", lambda k, v: (v * (v + 1) - int(k) * (int(k) - 1)) // 2),
)  # fmt: skip


def expected(instruction: str, example: object) -> object:
    """What the instruction asks for, on an example, computed in another way than the answers do."""
    pattern, reference = next(pair for pair in EXPECTED if re.search(pair[0], instruction))
    return reference(*re.search(pattern, instruction).groups(), example)


EXAMPLES = {
    **{name: [3, 8, 12, 5, 8] for name in ("numbers", "values", "prices", "ages", "scores", "items")},
    **dict.fromkeys(("text", "word", "title", "name", "line"), "harbour"),
    **{name: ["pens", "miller", "oil"] for name in ("words", "names", "towns")},
    **dict.fromkeys(("number", "count", "size", "limit"), 24),
}


def test_code_runs_and_is_right(drawn: dict[str, list]) -> None:
    """Each function, called as its record says, gives what an independent reading of the instruction gives."""
    for row in drawn["mini_code"]:
        scope: dict[str, object] = {}
        exec(row["output"], scope)
        name, argument = re.search(r"def (\w+)\((\w+)\)", row["output"]).groups()
        assert f" {name} " in row["instruction"]
        assert scope[name](EXAMPLES[argument]) == expected(row["instruction"], EXAMPLES[argument]), row
        if row["input"]:
            exec(row["input"], scope)
            assert scope["result"] == expected(row["instruction"], scope[argument]), row
        else:
            assert row["instruction"].endswith(f"Its argument is {argument}.")


def test_code_covers_every_instruction(drawn: dict[str, list]) -> None:
    """All 32 kinds of function occur, with and without an example."""
    asked = "\n".join(row["instruction"] for row in drawn["mini_code"])
    assert [pattern for pattern, _ in EXPECTED if not re.search(pattern, asked)] == []
    assert 800 < sum(not row["input"] for row in drawn["mini_code"]) < 1200


def test_sources_cites_quotes_that_say_it(drawn: dict[str, list]) -> None:
    """Each citation names a quote that is there, and the names and numbers of its claim stand in it or the question."""
    for first, _ in drawn["mini_sources"]:
        extracts, question = first["quotes"]["extract"], first["question"]["full_text"]
        claims = re.findall(r"([^\[\]]+) \[(\d)\]", first["answer"])
        assert len(claims) == 2
        for claim, number in claims:
            sentence = claim.rsplit(". ", 1)[-1]
            known = weighty(extracts[int(number) - 1]) | weighty(question) | {"The", "It"}
            assert weighty(sentence) <= known, first


def test_sources_orders_by_the_quotes(drawn: dict[str, list]) -> None:
    """The older town is the one with the smaller year, the cheaper one that with the lower price, by the quotes."""
    for first, _ in drawn["mini_sources"]:
        winner = re.search(r"(?:(\w+) is older|cheaper in (\w+))", first["answer"])
        if winner:
            text = " ".join(first["quotes"]["extract"])
            years = {town: int(year) for town, year in re.findall(r"(\w+) was [a-z ]+ in (\d+)", text)}
            prices = {town: int(price) for price, town in re.findall(r"costs (\d+) coins in (\w+)", text)}
            found = years or prices
            assert len(found) == 2
            assert (winner[1] or winner[2]) == min(found, key=found.__getitem__), first


def test_sources_prefers_the_first_answer(drawn: dict[str, list]) -> None:
    """The first answer has the higher score, both share question and quotes, and both cite quotes that exist."""
    for first, second in drawn["mini_sources"]:
        assert first["score"] > second["score"]
        assert (first["question"], first["quotes"]) == (second["question"], second["quotes"])
        count = len(first["quotes"]["extract"])
        assert count == len(first["quotes"]["title"])
        cited = re.findall(r"\[(\d+)\]", first["answer"] + second["answer"])
        assert all(1 <= int(number) <= count for number in cited)
