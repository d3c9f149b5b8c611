"""Records: identity from content, never from place."""

import hashlib
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hycam_exp.data.records import Record, content_hash, digest, identified, normalise
from hycam_exp.runtime.require import require_plain_name

ROW = Record(task="dolly", instruction="Sum up.", input="A text.", output="A word.", group="a text.")


def drawn(number: int) -> Record:
    return replace(ROW, instruction=f"Question {number}?", group=f"question {number}?")


def reference_digest(*parts: str) -> str:
    joined = b""
    for part in parts:
        joined += len(part.encode()).to_bytes(8, "little") + part.encode()
    return hashlib.sha256(joined).hexdigest()


def test_normalise_ignores_case_spacing_and_width() -> None:
    """Case, white space, punctuation and compatibility forms do not tell two prompts apart; symbols do."""
    assert normalise("\u00a0\uff37hat  is\n\tthe STRASSE? ") == normalise("what is: the `straße`") == "whatisthestrasse"
    assert normalise("Is 3+4 < $8?") == "is3+4<$8" != normalise("Is 3-4 < $8?")
    assert normalise(" ? !\n") == "? !" != normalise("?")


@given(st.text())
def test_normalise_ignores_composition(text: str) -> None:
    """Canonically equivalent texts are the same prompt, and so are texts that differ in spacing."""
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert normalise(unicodedata.normalize(form, text)) == normalise(text)
    assert normalise(f"\n{text}  ") == normalise(text)


@given(st.text(), st.text())
def test_normalise_goes_text_by_text(first: str, second: str) -> None:
    """Two texts with a letter in them, joined by any spacing, are their normalised texts joined."""
    first, second = f"a{first}", f"b{second}"
    assert normalise(f"{first} ,\n {second}") == normalise(first) + normalise(second)


@given(st.lists(st.text(), max_size=4))
def test_digest_is_sha256_over_lengths_and_bytes(parts: list[str]) -> None:
    """Every part enters with its length in bytes before it."""
    assert digest(*parts) == reference_digest(*parts)


@given(st.text(min_size=1), st.text())
def test_digest_sees_where_a_part_ends(first: str, second: str) -> None:
    """Moving a character over the border of two parts gives another digest."""
    assert digest(first, second) != digest(first[:-1], first[-1] + second)


def test_digest_takes_a_lone_surrogate() -> None:
    """A text that is not encodable as UTF-8 has a digest of its own."""
    assert len({digest("\ud800"), digest("\ud801"), digest("?")}) == 3


def test_id_is_the_digest_of_the_content() -> None:
    """The id is the first 16 hex digits over task, instruction, input and output."""
    expected = reference_digest("dolly", "Sum up.", "A text.", "A word.")[:16]
    assert identified([ROW]) == [replace(ROW, id=expected)]


@pytest.mark.parametrize("field", ["task", "instruction", "input", "output"])
def test_id_changes_with_every_field_of_the_content(field: str) -> None:
    """Each of the four fields alone makes another id."""
    changed = replace(ROW, **{field: getattr(ROW, field) + "!"})
    assert identified([ROW])[0].id != identified([changed])[0].id


@pytest.mark.parametrize("change", [{"group": "other"}, {"metadata": {"category": "qa"}}, {"id": "before"}])
def test_id_ignores_what_is_not_content(change: dict) -> None:
    """Group, metadata and an earlier id do not enter the id."""
    assert identified([ROW])[0].id == identified([replace(ROW, **change)])[0].id


def test_exact_duplicates_are_numbered() -> None:
    """The second and third copy of a record get -2 and -3."""
    ids = [record.id for record in identified([ROW, ROW, ROW])]
    assert ids == [ids[0], f"{ids[0]}-2", f"{ids[0]}-3"]


@given(st.lists(st.integers(0, 5), max_size=20), st.randoms(use_true_random=False))
def test_identified_forgets_the_order_of_rows(numbers: list[int], random) -> None:
    """The same rows in another order give the same records in the same order, all with different ids."""
    rows = [drawn(n) for n in numbers]
    shuffled = random.sample(rows, len(rows))
    found = identified(rows)
    assert found == identified(shuffled)
    assert len({record.id for record in found}) == len(rows)
    assert sorted(record.instruction for record in found) == sorted(record.instruction for record in rows)


def test_content_hash_forgets_order_and_sees_ids_and_groups() -> None:
    """One hash for the same records in any order, another one when a record or a group differs."""
    records = identified([drawn(n) for n in range(4)])
    regrouped = [replace(records[0], group="other"), *records[1:]]
    assert content_hash(records) == content_hash(records[::-1])
    assert len({content_hash(records), content_hash(records[1:]), content_hash(regrouped), content_hash([])}) == 4


@pytest.mark.parametrize("name", ["mini", "Llama-3.1_8B", "x" * 80, "0", "_x", "-", "a..b"])
def test_a_plain_name_is_part_of_a_file_s_name(name: str) -> None:
    """Letters, digits and ._- are."""
    require_plain_name("data.name", name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".x", "../x", "/x", "a/b", "a b", "a\nb", "é", "世", "x" * 81, "a\n", None, 3]
)
def test_any_other_name_is_refused_in_one_line(name: object) -> None:
    """With its field and, however long it is or whatever it holds, a line that can be read."""
    with pytest.raises(ValueError, match=r"^data\.name=[ -~]*: must be a plain name: [ -~]*$") as caught:
        require_plain_name("data.name", name)
    assert len(str(caught.value)) < 200
