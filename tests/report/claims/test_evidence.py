"""Which records may speak for the paper's claims."""

import dataclasses

from hycam_exp.report.claims.evidence import gather
from hycam_exp.report.claims.scoreboard import OURS
from hycam_exp.report.select import Summary, summarise
from tests.report.conftest import mini_records

SUMMARIES = summarise(mini_records())


def of(method: str) -> Summary:
    return next(s for s in SUMMARIES if s.method == method)


def with_config(summary: Summary, **method: object) -> Summary:
    """The same records as if other fields of the method had been set."""
    records = tuple(
        dataclasses.replace(record, config={**record.config, "method": {**record.config["method"], **method}})
        for record in summary.records
    )
    return dataclasses.replace(
        summary, records=records, differing={f"method.{key}": value for key, value in method.items()}
    )


def test_the_committed_records_are_one_data_mix() -> None:
    """Labelled as the mini set with its backbone and folds; every baseline in every setting has its scores."""
    (mix,) = gather(SUMMARIES)
    assert mix.setting == "the mini set; tiny_llama; 5 of 5 folds"
    board = mix.scoreboard()
    assert board.values[OURS, "tiny_llama", "ppl"] == of(OURS).mean("ppl")
    assert sorted(board.scores("tiny_llama", "ppl", ["riemoe_lora"])) == [
        "riemoe_lora (recipe.clip=1.0)", "riemoe_lora (recipe.clip=null)",
    ]  # fmt: skip
    (tasks,) = mix.tasks()
    assert tasks.columns == ["auto_cot", "code_alpaca", "dolly", "icliniq", "web_gpt"]
    assert tasks.values[OURS, "dolly", "bleu4"] == of(OURS).mean("bleu4", "dolly")


def test_hycam_is_the_papers_setting_of_any_rank() -> None:
    """A sweep's other settings do not speak for HyCAM; another rank does, and is named."""
    sweep = [with_config(of(OURS), num_specialized=3), of("lora")]
    assert gather(sweep) == []
    (mix,) = gather([with_config(of(OURS), rank=4), of("lora")])
    assert mix.setting.endswith("; HyCAM as method.rank=4")
    differing = {"method.tau": 0.5, "method.rank": 8, "recipe.betas": [0.9, 0.95]}
    (mix,) = gather([dataclasses.replace(of(OURS), differing=differing), of("lora")])
    assert mix.setting.endswith("; HyCAM as method.rank=8, recipe.betas=[0.9, 0.95]")


def test_incomplete_or_other_records_are_left_out() -> None:
    """A baseline without all folds is named; one that was tested on other records is not compared."""
    partial = dataclasses.replace(of("lora"), records=of("lora").records[:3])
    (mix,) = gather([of(OURS), partial, of("full_ft")])
    assert mix.setting.endswith("left out for missing folds: lora on tiny_llama")
    assert [s.method for s in mix.backbones[0].others] == ["full_ft"]
    records = [dataclasses.replace(record, data={**record.data, "split": "other"}) for record in of("lora").records]
    (mix,) = gather([of(OURS), dataclasses.replace(of("lora"), records=tuple(records))])
    assert mix.backbones[0].others == []


def test_records_without_test_scores_are_no_rivals() -> None:
    """A search for learning rates tests nothing: it neither competes nor is named as left out."""
    search = [
        dataclasses.replace(r, scores=[], config={**r.config, "recipe": {**r.config["recipe"], "learning_rate": 9.0}})
        for r in of("lora").records
    ]
    (mix,) = gather(
        [
            of(OURS),
            of("lora"),
            dataclasses.replace(of("lora"), records=tuple(search), differing={"recipe.name": "search"}),
        ]
    )
    assert mix.backbones[0].others == [of("lora")]
    (mix,) = gather(
        [
            of(OURS),
            of("lora"),
            dataclasses.replace(of("lora"), records=tuple(search[:1]), differing={"recipe.name": "search"}),
        ]
    )
    assert "left out" not in mix.setting


def test_other_seeds_of_a_baseline_are_no_rivals() -> None:
    """Runs of one fold for a figure over seeds are neither compared nor named as incomplete."""
    seeded = [
        dataclasses.replace(r, run_id=f"{r.run_id}-{seed}", config={**r.config, "seed": seed})
        for seed in (100, 200)
        for r in of("lora").records[:1]
    ]
    (mix,) = gather(summarise([*of(OURS).records, *of("lora").records, *seeded]))
    assert [s.records for s in mix.backbones[0].others] == [of("lora").records]
    assert "left out" not in mix.setting


def test_two_versions_of_the_code_are_said() -> None:
    """Beside the backbone, wherever a finding is shown."""
    other = [dataclasses.replace(r, results_version=2) for r in of("lora").records]
    (mix,) = gather([of(OURS), dataclasses.replace(of("lora"), records=tuple(other))])
    assert mix.setting.endswith("; by 2 versions of the results")


def test_without_hycam_there_is_no_evidence() -> None:
    """Baselines alone say nothing of the paper's method."""
    assert gather([of("lora")]) == []
    assert gather([]) == []
