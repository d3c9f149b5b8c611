"""Decoding: greedy against a slow loop, batched equal to single, streamed and continued."""

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM, PreTrainedTokenizerFast

from hycam_exp.data.records import Record
from hycam_exp.data.tokens import Tokens, tokenise
from hycam_exp.evaluation.generation import Decoder, Prediction
from tests.conftest import LETTERS

EOS = 2
CAP = 12


def row(prompt: str, task: str = "dolly") -> Tokens:
    """A prompt of one id a letter after BOS, named by itself, with a response that decoding must not see."""
    ids = [1, *(3 + LETTERS.index(letter) for letter in prompt)]
    return Tokens(
        id=prompt, task=task, group="", reference="", input_ids=[*ids, 50, 51, EOS], prompt_length=len(ids),
        response_bytes=2, ends=True,
    )  # fmt: skip


ROWS = [row(f"{'abcdefghij'[i % 10] * (1 + 3 * i % 17)}{i}") for i in range(14)]


@pytest.fixture(scope="module")
def ending(small_llama: LlamaForCausalLM) -> LlamaForCausalLM:
    """The small Llama, with EOS likely enough that some answers end before the cap."""
    model = deepcopy(small_llama)
    with torch.no_grad():
        model.lm_head.weight[EOS] *= 2.0
    return model


@pytest.fixture
def decoder(ending: LlamaForCausalLM, letters: PreTrainedTokenizerFast) -> Decoder:
    return Decoder(model=ending, tokenizer=letters, max_new_tokens=CAP, positions=512, pad_id=EOS)


def slow_answer(model: Any, ids: list[int], limit: int) -> tuple[list[int], bool]:
    """Greedy decoding by whole forward passes: no cache, no batch, no padding. The ids, and whether they ended."""
    answer: list[int] = []
    while len(answer) < limit:
        following = int(model(torch.tensor([ids + answer])).logits[0, -1].argmax())
        if following == EOS:
            return answer, True
        answer.append(following)
    return answer, False


@pytest.mark.parametrize("batch_size", [1, 4, 14])
def test_answers_are_those_of_a_slow_loop(decoder: Decoder, tmp_path: Path, batch_size: int) -> None:
    """Batched decoding with a cache equals one full forward pass a token, exactly, whatever the batch."""
    found = decoder.decode_all(ROWS, batch_size, tmp_path / "after.jsonl", "test")
    for of, prediction in zip(ROWS, found, strict=True):
        ids, ended = slow_answer(decoder.model, of.input_ids[: of.prompt_length], CAP)
        text = decoder.tokenizer.decode(ids, skip_special_tokens=True)
        assert prediction == Prediction(id=of.id, task="dolly", text=text, tokens=len(ids), capped=not ended)
    assert {p.capped for p in found} == {True, False}, "the example is to hold both kinds"
    assert len({p.text for p in found}) > 5, "the example's answers are to differ"


@pytest.mark.parametrize("adapted", [False, True])
def test_sampling_settings_of_a_model_change_nothing(decoder: Decoder, adapted: bool) -> None:
    """What a backbone's generation config says about sampling and penalties does not reach greedy decoding."""
    model = deepcopy(decoder.model)
    model.generation_config.update(
        do_sample=True, temperature=5.0, top_p=0.5, top_k=3, repetition_penalty=3.0, no_repeat_ngram_size=1,
        max_length=7, eos_token_id=[7, 8], num_beams=3, suppress_tokens=[9, 10, 11],
    )  # fmt: skip
    own = model.generation_config.to_dict()
    if adapted:
        model = get_peft_model(model, LoraConfig(target_modules=["q_proj"]))
    assert replace(decoder, model=model).decode(ROWS[:3]) == decoder.decode(ROWS[:3])
    assert model.generation_config.to_dict() == own, "what is saved with the model stays as it was"


@pytest.mark.parametrize(
    ("positions", "prompt", "limit"),
    [(None, 100, CAP), (512, 100, CAP), (110, 100, 10), (101, 100, 1), (112, 100, CAP)],
)
def test_limit_is_the_cap_or_what_positions_leave(
    letters: PreTrainedTokenizerFast, positions: int | None, prompt: int, limit: int
) -> None:
    """A prompt and its answer together never pass the model's positions."""
    decoder = Decoder(model=None, tokenizer=letters, max_new_tokens=CAP, positions=positions, pad_id=EOS)
    assert decoder.limit(row("a" * (prompt - 1))) == limit


@dataclass
class Scripted:
    """A model whose answers are given: prompt to ids, as long as asked; it counts what it was asked."""

    answers: dict[str, list[int]]
    asked: list[list[str]] = field(default_factory=list)
    generation_config: Any = None
    _forward_hooks: dict[int, Any] = field(default_factory=dict)

    def eval(self) -> None:
        """As a module."""

    def parameters(self):
        yield torch.zeros(1)

    def generate(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, max_new_tokens: int, **settings: Any
    ) -> torch.Tensor:
        prompts = [
            "".join(LETTERS[i - 3] for i in ids[mask == 1][1:].tolist())
            for ids, mask in zip(input_ids, attention_mask, strict=True)
        ]
        self.asked.append(prompts)
        answers = [(self.answers[p] + [EOS] * max_new_tokens)[:max_new_tokens] for p in prompts]
        return torch.cat([input_ids, torch.tensor(answers)], dim=1)


def scripted(answers: dict[str, str], tokenizer: PreTrainedTokenizerFast, positions: int | None = None) -> Decoder:
    """A decoder whose model answers each prompt with the letters given for it, and EOS after them."""
    ids = {prompt: [3 + LETTERS.index(letter) for letter in answer] for prompt, answer in answers.items()}
    return Decoder(model=Scripted(ids), tokenizer=tokenizer, max_new_tokens=CAP, positions=positions, pad_id=EOS)


@pytest.mark.parametrize(
    ("length", "tokens", "capped"), [(0, 0, False), (1, 1, False), (11, 11, False), (12, 12, True), (40, 12, True)]
)
def test_capped_means_no_eos_within_the_limit(
    letters: PreTrainedTokenizerFast, length: int, tokens: int, capped: bool
) -> None:
    """An answer of CAP - 1 tokens has room for its EOS, one of CAP tokens has not."""
    (found,) = scripted({"q": "x" * length}, letters).decode([row("q")])
    assert found == Prediction(id="q", task="dolly", text="x" * tokens, tokens=tokens, capped=capped)


def test_each_row_keeps_to_its_own_limit(letters: PreTrainedTokenizerFast) -> None:
    """In one batch a longer prompt stops where its positions end, and the shorter one goes on to the cap."""
    decoder = scripted({"a" * 5: "x" * 99, "b" * 9: "y" * 99, "c" * 12: "z" * 2}, letters, positions=16)
    found = decoder.decode([row("a" * 5), row("b" * 9), row("c" * 12)])
    assert [(p.text, p.capped) for p in found] == [("x" * 10, True), ("y" * 6, True), ("zz", False)]


def test_special_tokens_are_no_text(letters: PreTrainedTokenizerFast) -> None:
    """A special token inside an answer counts as a token and is not written out; spaces stay as they are."""
    decoder = scripted({"q": ""}, letters)
    decoder.model.answers["q"] = [3 + LETTERS.index("a"), 1, 3 + LETTERS.index(" "), 3 + LETTERS.index("?")]
    (found,) = decoder.decode([row("q")])
    assert (found.text, found.tokens) == ("a ?", 4)


TOLD = {"abcdefg"[i] * (9 - i): f"é世😀{i}" for i in range(7)}
ASKED = [row(prompt) for prompt in TOLD]


def lines(path: Path) -> list[dict[str, Any]]:
    """The predictions on disk, each without its digest."""
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert all(line.pop("digest") for line in found)
    return found


def test_predictions_are_on_disk_in_order_of_length(letters: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Prompts are decoded shortest first and written a line each; the result is in the rows' order."""
    decoder, path = scripted(TOLD, letters), tmp_path / "predictions" / "after.jsonl"
    found = decoder.decode_all(ASKED, 3, path, "test")
    assert [(p.id, p.text) for p in found] == list(TOLD.items())
    shortest_first = sorted(TOLD, key=len)
    assert decoder.model.asked == [shortest_first[:3], shortest_first[3:6], shortest_first[6:]]
    assert lines(path) == [asdict(next(p for p in found if p.id == prompt)) for prompt in shortest_first]


def test_finished_file_is_not_decoded_again(letters: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """With every prediction on disk the model is not asked, and the file stays as it is."""
    path = tmp_path / "after.jsonl"
    found = scripted(TOLD, letters).decode_all(ASKED, 3, path, "test")
    content = path.read_bytes()
    again = scripted({}, letters)
    assert again.decode_all(ASKED, 3, path, "test") == found
    assert again.model.asked == []
    assert path.read_bytes() == content


def test_finished_batch_is_on_disk_before_the_next(letters: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """When the model is asked for a batch, the lines of all batches before it can be read from the file."""
    decoder, path = scripted(TOLD, letters), tmp_path / "after.jsonl"
    generate, seen = decoder.model.generate, []

    def watched(**settings: Any) -> torch.Tensor:
        seen.append([line["id"] for line in lines(path)])
        return generate(**settings)

    decoder.model.generate = watched
    decoder.decode_all(ASKED, 3, path, "test")
    shortest_first = sorted(TOLD, key=len)
    assert seen == [[], shortest_first[:3], shortest_first[:6]]


def whole(content: bytes) -> set[str]:
    """The ids on the whole lines of a file."""
    return {json.loads(line)["id"] for line in content[: content.rfind(b"\n") + 1].splitlines()}


@pytest.mark.parametrize("batch_size", [2, 3])
def test_file_cut_anywhere_is_continued(letters: PreTrainedTokenizerFast, tmp_path: Path, batch_size: int) -> None:
    """Cut at any byte, in the middle of a line or a character, the file is completed: nothing lost, nothing twice,
    and no batch decoded again whose lines are whole."""
    path = tmp_path / "after.jsonl"
    found = scripted(TOLD, letters).decode_all(ASKED, 3, path, "test")
    content, order = path.read_bytes(), sorted(TOLD, key=len)
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        decoder = scripted(TOLD, letters)
        assert decoder.decode_all(ASKED, batch_size, path, "test") == found
        assert decoder.model.asked == [batch for batch in batches if not set(batch) <= whole(content[:cut])]
        assert sorted(line["id"] for line in lines(path)) == sorted(TOLD)


def test_a_damaged_line_is_decoded_again(
    letters: PreTrainedTokenizerFast, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With any one bit flipped in a file of predictions, no prediction is another than before, and a note says so."""
    path = tmp_path / "after.jsonl"
    found = scripted(TOLD, letters).decode_all(ASKED, 3, path, "test")
    content = path.read_bytes()
    for place in range(len(content) - 1):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 7  # 1 << 7 is no ASCII, and so no JSON
        path.write_bytes(flipped)
        assert scripted(TOLD, letters).decode_all(ASKED, 3, path, "test") == found
        assert "damaged and are decoded again" in capsys.readouterr().err
        assert sorted(line["id"] for line in lines(path)) == sorted(TOLD)


def test_decoding_leaves_dropout_off(ending: LlamaForCausalLM, decoder: Decoder) -> None:
    """A model that trained just now is decoded in evaluation mode."""
    model = deepcopy(ending).train()
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.9
    assert replace(decoder, model=model).decode(ROWS[:2]) == decoder.decode(ROWS[:2])


def test_real_model_tells_a_story(shared: Path, tmp_path: Path) -> None:
    """The 260K model goes on from "Once upon a time", the same way alone and in a batch."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = shared / "models" / "stories260k"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    records = [
        Record(task="dolly", instruction=text, input="", output="a", group="", id=str(n))
        for n, text in enumerate(["Once upon a time", "Tell of Lily.", "One day a cat, a dog, and a bird went out."])
    ]
    rows, _ = tokenise(records, tokenizer, "alpaca", 500)
    rows = [*rows, start(tokenizer)]
    decoder = Decoder(model=model, tokenizer=tokenizer, max_new_tokens=24, positions=512, pad_id=EOS)
    batched = decoder.decode_all(rows, 4, tmp_path / "batched.jsonl", "test")
    assert batched == decoder.decode_all(rows, 1, tmp_path / "single.jsonl", "test")
    assert "there was a little girl named" in batched[-1].text


def start(tokenizer: Any) -> Tokens:
    """The story's first words as a prompt."""
    ids: Sequence[int] = tokenizer("Once upon a time,")["input_ids"]
    return Tokens(
        id="story", task="dolly", group="", reference="", input_ids=[*ids, EOS], prompt_length=len(ids),
        response_bytes=0, ends=True,
    )  # fmt: skip


@pytest.mark.parametrize("batch_size", [1, 14])
def test_no_answer_passes_positions_that_have_embeddings(
    letters: PreTrainedTokenizerFast, tmp_path: Path, batch_size: int
) -> None:
    """GPT-2 among prompts near its last position: every answer is the slow loop's, in whichever batch."""
    sizes = {"vocab_size": len(letters), "n_positions": 24, "n_embd": 16, "n_layer": 1, "n_head": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPT2LMHeadModel(GPT2Config(**sizes, initializer_range=0.5)).double().eval()
    decoder = Decoder(model=model, tokenizer=letters, max_new_tokens=CAP, positions=24, pad_id=EOS)
    found = decoder.decode_all(ROWS, batch_size, tmp_path / "after.jsonl", "test")
    assert len({decoder.limit(of) for of in ROWS}) > 3
    for of, prediction in zip(ROWS, found, strict=True):
        ids, _ = slow_answer(model, of.input_ids[: of.prompt_length], decoder.limit(of))
        assert prediction.text == letters.decode(ids, skip_special_tokens=True)
