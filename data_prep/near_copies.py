"""Near-copies among texts: those whose sets of 5-grams of words have a Jaccard similarity of at least 0.8.

Standard library only. Every such pair is found, by an inverted index over prefixes: of two sets with a similarity of t,
the n - ceil(t n) + 1 rarest grams of one and of the other have one in common, so only sets that share such a gram are
compared, exactly. See: Bayardo et al., 2007 (the index); Lee et al., 2022 (5-grams of words, 0.8).
"""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WORDS = 5
SIMILARITY = 0.8
# Letters and digits between others; where a script puts no space between words, each character is one.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"
)


@dataclass(frozen=True, slots=True)
class NearCopies:
    """Each text's class (texts of the same grams are of one), and the classes near each class, itself included."""

    classes: list[int]
    near: list[set[int]]


def grams(text: str) -> frozenset[int]:
    """Hashes of a text's 5-grams of words, in lower case without punctuation; of a shorter text, of all its words."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold()) or [text]
    return frozenset(hash(tuple(words[i : i + WORDS])) for i in range(max(1, len(words) - WORDS + 1)))


def near_copies(texts: Sequence[str]) -> NearCopies:
    """Which of the texts are near-copies of which."""
    known: dict[frozenset[int], int] = {}
    classes = [known.setdefault(grams(text), len(known)) for text in texts]
    near = [{number} for number in range(len(known))]
    for one, other in _similar(list(known)):
        near[one].add(other)
        near[other].add(one)
    return NearCopies(classes, near)


def _similar(sets: Sequence[frozenset[int]]) -> Iterator[tuple[int, int]]:
    """The pairs of sets, by their places, whose Jaccard similarity is at least `SIMILARITY`."""
    counts = Counter(gram for members in sets for gram in members)
    index: dict[int, list[int]] = defaultdict(list)
    for place in sorted(range(len(sets)), key=lambda place: len(sets[place])):
        members = sets[place]
        size = len(members)
        rarest = sorted(members, key=lambda gram: (counts[gram], gram))[: size - math.ceil(SIMILARITY * size) + 1]
        shared = [gram for gram in rarest if counts[gram] > 1]
        candidates = {other for gram in shared for other in index[gram] if len(sets[other]) >= SIMILARITY * size}
        for other in candidates:
            common = len(members & sets[other])
            if common >= SIMILARITY * (size + len(sets[other]) - common):
                yield other, place
        for gram in shared:
            index[gram].append(place)
