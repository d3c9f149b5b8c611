"""The chat style: the template's special tokens are tokens, their names in the data are text."""

from datetime import datetime
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from hycam_exp.data.prompts import CHAT_DATE, render
from hycam_exp.data.records import Record
from hycam_exp.data.tokens import Tokens, end_with, other_ending, prompt_ids, tokenise
from tests.conftest import LETTERS, letter_tokenizer

WITH_BOS = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}[assistant]"
WITHOUT_BOS = WITH_BOS.removeprefix("{{ bos_token }}")
STRIPPED = WITH_BOS.replace("m.content", "m.content | trim")


def record(instruction: str = "Say it.", input: str = "", output: str = "ok") -> Record:
    return Record(task="t", instruction=instruction, input=input, output=output, group="g", id="r")


def chatting(template: str | None, **options: bool) -> PreTrainedTokenizerFast:
    tokenizer = letter_tokenizer(**options)
    tokenizer.chat_template = template
    return tokenizer


def one(tokenizer: PreTrainedTokenizerBase, of: Record, max_length: int = 10_000) -> Tokens:
    (tokens,), lost = tokenise([of], tokenizer, "chat", max_length)
    assert not lost
    return tokens


def test_a_template_that_does_not_end_is_named(monkeypatch):
    """Loops within loops end after a time, in the line that names the tokenizer and the styles without a template."""
    monkeypatch.setattr("hycam_exp.data.prompts.TEMPLATE_SECONDS", 0.1)
    endless = "{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3
    with pytest.raises(ValueError, match=r"cannot render a chat \(ValueError: it has not ended after 0\.1 s\); alpaca"):
        one(chatting(endless), record())


def ids_of(text: str) -> list[int]:
    return [3 + LETTERS.index(character) for character in text]


@pytest.mark.parametrize("template", [WITH_BOS, WITHOUT_BOS, STRIPPED])
@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize(
    ("of", "said"),
    [(record(), "Say it."), (record(input="This."), "Say it.\n\nThis."), (record(input="</s>"), "Say it.\n\n</s>")],
)
def test_ids_are_bos_turn_and_answer(template: str, ends: bool, of: Record, said: str) -> None:
    """BOS once, the template's end of turn as a token, what the user says as text, the answer and EOS."""
    tokens = one(chatting(template, ends=ends), of)
    prompt = [1, *ids_of("[user]"), *ids_of(said), 2, *ids_of("[assistant]")]
    assert tokens.input_ids == [*prompt, *ids_of("ok"), 2]
    assert (tokens.prompt_length, tokens.response_bytes, tokens.ends) == (len(prompt), 2, True)


@pytest.mark.parametrize("where", ["instruction", "input", "output"])
def test_special_name_in_the_data_is_text(where: str) -> None:
    """`</s>` and `<s>` in a record are characters, wherever they stand, and prompt and response meet as elsewhere."""
    of = record(**{"output": "b", where: " a</s><s>c "})  # with outer spaces, which stay
    tokens = one(chatting(WITH_BOS), of)
    said = of.instruction + (f"\n\n{of.input}" if of.input else "")
    prompt = [1, *ids_of("[user]"), *ids_of(said), 2, *ids_of("[assistant]")]
    assert tokens.input_ids == [*prompt, *ids_of(of.output), 2]
    assert tokens.prompt_length == len(prompt)


def test_template_that_changes_the_text_is_refused_where_it_matters() -> None:
    """A template that rewrites what is said cannot tell data from template: said when a record names a special."""
    tokenizer = chatting("{{ messages[0].content | upper }}[assistant]")
    assert one(tokenizer, record()).prompt_length == len("[assistant]") + len("Say it.") + 1
    with pytest.raises(ValueError, match=r"data\.prompt=chat: the chat template changes the text"):
        tokenise([record("say <s>")], tokenizer, "chat", 500)


def test_template_with_a_date_does_not_depend_on_the_day() -> None:
    """A template that asks for today's date gets a fixed one."""
    template = (
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d') %}{% endif %}"
        "{{ date_string }}{{ messages[0].content }}"
    )
    assert render("chat", record(), chatting(template)) == "26 Jul 2024Say it."


@pytest.mark.parametrize(
    "template", ["{{ strftime_now(f) }}", "{% for m in messages %}{{ strftime_now(f) }}{% endfor %}"]
)
@pytest.mark.parametrize(
    "format", ["%d %b %Y", "%Y-%m-%d", "%A, %-d %B %Y at %H:%M:%S", "%B %d, %Y (%j)", "%x", "none"]
)
def test_template_that_asks_for_the_day_gets_the_fixed_one(template: str, format: str) -> None:
    """`strftime_now` is `CHAT_DATE` at midnight, whatever the clock, in every format."""
    asked = f"{{% set f = '{format}' %}}{template}"
    day = datetime.strptime(CHAT_DATE, "%d %b %Y")
    assert render("chat", record(), chatting(asked)) == day.strftime(format)


@pytest.mark.parametrize(
    "begin", ["", "\n", "\n\n", "  ", "  {% if true %}x{% endif %}", "{% if true %}\nx{% endif %}\n"]
)
def test_fixed_date_leaves_a_template_as_it_is(begin: str) -> None:
    """A template that asks for no date gives to the character what transformers makes of it."""
    tokenizer = chatting(begin + WITH_BOS)
    chat = [{"role": "user", "content": "Say it."}]
    expected = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert render("chat", record(), tokenizer) == expected


BROKEN = {
    "does not parse": ("{% if %}", r"TemplateSyntaxError: "),
    "raises": ("{{ raise_exception('needs a system message') }}", r"TemplateError: needs a system message"),
    "has a fault": ("{{ messages[0].content + 1 }}", r"TypeError: "),
    "names no field": ("{{ messages[0].text.strip() }}", r"UndefinedError: "),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_template_is_one_line(name: str) -> None:
    """A template that does not parse, or raises, is named with what it said and the styles that need none."""
    template, reason = BROKEN[name]
    pattern = rf"^data\.prompt=chat: the chat template of .* cannot render a chat \({reason}.*\); alpaca, .* need none$"
    with pytest.raises(ValueError, match=pattern) as error:
        tokenise([record()], chatting(template), "chat", 500)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=pattern):
        other_ending(chatting(template), "chat")


OTHER = "{% for m in messages %}[{{ m.role }}]{{ m.content }}<s>\n{% endfor %}"


@pytest.mark.parametrize(
    ("template", "style", "said"),
    [
        (WITH_BOS, "chat", None),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "chat", None),
        (OTHER, "chat", "ends an answer with <s>, and responses are trained to end with </s>: data.eos='<s>'"),
        (OTHER, "alpaca", None),
    ],
)
def test_another_end_of_turn_is_told(template: str, style: str, said: str | None) -> None:
    """Where the template ends an answer with another special token than EOS, it is named with the way out."""
    tokenizer = chatting(template)
    remark = other_ending(tokenizer, style)
    assert remark is None if said is None else said in str(remark)
    end_with(tokenizer, "<s>")
    if said is not None:
        assert other_ending(tokenizer, style) is None


def test_tokenizer_without_a_template_is_refused() -> None:
    """Without a chat template the error names the styles that need none."""
    with pytest.raises(ValueError, match=r"has no chat template; alpaca, alpaca_newline, plain need none"):
        tokenise([record()], chatting(None), "chat", 500)


def test_cut_chat_is_counted_as_others_are() -> None:
    """A record whose prompt fills the length is lost; one with room for a token keeps it."""
    tokenizer = chatting(WITH_BOS)
    whole = one(tokenizer, record(output="abc"))
    assert tokenise([record(output="abc")], tokenizer, "chat", whole.prompt_length) == ([], [record(output="abc")])
    cut = one(tokenizer, record(output="abc"), whole.prompt_length + 2)
    assert (cut.input_ids, cut.ends) == (whole.input_ids[: whole.prompt_length + 2], False)


@pytest.fixture(scope="module", params=["llama2", "llama3", "mistral_v0_3", "qwen2_5"])
def real(request: pytest.FixtureRequest, shared: Path) -> PreTrainedTokenizerBase:
    """Each real tokenizer, with a template of its own special tokens."""
    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / request.param)
    begin = "{{ bos_token }}" if tokenizer.bos_token else ""
    tokenizer.chat_template = f"{begin}user\n{{{{ messages[0].content }}}}{{{{ eos_token }}}}\nassistant\n"
    return tokenizer


CASES = {
    "trailing spaces": ("Say it.  ", "This.   ", "  yes  "),
    "empty input": ("Say it.", "", "yes"),
    "only Unicode": ("世界你好", "नमस्ते 😀", "Größe 👩‍👩‍👧"),
    "very long": ("why " * 4000, "", "because " * 2000),
    "special names": ("What is <s>?", "</s> and <|end_of_text|> <|endoftext|>", "An <s>, </s>, <|endoftext|>."),
}


@pytest.mark.parametrize("style", ["alpaca", "alpaca_newline", "plain", "chat"])
@pytest.mark.parametrize("case", CASES)
def test_every_style_begins_once_and_ends_trained(real: PreTrainedTokenizerBase, case: str, style: str) -> None:
    """With each real tokenizer and style: BOS exactly once, EOS last and trained, the response whole."""
    instruction, input, output = CASES[case]
    (tokens,), _ = tokenise([record(instruction, input, output)], real, style, 100_000)
    turns = 1 if style == "chat" else 0  # the user's turn ends with EOS in the template above
    if real.bos_token_id is not None:
        assert tokens.input_ids[0] == real.bos_token_id
        assert tokens.input_ids.count(real.bos_token_id) == 1
    assert tokens.input_ids.count(real.eos_token_id) == 1 + turns
    assert tokens.input_ids[-1] == real.eos_token_id
    assert tokens.ends
    assert tokens.num_targets("response") == len(tokens.input_ids) - tokens.prompt_length >= 2
    assert tokens.response_bytes == len(output.encode())
    assert real.decode(tokens.input_ids[tokens.prompt_length : -1]).strip() == output.strip()


def test_special_name_in_the_data_changes_nothing_around_it(real: PreTrainedTokenizerBase) -> None:
    """Of a prompt whose user names a special token, all ids before and behind what is said are those of any other."""
    for name in map(str, (real.eos_token, real.bos_token or real.eos_token)):
        (with_name,) = prompt_ids([record(f"Say it. {name}")], real, "chat")
        (without,) = prompt_ids([record("Say it.")], real, "chat")
        end = without.index(real.eos_token_id)
        assert with_name[:end] == without[:end]
        assert with_name[end - len(without) :] == without[end:]
        assert len(with_name) > len(without)
