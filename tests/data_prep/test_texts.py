"""What a text looks like, case by case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep import texts


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Why so?", "latin"), ("Größe, naïve", "latin"), ("1 + 1 = 2", "none"), ("", "none"), ("世界, 你好 ok", "cjk"),
        ("こんにちは", "cjk"), ("Привет, мир", "cyrillic"), ("안녕하세요", "hangul"), ("שלום", "hebrew"),
        ("مرحبا", "arabic"), ("नमस्ते", "devanagari"), ("Ελλάδα", "greek"), ("ab 世界", "mixed"),
        ("世1", "cjk"), ("😀", "none"),
    ],
)  # fmt: skip
def test_script_is_that_of_most_letters(text: str, script: str) -> None:
    """More than half of the letters decide; half is mixed, and digits and signs are no letters."""
    assert texts.script(text) == script


@pytest.mark.parametrize("text", ["a\0b", "\x07", "x\x1b[0m", "\x7f", "a\x85b", "\x0b"])
def test_control_characters_are_found(text: str) -> None:
    """Control characters of both blocks count."""
    assert texts.has_control(text)


@pytest.mark.parametrize("text", ["", "a\tb\nc\r\n", "é\u00a0", "\u200b"])
def test_tab_and_line_ends_are_none(text: str) -> None:
    """Tab, line feed, carriage return and what is only invisible do not."""
    assert not texts.has_control(text)


@given(st.text(st.characters(min_codepoint=0xA1, max_codepoint=0xFF), min_size=1, max_size=8))
def test_latin_text_read_wrongly_is_broken(text: str) -> None:
    """Any Latin-1 text whose UTF-8 was read as Latin-1 is found."""
    assert texts.is_broken(f"a {text.encode().decode('latin-1')} b")


@pytest.mark.parametrize("right", ["it\u2019s", "\u201cso\u201d", "café", "naïve \u2013 yes", "€ 5", "°C", "…"])
def test_text_read_wrongly_is_broken_and_text_is_not(right: str) -> None:
    """The usual victims are found once their UTF-8 is read as Windows-1252, and not before."""
    assert not texts.is_broken(right)
    shown = "".join(bytes([b]).decode("cp1252", "ignore") or chr(b) for b in right.encode())
    assert texts.is_broken(shown)


@pytest.mark.parametrize("text", ["", "plain", "Größe", "São Paulo É", "世界", "Ã", "Привет", "x² ± 5°"])
def test_text_in_other_languages_is_not_broken(text: str) -> None:
    """Accents and other scripts by themselves are no sign of a broken encoding."""
    assert not texts.is_broken(text)


def test_replacement_character_is_broken() -> None:
    """U+FFFD stands where something could not be read."""
    assert texts.is_broken("caf\ufffd")


@pytest.mark.parametrize(
    ("kind", "yes", "no"),
    [
        ("e-mail", ["write to a.b+c@mail.example.org.", "<x@y.de>"], ["@name", "a@b", "x @ y.com", "a@1.2"]),
        ("phone", ["(555) 123-4567", "call 555-123-4567.", "+1 555 123 4567"], ["1234567890", "12-34-5678", "3.14159"]),
        ("IPv4", ["at 192.168.0.1:80", "10.0.0.255"], ["1.2.3", "1.2.3.4.5", "256.1.1.1", "v1.2.3.4"]),
        ("card", ["4111 1111 1111 1111", "5500-0055-5555-5559"], ["4111 1111 1111 1112", "1234567890123456", "4" * 16]),
        ("SSN", ["078-05-1120"], ["000-12-3456", "666-12-3456", "123-00-4567", "978-05-1120", "1078-05-1120"]),
    ],
)
def test_personal_patterns(kind: str, yes: list[str], no: list[str]) -> None:
    """Each kind is found where it stands and not in what only resembles it."""
    assert [text for text in yes if not texts.PERSONAL[kind](text)] == []
    assert [text for text in no if texts.PERSONAL[kind](text)] == []
