"""What the numbers of a record mean. The version is raised by hand with a change that alters a result, never otherwise.

A cell of another version is not continued, and the report puts two versions into no row, table or figure together.
`tests/test_golden.py` computes one small cell of four methods and fails when its numbers move.
"""

HISTORY = {
    1: "Until November 2026: steps sorted by length across the epoch, prompt and response tokenised as one text.",
    2: (
        "Steps are random draws of the mix, cut into micro-batches by the least padding; prompt and response are "
        "tokenised apart; early stopping comes at the same steps however a step is cut; warm-up starts above zero; on "
        "a CPU the loss is float64's; near-copies stay in one part of a fold; frozen routers stay frozen in bfloat16 "
        "and no bias decays; scores are null where no reference can be seen. mini's tasks have names of their own."
    ),
}
"""A line a version: what changed in the results with it."""

RESULTS_VERSION = max(HISTORY)
