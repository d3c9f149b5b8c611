"""Near-copies: every pair of a slow count, and what a word is."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.near_copies import SIMILARITY, grams, near_copies

words = st.lists(st.sampled_from("abcdefg"), min_size=0, max_size=40)


@st.composite
def related(draw: st.DrawFn) -> list[str]:
    """Texts of few words, some made of others by changing, adding or leaving out one."""
    texts = [draw(words) for _ in range(draw(st.integers(1, 4)))]
    for _ in range(draw(st.integers(0, 8))):
        changed = list(draw(st.sampled_from(texts)))
        place = draw(st.integers(0, len(changed)))
        changed[place : place + draw(st.integers(0, 1))] = draw(words)[:1]
        texts.append(changed)
    return [" ".join(text) for text in texts]


@given(related())
def test_pairs_are_those_of_comparing_all(texts: list[str]) -> None:
    """The index finds a pair if, and only if, the two sets of grams are as similar as it takes."""
    found = near_copies(texts)
    sets = [grams(text) for text in texts]
    for one, other in combinations(range(len(texts)), 2):
        similar = len(sets[one] & sets[other]) >= SIMILARITY * len(sets[one] | sets[other])
        assert (found.classes[other] in found.near[found.classes[one]]) == similar, (texts[one], texts[other])
        assert (found.classes[one] == found.classes[other]) == (sets[one] == sets[other])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("How many pens, in all, has Tom?", "how many PENS in all -- has tom", True),
        ("one two three four", "one two three five", False),
        ("a b c d e f g h i j k", "a b c d e f g h i j", True),  # 6 of 7 grams
        ("a b c d e f g h i", "a b c d e f g h x", False),  # 4 of 6
        (
            "\u4e16\u754c\u4f60\u597d\u5417\u670b\u53cb\u4eec\u5462\u554a",
            "\u4e16\u754c\u4f60\u597d\u5417\u670b\u53cb\u4eec\u5462",
            True,
        ),
        ("???", "!!!", False),
        ("", "", True),
    ],
)
def test_words_are_compared_without_case_and_punctuation(one: str, other: str, same: bool) -> None:
    """Five words are a gram, all of a shorter text are one; characters of a script without spaces are words."""
    found = near_copies([one, other])
    assert (found.classes[1] in found.near[found.classes[0]]) == same
