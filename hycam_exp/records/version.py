"""What the numbers of a record mean. The version is raised by hand with a change that alters a result, never otherwise.

A cell of another version is not continued, and the report puts two versions into no row, table or figure together.
`tests/test_golden.py` computes one small cell of four methods and fails when its numbers move.
"""

HISTORY = {
    1: "Until November 2026: steps sorted by length across the epoch, prompt and response tokenised as one text.",
}
"""A line a version: what changed in the results with it."""

RESULTS_VERSION = max(HISTORY)
