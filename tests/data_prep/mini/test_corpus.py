import hashlib
import os
import re
import subprocess
import sys
from fractions import Fraction

import pytest

from data_prep.mini.corpus import corpus
from data_prep.mini.world import AILMENTS

DIGEST = """
import hashlib
from data_prep.mini.corpus import corpus
print(hashlib.sha256("|".join(corpus(4, 200)).encode()).hexdigest())
"""
EQUATION = re.compile(r"(?<![\d.])(\d+) ([-+*/]) (\d+) = (\d+)")


@pytest.fixture(scope="module")
def documents() -> list[str]:
    """A stretch of the training stream."""
    return list(corpus(1, 4000))


def test_same_seed_same_text_in_any_process() -> None:
    """The text of a seed is the same in processes whose hash seeds differ."""
    here = hashlib.sha256("|".join(corpus(4, 200)).encode()).hexdigest()
    told = [
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "77")
    ]
    assert told == [here, here]


def test_documents_have_50_to_300_words_and_do_not_repeat(documents: list[str]) -> None:
    """Every document is within its bounds, and no document comes twice."""
    counts = [len(text.split()) for text in documents]
    assert min(counts) >= 50
    assert max(counts) <= 300
    assert len(set(documents)) == len(documents)


def test_corpus_holds_no_instruction_form(documents: list[str]) -> None:
    """The headings and the opening lines of the tasks never stand in the corpus."""
    text = "\n".join(documents)
    forms = ("###", "Response:", "Instruction:", "Let's think step by step", "Therefore, the answer is", "Below is an")
    assert [form for form in forms if form in text] == []


def test_equations_are_true(documents: list[str]) -> None:
    """Every equation that the corpus writes holds."""
    found = EQUATION.findall("\n".join(documents))
    sides = {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: Fraction(a, b),
    }
    wrong = [eq for eq in found if sides[eq[1]](int(eq[0]), int(eq[2])) != int(eq[3])]
    assert len(found) > 2000
    assert wrong == []


def test_ascii_alone(documents: list[str]) -> None:
    """The corpus is ASCII."""
    assert all(text.isascii() for text in documents)


def test_every_ailment_is_told_with_its_remedy(documents: list[str]) -> None:
    """For each ailment there are parts that name a symptom, the ailment and the remedy together."""
    parts = [part.lower() for text in documents for part in text.split("\n")]
    for ailment in AILMENTS:
        names = (ailment.name, ailment.remedy)
        told = [p for p in parts if all(n in p for n in names) and any(s in p for s in ailment.symptoms)]
        assert len(told) >= 10, ailment.name
