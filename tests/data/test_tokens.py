"""Tokens: exact ids with one id a character, and the same laws over real tokenizers."""

import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from data_prep import auto_cot, tables
from data_prep.conversion import convert
from data_prep.preview import EMBEDDED
from hycam_exp.config.settings import PROMPT_STYLES
from hycam_exp.data.prompts import TEMPLATES
from hycam_exp.data.records import Record
from hycam_exp.data.tokens import Tokens, end_with, lead_of, prompt_ids, text_lengths, tokenise
from tests.conftest import LETTERS, letter_tokenizer

TOKENIZERS = {
    "llama2": "tokenizers/llama2",
    "llama3": "tokenizers/llama3",
    "mistral_v0_3": "tokenizers/mistral_v0_3",
    "qwen2_5": "tokenizers/qwen2_5",
    "stories260k": "models/stories260k",
}
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}{{ eos_token }}{% endfor %}[assistant]"
)
RESPONSES = {
    "plain": "Four, since two and two are four.",
    "leading space": " yes",
    "leading newline": "\n1. first\n2. second\n",
    "code": "def f(x):\n\treturn {'a': x}  # }{\n",
    "unicode": "Größe, 世界, naïve, \u0939\u093f\u0928\u094d\u0926\u0940",
    "emoji": "👩‍👩‍👧 ok 🇩🇪",
    "special names": "<s> or </s>, <|end_of_text|>, <|endoftext|>, <unk>",
    "long": "word " * 3000,
}


def record(output: str, instruction: str = "Say it.", input: str = "") -> Record:
    return Record(task="dolly", instruction=instruction, input=input, output=output, group="g", id="r1")


def one(tokenizer: PreTrainedTokenizerBase, of: Record, max_length: int = 100_000) -> Tokens:
    (tokens,), lost = tokenise([of], tokenizer, "alpaca", max_length)
    assert not lost
    return tokens


def prompt_of(of: Record) -> str:
    return TEMPLATES["alpaca"].prompt(of)


def ids_of(text: str) -> list[int]:
    """What the letter tokenizer must give: ids from 3 on, in the order of the letters."""
    return [3 + LETTERS.index(character) for character in text]


def test_ids_are_bos_prompt_response_eos(letters: PreTrainedTokenizerFast) -> None:
    """A record is BOS, its prompt, its response and EOS; the prompt ends where the response begins."""
    of = record("ab\né")
    assert one(letters, of) == Tokens(
        id="r1",
        task="dolly",
        group="g",
        reference="ab\né",
        input_ids=[1, *ids_of(prompt_of(of)), *ids_of("ab\né"), 2],
        prompt_length=1 + len(prompt_of(of)),
        response_bytes=5,
        ends=True,
    )


def test_targets_are_the_response_and_eos_or_all_but_the_first(letters: PreTrainedTokenizerFast) -> None:
    """On the response, its tokens and EOS are scored; on all, everything that has a token before it."""
    tokens = one(letters, record("abc"))
    assert tokens.num_targets("response") == len("abc") + 1
    assert tokens.num_targets("all") == len(prompt_of(record("abc"))) + len("abc") + 1


@pytest.mark.parametrize(
    ("room", "kept", "num_bytes", "ends"),
    [(5, "aé世b", 7, True), (4, "aé世b", 7, False), (3, "aé世", 6, False), (2, "aé", 3, False), (1, "a", 1, False)],
)
def test_truncation_cuts_the_right_end(
    letters: PreTrainedTokenizerFast, room: int, kept: str, num_bytes: int, ends: bool
) -> None:
    """Within max_length the first tokens stay; EOS counts as one; what was cut is told by `ends` and the bytes."""
    of = record("aé世b")
    start = [1, *ids_of(prompt_of(of))]
    tokens = one(letters, of, len(start) + room)
    assert tokens.input_ids == [*start, *ids_of(kept), *([2] if ends else [])]
    assert (tokens.ends, tokens.response_bytes, tokens.prompt_length) == (ends, num_bytes, len(start))
    assert tokens.reference == "aé世b"


def test_record_without_a_response_token_is_returned_as_lost(letters: PreTrainedTokenizerFast) -> None:
    """Where the prompt alone fills max_length, the record is handed back; with one token more it is kept."""
    short, long = record("ab"), record("ab", instruction="x" * 1000)
    full = 1 + len(prompt_of(long))
    for limit in (full, full - 1, 2 + len(prompt_of(short))):
        kept, lost = tokenise([long, short, long], letters, "alpaca", limit)
        assert [tokens.input_ids[1 : 1 + len(prompt_of(short))] for tokens in kept] == [ids_of(prompt_of(short))]
        assert lost == [long, long]
    kept, lost = tokenise([long, short, long], letters, "alpaca", full + 1)
    assert [len(tokens.input_ids) for tokens in kept] == [full + 1, 1 + len(prompt_of(short)) + 3, full + 1]
    assert lost == []


@given(st.lists(st.text(st.sampled_from(LETTERS), min_size=1, max_size=30), max_size=6), st.integers(100, 220))
def test_records_are_kept_or_lost(outputs: list[str], max_length: int) -> None:
    """Every record is either kept, within max_length and with a response token, or lost."""
    records = [record(output, instruction="y" * (7 * n)) for n, output in enumerate(outputs)]
    kept, lost = tokenise(records, letter_tokenizer(), "alpaca", max_length)
    assert len(kept) + len(lost) == len(records)
    assert all(1 + len(prompt_of(of)) >= max_length for of in lost)
    for tokens in kept:
        assert tokens.prompt_length < len(tokens.input_ids) <= max_length
        assert tokens.ends == (tokens.input_ids[-1] == 2)
        response = ids_of(tokens.reference)[: len(tokens.input_ids) - tokens.prompt_length]
        assert tokens.input_ids[tokens.prompt_length :] == [*response, *([2] if tokens.ends else [])]


def test_no_token_is_of_prompt_and_response() -> None:
    """A tokenizer that merges ":" with an answer's "a" does not: the prompt's ids end with its ":"."""
    of = record("abc")
    tokens = one(letter_tokenizer(merges=((":", "a"),)), of)
    assert tokens.input_ids == [1, *ids_of(prompt_of(of)), *ids_of("abc"), 2]
    assert tokens.prompt_length == 1 + len(prompt_of(of))
    assert tokens.response_bytes == 3


def test_text_is_counted_as_a_whole() -> None:
    """Table 1's tokens are those of prompt and output as one text, where ":a" is one; EOS is not counted."""
    tokenizer = letter_tokenizer(merges=((":", "a"),), ends=True)
    expected = [1 + len(prompt_of(record(""))) + n for n in (2, 3)]
    assert text_lengths([record("abc"), record("cba")], tokenizer, "alpaca") == expected
    tokenizer.chat_template = "{{ messages[0].content }}:"
    assert text_lengths([record("abc")], tokenizer, "chat") == [1 + len("Say it.:") + 3]
    assert text_lengths([], tokenizer, "alpaca") == []


def test_eos_that_the_tokenizer_appends_is_not_doubled() -> None:
    """A tokenizer that ends texts itself gives the same tokens as one that does not, also where they are cut."""
    of = record("abc")
    for room in (1, 3, 4, 9):
        limit = 1 + len(prompt_of(of)) + room
        assert one(letter_tokenizer(ends=True), of, limit) == one(letter_tokenizer(), of, limit)


@pytest.mark.parametrize("where", ["output", "instruction", "input"])
def test_name_of_a_special_token_in_a_record_is_text(letters: PreTrainedTokenizerFast, where: str) -> None:
    """`</s>` in the data is four characters: no record ends early or begins twice."""
    of = record(**{"output": "b", where: "a</s><s>c"})
    tokens = one(letters, of)
    assert tokens.input_ids == [1, *ids_of(prompt_of(of)), *ids_of(of.output), 2]


def test_tokenizer_without_eos_is_refused() -> None:
    """Without EOS no response could end: the error says so, before anything is tokenised."""
    tokenizer = letter_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="no EOS token"):
        tokenise([record("a")], tokenizer, "alpaca", 500)


def test_tokenizer_without_offsets_is_refused() -> None:
    """A tokenizer that cannot tell where a token lies is refused by name."""
    slow = SimpleNamespace(eos_token_id=2, is_fast=False, name_or_path="some/slow")
    with pytest.raises(ValueError, match="some/slow: a fast tokenizer"):
        tokenise([record("a")], slow, "alpaca", 500)


def test_limit_of_the_tokenizer_cuts_nothing() -> None:
    """Only max_length cuts: a tokenizer's own, shorter limit neither truncates nor warns."""
    tokenizer = letter_tokenizer()
    tokenizer.model_max_length = 16
    tokenizer.backend_tokenizer.enable_truncation(16)
    assert one(tokenizer, record("abc")) == one(letter_tokenizer(), record("abc"))


def test_no_records_give_no_tokens(letters: PreTrainedTokenizerFast) -> None:
    """Nothing in, nothing out."""
    assert tokenise([], letters, "alpaca", 500) == ([], [])


@cache
def embedded() -> PreTrainedTokenizerBase:
    """The tokenizer in the package."""
    return AutoTokenizer.from_pretrained(EMBEDDED)


@pytest.fixture(params=["embedded", *TOKENIZERS])
def real(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    """Each of the real tokenizers, and the embedded one."""
    if request.param == "embedded":
        return embedded()
    return AutoTokenizer.from_pretrained(request.getfixturevalue("shared") / TOKENIZERS[request.param])


@pytest.mark.parametrize("name", RESPONSES)
def test_bos_and_eos_stand_exactly_once(real: PreTrainedTokenizerBase, name: str) -> None:
    """BOS (where there is one) is the first id, EOS the last and a target; neither stands anywhere else."""
    tokens = one(real, record(RESPONSES[name], input=RESPONSES[name][:60]))
    bos = [] if real.bos_token_id is None else [real.bos_token_id]
    assert tokens.input_ids[: len(bos)] == bos
    assert tokens.input_ids[-1] == real.eos_token_id
    assert not {*bos, real.eos_token_id} & set(tokens.input_ids[len(bos) : -1])
    assert tokens.ends
    assert tokens.prompt_length < len(tokens.input_ids) - 1


def decoded(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("name", RESPONSES)
def test_response_ids_say_the_response_exactly(real: PreTrainedTokenizerBase, name: str) -> None:
    """Prompt and response, decoded apart, are what they were to the character, leading space or line end included."""
    of = record(RESPONSES[name])
    tokens = one(real, of)
    assert decoded(real, tokens.input_ids[: tokens.prompt_length]) == prompt_of(of)
    assert decoded(real, tokens.input_ids[tokens.prompt_length :]) == of.output
    assert tokens.response_bytes == len(of.output.encode())


@given(st.text(st.sampled_from(" \n\tab.:,1\u00e9\u4e16"), max_size=12))
def test_any_response_is_said_exactly(output: str) -> None:
    """With the embedded tokenizer every answer of letters, spaces and line ends comes back from its ids."""
    tokens = one(embedded(), record(output))
    assert decoded(embedded(), tokens.input_ids[tokens.prompt_length :]) == output


@pytest.mark.parametrize("style", PROMPT_STYLES)
def test_prompt_does_not_depend_on_the_answer(real: PreTrainedTokenizerBase, style: str) -> None:
    """In every style a record's prompt ids are those of `prompt_ids`, whatever the answer, and BOS stands once."""
    real.chat_template = CHAT_TEMPLATE
    bos = [] if real.bos_token_id is None else [real.bos_token_id]
    for input in ("", "This: </s>"):
        for output in RESPONSES.values():
            of = record(output, input=input)
            (tokens,), _ = tokenise([of], real, style, 100_000)
            (prompt,) = prompt_ids([record("?", input=input)], real, style)
            assert tokens.input_ids[: tokens.prompt_length] == prompt
            assert prompt[: len(bos)] == bos
            assert prompt.count(real.bos_token_id) == len(bos)


def test_prompt_ends_with_the_templates_last_character(real: PreTrainedTokenizerBase) -> None:
    """No prompt loses its ":" to an answer that begins with a letter, as in a code set it did."""
    for output in ("def f(x):", "a", "Yes"):
        tokens = one(real, record(output))
        assert decoded(real, tokens.input_ids[: tokens.prompt_length]).endswith("### Response:")


@pytest.mark.parametrize(
    ("name", "lead", "first"),
    [
        ("llama2", "", "\u2581Four"),
        ("mistral_v0_3", " ", "\u2581Four"),
        ("llama3", "", "Four"),
        ("qwen2_5", "", "Four"),
    ],
)
def test_response_begins_as_a_text_of_its_own(shared: Path, name: str, lead: str, first: str) -> None:
    """After SentencePiece a response begins with the space that decoding drops; elsewhere with its own letter."""
    tokenizer = AutoTokenizer.from_pretrained(shared / TOKENIZERS[name])
    tokens = one(tokenizer, record("Four"))
    assert lead_of(tokenizer) == lead
    assert tokenizer.convert_ids_to_tokens(tokens.input_ids[tokens.prompt_length]) == first


def test_cut_response_covers_its_own_bytes(shared: Path) -> None:
    """Where a space is written before responses, it counts no byte: "ab cd", cut after its first word, covers two."""
    tokenizer = AutoTokenizer.from_pretrained(shared / TOKENIZERS["mistral_v0_3"])
    whole = one(tokenizer, record("ab cd"))
    first = one(tokenizer, record("ab cd"), whole.prompt_length + 1)
    assert (first.ends, first.response_bytes) == (False, 2)


def test_named_token_ends_a_response() -> None:
    """`data.eos` is appended, trained and stopped at in place of the tokenizer's EOS; null leaves that."""
    tokenizer = letter_tokenizer()
    end_with(tokenizer, None)
    assert one(tokenizer, record("ab")).input_ids[-1] == 2
    end_with(tokenizer, "<s>")
    assert one(tokenizer, record("ab")).input_ids[-3:] == [*ids_of("ab"), 1]
    assert tokenizer.eos_token_id == 1


@pytest.mark.parametrize("name", ["<|eot|>", "a", ""])
def test_token_that_is_not_special_ends_nothing(name: str) -> None:
    """A name that the tokenizer lacks, or that may stand in a text, is refused with those that it has."""
    with pytest.raises(ValueError, match=rf"^data\.eos={re.escape(name)}: no special token of .*<s>"):
        end_with(letter_tokenizer(), name)


@pytest.mark.parametrize("max_length", [300, 1200])
def test_long_response_is_cut_at_max_length(real: PreTrainedTokenizerBase, max_length: int) -> None:
    """A cut record has exactly the first max_length ids of the whole one."""
    whole, cut = one(real, record(RESPONSES["long"])), one(real, record(RESPONSES["long"]), max_length)
    assert cut.input_ids == whole.input_ids[:max_length]
    assert (cut.ends, cut.prompt_length) == (False, whole.prompt_length)
    assert 0 < cut.response_bytes < whole.response_bytes


def test_auto_cot_total_is_the_papers(shared: Path) -> None:
    """With Llama 3's tokenizer the 5,816 Auto-CoT records have Table 1's 943,474 tokens, EOS not counted."""
    path = shared / "data" / "auto_cot" / "Auto-CoT.json"
    records = [r for r in convert("auto_cot", tables.rows(path), path.name, auto_cot.fields) if isinstance(r, Record)]
    tokenizer = AutoTokenizer.from_pretrained(shared / TOKENIZERS["llama3"])
    lengths = text_lengths(records, tokenizer, "alpaca")
    assert (len(lengths), sum(lengths)) == (5816, 943_474)
