"""What a text looks like: its script, control characters, broken encodings, personal data. Standard library only.

Patterns, not proofs: a broken encoding is what UTF-8 looks like when read as Windows-1252 or Latin-1, personal data is
what looks like an e-mail address, a phone number, an IPv4 address, a card number with its check digit, or a US SSN.
"""

import re
from collections.abc import Callable
from functools import cache

SCRIPTS = {
    "latin": r"A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff",
    "cyrillic": r"\u0400-\u052f",
    "greek": r"\u0370-\u03ff\u1f00-\u1fff",
    "cjk": r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f",
    "hangul": r"\u1100-\u11ff\uac00-\ud7af",
    "arabic": r"\u0600-\u06ff\u0750-\u077f",
    "hebrew": r"\u0590-\u05ff",
    "devanagari": r"\u0900-\u097f",
}
_LETTERS = {name: re.compile(f"[{characters}]+") for name, characters in SCRIPTS.items()}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def script(text: str) -> str:
    """The script of more than half of the letters; "mixed" where there is none, "none" without letters."""
    if text.isascii():
        return "latin" if _LETTERS["latin"].search(text) else "none"
    counts = {name: sum(map(len, pattern.findall(text))) for name, pattern in _LETTERS.items()}
    letters = sum(map(str.isalpha, text))
    if not letters:
        return "none"
    name = max(counts, key=lambda name: counts[name])
    return name if 2 * counts[name] > letters else "mixed"


def has_control(text: str) -> bool:
    """Whether there is a control character other than tab and line ends."""
    return _CONTROL.search(text) is not None


@cache
def _mojibake() -> re.Pattern[str]:
    """A UTF-8 sequence of two or three bytes, its bytes shown as Windows-1252 or Latin-1 shows them."""
    shown = {byte: bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(0x80, 0x100)}
    rest = "".join(re.escape(shown[byte] + chr(byte)) for byte in range(0x80, 0xC0))
    three = "".join(shown[byte] for byte in range(0xE0, 0xF0))
    return re.compile(f"[{shown[0xC2]}{shown[0xC3]}][{rest}]|[{three}][{rest}]{{2}}")


def is_broken(text: str) -> bool:
    """Whether there is a replacement character, or UTF-8 that was read as Windows-1252."""
    return not text.isascii() and ("\ufffd" in text or _mojibake().search(text) is not None)


def _matches(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.search(text) is not None


_CARD = re.compile(r"(?<![\w.-])(?:\d[ -]?){12,18}\d(?![\w-])")


def has_card(text: str) -> bool:
    """Whether there is a number of 13 to 19 digits with a card's check digit and first digit."""
    numbers = (re.sub(r"\D", "", match) for match in _CARD.findall(text))
    return any(number[0] in "3456" and len(set(number)) > 1 and _checks(number) for number in numbers)


def _checks(number: str) -> bool:
    """Luhn's test."""
    digits = [int(digit) for digit in reversed(number)]
    return (sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0


_BYTE = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
PERSONAL: dict[str, Callable[[str], bool]] = {
    "e-mail": _matches(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})*\.[A-Za-z]{2,24}\b"),
    "phone": _matches(r"(?<![\w.+/=-])(?:\+\d{1,3}[ .-]?)?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-])"),
    "IPv4": _matches(rf"(?<![\w.]){_BYTE}(?:\.{_BYTE}){{3}}(?![\w.]*\d)"),
    "card": has_card,
    "SSN": _matches(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])"),
}
"""By kind, whether a text has something that looks like it."""
