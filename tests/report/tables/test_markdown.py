"""Markdown, sign by sign."""

from hycam_exp.report.tables.markdown import escape, markdown, page
from hycam_exp.report.tables.table import compared, published
from tests.report.toy import toy_table

EXPECTED = r"""## A toy.

| Method | A\_1 PPL DOWN | A\_1 BLEU-4 UP |
| --- | ---: | ---: |
| LoRA & co | <u>2.000</u> PM 0.250 | <u>0.100</u> PM 0.010 |
| HyCAM | **1.500**\* PM 0.125 | **0.200**(\*)DAGGER |
| 100%\_new | 1.000 (3/5) | DASH |

Means over folds PM sample standard deviation. Best of a column bold, second best underlined, as printed. (k/5): the \
mean of k of 5 folds, not ranked, never starred. \*: better than the best PEFT baseline, p \< 0.05 after Holm's \
correction over the table both by the paired t-test over folds and by the corrected resampled one, which decides, its \
p being the larger. (\*): better than the best PEFT baseline, p \< 0.05 by the paired t-test over folds alone and \
without a correction, as in the paper. DAGGER: of records that differ in more than their fold. DASH: no value.

- x \< y \| z
- what is missing: `make toy`
""".replace("\\\n", "")  # fmt: skip
SIGNS = {
    "DOWN": "\N{DOWNWARDS ARROW}", "UP": "\N{UPWARDS ARROW}", "PM": "\N{PLUS-MINUS SIGN}",
    "DAGGER": "\N{DAGGER}", "DASH": "\N{EN DASH}",
}  # fmt: skip


def test_a_table_is_exactly_this() -> None:
    """Marks, stars, spreads, folds, the legend of what occurs, notes, and the command for what is missing."""
    expected = EXPECTED
    for name, sign in SIGNS.items():
        expected = expected.replace(name, sign)
    assert markdown(toy_table()) == expected


def test_a_page_holds_the_forms_below_each_other() -> None:
    """Sections are lines of their own; the paper's star is explained as the paper's."""
    text = page([toy_table(), published(toy_table()), compared(toy_table())])
    assert text.count("## A toy.") == 3
    assert "| **A\\_1** |" in text
    assert "-0.500 (-25.0%)" in text


def test_no_text_can_break_a_table() -> None:
    """Pipes, stars, lines and tags are escaped."""
    assert escape("a|b*c_d`e<f>\n[g]\\") == r"a\|b\*c\_d\`e\<f\> \[g\]\\"
