import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from data_prep.mini.corpus import corpus
from scripts import pretrain_tiny
from scripts.pretrain_tiny import Settings, pretrain

SMALL = Settings(
    steps=3,
    batch=2,
    block=32,
    warm_up=1,
    retention_documents=4,
    tokenizer_documents=200,
    model={
        "vocab_size": 600,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 24,
    },
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that three steps have written."""
    out = tmp_path_factory.mktemp("pretrained") / "tiny"
    pretrain(out, SMALL)
    return out


def test_two_runs_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """Two runs of the same settings write the same bytes; only the seconds in the record differ."""
    pretrain(tmp_path / "again", SMALL)
    again = {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}
    once = {path.name: path.read_bytes() for path in folder.iterdir()}
    records = [json.loads(files.pop("training.json")) for files in (once, again)]
    assert once == again
    assert [{**record, "seconds": 0} for record in records] == [{**records[0], "seconds": 0}] * 2


def test_another_seed_gives_other_weights(folder: Path, tmp_path: Path) -> None:
    """The weights depend on the seed; the tokenizer does not."""
    pretrain(tmp_path / "other", replace(SMALL, seed=1))
    same = {
        name: (folder / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
        for name in ("model.safetensors", "tokenizer.json")
    }
    assert same == {"model.safetensors": False, "tokenizer.json": True}


def test_the_folder_loads_as_any_hugging_face_model(folder: Path) -> None:
    """Tokenizer and model load by folder: bos first, own eos and pad, bfloat16, tied embeddings."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer("Ada has 12 pens.\n    return x")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids[1:]) == "Ada has 12 pens.\n    return x"
    assert len({tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}) == 3
    assert (tokenizer.model_max_length, model.config.max_position_embeddings) == (1024, 1024)
    assert model.dtype == torch.bfloat16
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_digits_are_single_tokens(folder: Path) -> None:
    """A number is cut into its digits."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert [tokenizer.decode(i) for i in tokenizer("12 + 345")["input_ids"][1:]] == list("12") + [" +", " 3", "4", "5"]


def test_held_out_documents_are_not_trained_on(folder: Path) -> None:
    """The retention text is whole documents of its own stream, none of which stands in the training stream."""
    held = (folder / "retention.txt").read_text().rstrip("\n").split("\n\n")
    record = json.loads((folder / "training.json").read_text())
    trained = set(corpus(SMALL.corpus_seed, record["documents"]))
    assert len(held) == SMALL.retention_documents
    assert set(held) <= set(corpus(SMALL.retention_seed, 40))
    assert not set(held) & trained


def test_a_trained_document_in_the_retention_text_is_an_error(folder: Path, tmp_path: Path) -> None:
    """A retention stream that repeats the training stream is refused, and an older folder stays as it was."""
    out = tmp_path / "kept"
    out.mkdir()
    (out / "note").write_text("old")
    with pytest.raises(ValueError, match="4 training documents"):
        pretrain(out, replace(SMALL, retention_seed=SMALL.corpus_seed))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["note"]


def test_an_older_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """A finished run leaves its own files alone, none of the older ones and no partial folder."""
    out = tmp_path / "assets" / "tiny"
    out.mkdir(parents=True)
    (out / "stale").write_text("old")
    pretrain(out, SMALL)
    assert not (out / "stale").exists()
    assert [path.name for path in out.parent.iterdir()] == ["tiny"]


def test_record_tells_what_the_files_are(folder: Path) -> None:
    """The record's digests, counts and perplexity agree with the files and with each other."""
    record = json.loads((folder / "training.json").read_text())
    for name in ("tokenizer.json", "model.safetensors", "retention.txt"):
        assert record["sha256"][name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert record["tokens"] == 3 * 2 * 32
    assert record["held_out"]["perplexity"] == pytest.approx(math.exp(record["held_out"]["loss"]))
    bits = record["held_out"]["loss"] * record["held_out"]["tokens"] / math.log(2) / record["held_out"]["bytes"]
    assert record["held_out"]["bits_per_byte"] == pytest.approx(bits)
    assert [point["step"] for point in record["loss_curve"]] == [1, 2, 3]


def test_rate_warms_up_and_falls_to_its_share() -> None:
    """The rate rises in equal parts, is whole at the end of the warm-up, half way down in the middle, and ends low."""
    settings = Settings(steps=104, warm_up=4, final_rate=0.1)
    found = [pretrain_tiny.rate(settings, step) for step in (0, 1, 3, 4, 54, 104)]
    assert found == pytest.approx([0.25, 0.5, 1.0, 1.0, 0.55, 0.1])


def test_thinned_means() -> None:
    """A thinned curve has the mean of each stretch at its last step."""
    assert pretrain_tiny.thinned([1.0, 3.0, 5.0, 7.0, 9.0], points=3) == [
        {"step": 2, "loss": 2.0},
        {"step": 4, "loss": 6.0},
        {"step": 5, "loss": 9.0},
    ]


def test_command_line_sets_steps_and_folder_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--steps and --out reach the run, and every other setting keeps its default."""
    called: list = []

    def fake(out: Path, settings: Settings) -> dict:
        called.append((out, settings))
        return {"held_out": {"perplexity": 1.0}, "seconds": 0}

    monkeypatch.setattr(pretrain_tiny, "pretrain", fake)
    pretrain_tiny.main(["--steps", "3", "--out", str(tmp_path)])
    assert called == [(tmp_path, replace(Settings(), steps=3))]


def test_the_shipped_folder_is_what_its_record_says() -> None:
    """The packaged backbone has the recorded bytes, 1 to 3 million parameters, and stays below 8 MB."""
    record = json.loads((pretrain_tiny.OUT / "training.json").read_text())
    for name in ("tokenizer.json", "model.safetensors", "retention.txt"):
        assert record["sha256"][name] == hashlib.sha256((pretrain_tiny.OUT / name).read_bytes()).hexdigest()
    assert 1e6 < record["parameters"] < 3e6
    assert 2000 <= record["settings"]["model"]["vocab_size"] <= 4000
    assert (pretrain_tiny.OUT / "model.safetensors").stat().st_size < 8e6
    assert 150_000 < (pretrain_tiny.OUT / "retention.txt").stat().st_size < 250_000
