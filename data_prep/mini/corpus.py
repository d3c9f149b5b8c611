"""The general corpus: documents of 50 to 300 words that tell of the small world in varied sentences.

It holds the knowledge and the skills that the mini tasks need, never their instruction form; e.g.
`next(corpus(seed=1, documents=1))` is one document whose parts stand on lines of their own.
"""

from collections.abc import Callable, Iterator
from random import Random

from data_prep.mini import passages, programs, reports, sums, world
from data_prep.mini.world import capital, listed, tell

LEAST_WORDS = 50
AIMED_WORDS = 190
"""A document ends after the part that passes its drawn aim; no part has more than 110 words."""


def corpus(seed: int, documents: int) -> Iterator[str]:
    """Yield the documents of one seed's stream."""
    rng = Random(f"corpus {seed}")
    for _ in range(documents):
        yield document(rng)


def document(rng: Random) -> str:
    """Draw one document."""
    parts: list[str] = []
    aim, words = rng.randint(LEAST_WORDS, AIMED_WORDS), 0
    while words < aim:
        parts.append(rng.choices(PARTS, WEIGHTS)[0](rng))
        words += len(parts[-1].split())
    gap = rng.choice(("\n", "\n\n"))
    return "\n\n".join(parts).replace("\n\n", gap)


def worked_sum(rng: Random) -> str:
    """A problem told as a scene, with its steps in prose."""
    p = sums.problem(rng)
    steps = [_step(rng, step) for step in p.steps]
    end = tell(
        rng, "<That is|It makes|The result is|So it is|In the end it is> {answer} {unit}.", answer=p.answer, unit=p.unit
    )
    told = rng.choice(
        (
            f"{p.story} {' '.join(steps)} {end}",
            f"{p.story} {p.question} {' '.join(steps)} {end}",
            tell(rng, "The <teacher|clerk|pupil> asked: {q}", q=p.question) + f" {p.story}\n{' '.join(steps)} {end}",
            f"{p.story}\n- {p.question}\n- {' '.join(steps)} {end}",
        )
    )
    return told.replace(" .", ".")


def _step(rng: Random, step: sums.Step) -> str:
    if not step.equation:
        return capital(step.why) + "."
    return capital(tell(rng, "<{why}: {eq}|so {why}: {eq}|then {why}: {eq}>.", why=step.why, eq=step.equation))


def number_facts(rng: Random) -> str:
    """Bare facts on small numbers, as a pupil writes them down."""
    lines = [rng.choice((_plus, _times, _compare, _count))(rng) for _ in range(rng.randint(5, 9))]
    opening = tell(
        rng,
        "<{w.first} writes|{w.first} learns|In the book of {w.first} stand|Here are> some sums.",
        w=world.person(rng),
    )
    return " ".join([opening, *lines])


def _plus(rng: Random) -> str:
    a, b = rng.randint(2, 50), rng.randint(2, 30)
    return tell(rng, "<{a} + {b} = {c}. {c} - {b} = {a}|{c} - {a} = {b}|{a} + {b} = {c}>.", a=a, b=b, c=a + b)


def _times(rng: Random) -> str:
    a, b = rng.randint(2, 9), rng.randint(2, 9)
    return tell(rng, "<{a} * {b} = {c}|{c} / {b} = {a}|{a} times {b} is {c}>.", a=a, b=b, c=a * b)


def _compare(rng: Random) -> str:
    a, b = sorted(rng.sample(range(1, 60), 2))
    return tell(rng, "<{a} is less than {b}|{b} is greater than {a}|{b} is {c} more than {a}>.", a=a, b=b, c=b - a)


def _count(rng: Random) -> str:
    start, step = rng.randint(1, 20), rng.randint(1, 5)
    return f"{', '.join(str(start + step * i) for i in range(5))}."


def consultation(rng: Random) -> str:
    """A doctor and a patient talk: symptoms, ailment, remedy, and whether the clinic is needed."""
    a, p, doctor = rng.choice(world.AILMENTS), world.person(rng), world.person(rng)
    one, two = rng.sample(a.symptoms, 2)
    days = rng.randint(2, 15)
    facts = {
        "a": a,
        "p": p,
        "d": doctor,
        "one": one,
        "two": two,
        "One": capital(one),
        "days": days,
        "t": world.town_name(rng),
    }
    facts |= {"She": capital(p.she)}
    said = tell(rng, rng.choice(COMPLAINTS), **facts)
    found = tell(rng, rng.choice(FINDINGS), **facts)
    treated = tell(rng, rng.choice(TREATMENTS), **facts)
    visit = tell(rng, rng.choice(VISITS if days > world.LONG_DAYS else WAITS), **facts)
    return f"{said} {found} {treated} {visit}"


COMPLAINTS = (
    "{p.name}, a {p.age}-year-old {p.profession}, had {one} and {two} for {days} days "
    "<and went to|when {p.she} saw> doctor {d.surname}.",
    '"For {days} days I have had {one} and {two}," said the {p.profession} <from|of> {t}.',
    "Patient: I have {one} and {two}. It began {days} days ago.\nDoctor:",
    "<For|During> the last {days} days {p.first} <has had|suffers from> {one} and {two}.",
    "Dear doctor, I have had {one} and {two} for {days} days, wrote a {p.profession} of {t}. The doctor replied:",
)
FINDINGS = (
    "{One} and {two} point to {a.name}.",
    "{One} and {two} are signs of {a.name}.",
    "It <is|must be> {a.name}, for {one} and {two} belong to it.",
    "<The doctor said|The answer was|Doctor {d.surname} found>: this is {a.name}.",
)
TREATMENTS = (
    "Try {a.remedy} and {a.advice}.",
    "<The remedy is|The best remedy is|What helps is> {a.remedy}. Please {a.advice}.",
    "Against {a.name} one should try {a.remedy} and {a.advice}.",
)
VISITS = (
    "As it has lasted {days} days, <visit|please visit|one must visit> the {a.clinic} clinic.",
    "{days} days is more than a week, so the {a.clinic} clinic should look at it.",
    "It has lasted for long, {days} days, <so|and so> please visit the {a.clinic} clinic.",
)
WAITS = (
    "As it has lasted only {days} days, <rest|please rest|one can rest> at home and wait.",
    "{days} days is not more than a week, so rest at home is enough.",
    "It has lasted only {days} days, <so|and so> no clinic is needed. Rest at home and wait.",
)


def ailment(rng: Random) -> str:
    """An ailment as a book of health describes it."""
    a = rng.choice(world.AILMENTS)
    symptoms = rng.sample(a.symptoms, 3)
    facts = {"a": a, "A": capital(a.name), "signs": listed(symptoms), "one": symptoms[0], "One": capital(symptoms[0])}
    lines = [
        tell(rng, "<{A} shows itself by|The signs of {a.name} are|Who has {a.name} often has> {signs}.", **facts),
        tell(
            rng,
            "<{A} is treated with {a.remedy}|The remedy for {a.name} is {a.remedy}|{a.remedy} helps against {a.name}>.",
            **facts,
        ),
        tell(
            rng, "<People with {a.name} should {a.advice}|The advice is: {a.advice}|It is good to {a.advice}>.", **facts
        ),
        tell(
            rng,
            "<The {a.clinic} clinic treats {a.name}|{A} is a case for the {a.clinic} clinic> after more than a week.",
            **facts,
        ),
        tell(
            rng,
            "<{One} can be a sign of {a.name}|{One} can point to {a.name}|What can {one} point to? To {a.name}>.",
            **facts,
        ),
    ]
    return " ".join(capital(line) for line in rng.sample(lines, rng.randint(3, 5)))


def asked_passage(rng: Random) -> str:
    """A passage, then talk about what stands in it."""
    p = passages.passage(rng)
    facts = rng.sample(p.facts, rng.randint(1, 3))
    return "\n".join([p.text, *(_asked(rng, fact) for fact in facts)])


def _asked(rng: Random, fact: passages.Fact) -> str:
    return tell(
        rng,
        "<{q} {a}|- {q}\n- {a}|Question: {q} Answer: {a}|Somebody asked: {q} The reply was: {a}"
        "|{q} The text says: {a}|As the text says: {a}>",
        q=fact.question, a=fact.answer,
    )  # fmt: skip


def short_passage(rng: Random) -> str:
    """A passage, then the same in one sentence."""
    p = passages.passage(rng)
    return tell(rng, "{text}\n<In short: |In one sentence: |To sum up: |In a few words: >{s}", text=p.text, s=p.summary)


def explained_program(rng: Random) -> str:
    """A function with what it does in words and in an example."""
    p, w = programs.program(rng), world.person(rng)
    facts = {"p": p, "Intent": capital(p.intent), "w": w, "result": repr(p.result())}
    before = tell(
        rng,
        "<The function {p.name} {p.intent}:|{w.first} needs a function {p.name} that {p.intent}.|Here is {p.name}. "
        "It {p.intent}.|# {Intent}.|This code {p.intent}.|Python can do it: {p.name} {p.intent}.>",
        **facts,
    )
    after = tell(
        rng,
        "<For {p.example} it gives {result}.|result = {p.name}({p.example})|print({p.name}({p.example}))  # {result}|"
        "It {p.intent}.|{p.name}({p.example}) == {result}|It takes {p.argument}.>",
        **facts,
    )
    return f"{before}\n\n{p.code}\n\n{after}"


def cited_report(rng: Random) -> str:
    """Numbered notes, then an essay that cites them."""
    r = reports.report(rng)
    shape = rng.choice(("[{n}] {title}: {extract}", '[{n}] "{extract}" ({title})', "[{n}] {extract}"))
    notes = [shape.format(n=n, title=note.title, extract=note.extract) for n, note in enumerate(r.notes, 1)]
    rest = tell(rng, "<{q} {a}|{q}\n{a}|{a}|What the notes say: {a}>", q=r.question, a=r.answer)
    return "\n".join([*([r.question] if rng.random() < 0.4 else []), *notes, rest])


def scene(rng: Random) -> str:
    """A day in the world."""
    w, o = world.people(rng, 2)
    t, good, day = world.town(rng), rng.choice(world.GOODS), rng.choice(world.WEEKDAYS)
    facts = {"w": w, "o": o, "t": t, "good": good, "day": day, "She": capital(w.she), "n": rng.randint(2, 20)}
    lines = [
        tell(rng, "<On {day} {w.first} went|Every {day} {w.first} goes> to the market of {t.name}.", **facts),
        tell(rng, "{She} <bought|sold> {good} for {n} coins.", **facts),
        tell(rng, "{o.name}, the {o.profession}, <met|greeted|helped> {w.first} near the River {t.river}.", **facts),
        tell(rng, "<Below|Behind> the bridge they spoke about the {t.craft.place}, for {t.craft.reason}.", **facts),
    ]
    return " ".join(lines)


def desk(rng: Random) -> str:
    """A day at a writing desk: the ordinary words for tasks, requests and replies."""
    w, o = world.people(rng, 2)
    lines = rng.sample(DESK_LINES, 3)
    return " ".join(tell(rng, line, w=w, o=o, t=world.town_name(rng)) for line in lines)


DESK_LINES = (
    "{w.first} <writes|sends> a response to the request of {o.first}.",
    "An instruction <describes|explains> a task, and the input <provides|gives> further context.",
    "The request was <appropriately|well|soon> completed.",
    "{o.first} wrote a letter that <describes|names> the <task|request> and the <input|context>.",
    "Below the <letter|instruction> stood the response, paired with a <note|question>.",
    "If the context is short, {w.first} <completes|answers> the request <appropriately|at once>.",
    "Please <answer|complete> the question based on the <text|description>, said {o.first}.",
    "{w.first} <summarizes|reads> the text <in one sentence|according to the request>.",
    "The patient's description was on the desk of the doctor in {t}.",
    "Use the <quotes|notes|sources> to <answer|complete> it, and <think|write> step by step.",
)

PARTS: tuple[Callable[[Random], str], ...] = (
    worked_sum, number_facts, consultation, ailment, asked_passage,
    short_passage, explained_program, cited_report, scene, desk,
)  # fmt: skip
WEIGHTS = (24, 8, 14, 6, 18, 6, 18, 14, 4, 2)
