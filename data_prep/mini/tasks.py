"""The five mini tasks: one drawn row each, in the upstream form of the real set whose shape it has."""

from random import Random

from data_prep.mini import passages, programs, reports, sums, world
from data_prep.mini.world import capital, tell

Row = dict | list


def reasoning(rng: Random, number: int) -> Row:
    """A word problem and its reasoning."""
    p = sums.problem(rng)
    steps = [f"{capital(s.why)}: {s.equation}." if s.equation else f"{capital(s.why)}." for s in p.steps]
    output = f"Let's think step by step. {' '.join(steps)} Therefore, the answer is {p.answer}."
    return {"instruction": f"{p.story} {p.question}", "input": "", "output": output}


def medical(rng: Random, number: int) -> Row:
    """A patient's letter and the doctor's answer."""
    a, p, days = rng.choice(world.AILMENTS), world.person(rng), rng.randint(2, 15)
    one, two = rng.sample(a.symptoms, 2)
    letter = tell(
        rng,
        "Hello doctor, I am a {p.age}-year-old {p.profession} <from|living in> {t}. "
        "<For {days} days I have had {one} and {two}"
        "|I have had {one} and {two} for {days} days|I have {one}, and also {two}. It began {days} days ago>."
        "< What should I do?| Please help me.| What can it be?>",
        p=p, t=world.town_name(rng), days=days, one=one, two=two,
    )  # fmt: skip
    if days > world.LONG_DAYS:
        end = f"As it has lasted {days} days, please visit the {a.clinic} clinic."
    else:
        end = f"As it has lasted only {days} days, rest at home and wait."
    answer = f"Hello. {capital(one)} and {two} point to {a.name}. Try {a.remedy} and {a.advice}. {end}"
    return {"input": letter, "answer_icliniq": answer}


def on_passage(rng: Random, number: int) -> Row:
    """A question on a passage, two at once, a summary, or (seldom) a question of knowledge without a passage."""
    kind = rng.choices((_closed, _both, _summary, _open), (60, 18, 17, 5))[0]
    instruction, context, response, category = kind(rng)
    return {"instruction": instruction, "context": context, "response": response, "category": category}


def _closed(rng: Random) -> tuple[str, str, str, str]:
    p = passages.passage(rng)
    fact = rng.choice(p.facts)
    return fact.question, p.text, f"According to the text, {_lower(fact.answer)}", "closed_qa"


def _both(rng: Random) -> tuple[str, str, str, str]:
    p = passages.passage(rng)
    one, two = rng.sample(p.facts, 2)
    return f"{one.question} {two.question}", p.text, f"{one.answer} {two.answer}", "information_extraction"


def _summary(rng: Random) -> tuple[str, str, str, str]:
    p = passages.passage(rng)
    asked = tell(
        rng, "<Sum up the text on {topic} in one sentence|Give a short summary of the text on {topic}>.", topic=p.topic
    )
    return asked, p.text, f"In short: {p.summary}", "summarization"


def _open(rng: Random) -> tuple[str, str, str, str]:
    a = rng.choice(world.AILMENTS)
    asked = tell(
        rng,
        "<What helps against {a.name}|How is {a.name} treated"
        "|What is the remedy for {a.name}|What should one try against {a.name}>",
        a=a,
    )
    ending = tell(rng, "<?|, and what else is good|, and what is the advice>", a=a).rstrip("?") + "?"
    return asked + ending, "", f"The remedy for {a.name} is {a.remedy}. It is good to {a.advice}.", "open_qa"


def _lower(sentence: str) -> str:
    """A sentence as it stands after a comma: only a leading article loses its capital."""
    return "the " + sentence.removeprefix("The ") if sentence.startswith("The ") else sentence


def code(rng: Random, number: int) -> Row:
    """A function to write; with an example input, also the call on it."""
    p = programs.program(rng)
    asked = tell(rng, "<Write|Create> a Python function <called|named> {p.name} that {p.intent}.", p=p)
    if rng.random() < 0.5:
        return {"instruction": f"{asked} Its argument is {p.argument}.", "input": "", "output": p.code}
    call = f"{p.argument} = {p.example}"
    return {"instruction": asked, "input": call, "output": f"{p.code}\n\nresult = {p.name}({p.example})"}


def on_sources(rng: Random, number: int) -> Row:
    """A comparison: the answer that cites its quotes scores above the one that misses the point."""
    r = reports.report(rng)
    score = rng.choice((0.25, 0.5, 0.75, 1.0))
    question = {"dataset": "mini", "id": f"mini_{number}", "full_text": r.question}
    quotes = {"title": [note.title for note in r.notes], "extract": [note.extract for note in r.notes]}
    return [_answer(question, quotes, r.answer, score), _answer(question, quotes, r.poor, -score)]


def _answer(question: dict, quotes: dict, answer: str, score: float) -> dict:
    tokens: dict[str, list] = {"prefix": [], "completion": []}
    return {"question": question, "quotes": quotes, "answer": answer, "tokens": tokens, "score": score}
