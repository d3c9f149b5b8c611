"""Declared metrics: each score that can be recorded says its direction, aggregation and version."""

import pytest
from sacrebleu.metrics import BLEU

from hycam_exp.data import table1
from hycam_exp.data.tokens import Tokens
from hycam_exp.evaluation.generation import Prediction
from hycam_exp.evaluation.measurement import Measurement
from hycam_exp.evaluation.metrics import METRICS, SCORES, declared
from hycam_exp.evaluation.perplexity import SampleNats


def whole_measurement() -> Measurement:
    """A state in which everything was measured."""
    row = Tokens(
        id="r", task="dolly", group="", reference="a", input_ids=[1, 3, 2], prompt_length=1, response_bytes=1, ends=True
    )
    nats = SampleNats(
        id="r", task="dolly", nats=1.0, tokens=2, text_nats=0.5, text_tokens=1, text_bytes=1, all_nats=1.0, all_tokens=2
    )
    prediction = Prediction(id="r", task="dolly", text="a", tokens=1, capped=False)
    return Measurement(rows=[row], nats=[nats], retention=[nats], predictions=[prediction], differing={"dolly": (0, 1)})


@pytest.mark.parametrize("suffix", ["", "_before"])
def test_every_score_is_declared(suffix: str) -> None:
    """What a state scores, and the change of general text, are the declared metrics, before adaptation too."""
    scored = {score.metric for score in whole_measurement().scores(suffix)}
    assert {name + suffix for name in METRICS} == scored | {"ppl_change" + suffix}
    assert all(declared(name + suffix) is metric for name, metric in METRICS.items())


def test_directions_are_the_metrics() -> None:
    """Overlap is better higher; everything else is better lower."""
    assert {name for name, metric in METRICS.items() if metric.better == "higher"} == {
        "bleu4", "rouge_l", "rouge_l_unicode"
    }  # fmt: skip
    assert {metric.better for metric in METRICS.values()} == {"higher", "lower"}


def test_the_papers_scores_are_declared_and_published() -> None:
    """Each of them has a direction, and every table of methods in the paper's files has these and no others."""
    assert set(SCORES) <= set(METRICS)
    rows = table1.rows(table1.folder(), "table2_main", ["metric"])
    assert list(dict.fromkeys(row.text("metric") for row in rows)) == list(SCORES)


def test_bleu_version_is_sacrebleus_signature() -> None:
    """The declared signature is the one that sacrebleu gives the BLEU we equal, without its own version."""
    bleu = BLEU()
    bleu.corpus_score(["a b"], [["a b"]])
    assert str(bleu.get_signature()).rpartition("|")[0] == METRICS["bleu4"].version


def test_undeclared_metric_is_refused() -> None:
    """A score that nobody declared cannot be recorded."""
    with pytest.raises(KeyError, match="accuracy"):
        declared("accuracy_before")
