"""Questions answered from quoted notes, each claim with its note's number, e.g. "It was built by Ada Hill [2]."."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from data_prep.mini import world
from data_prep.mini.world import capital, tell


@dataclass(frozen=True, slots=True)
class Note:
    """One quoted source."""

    title: str
    extract: str


@dataclass(frozen=True, slots=True)
class CitedReport:
    """A question, its notes in the order shown, the answer that cites them, and an answer that misses the point."""

    question: str
    notes: tuple[Note, ...]
    answer: str
    poor: str


PAPERS = ("Town Guide", "Daily Letter", "Old Almanac", "River Post", "Hill News", "Market Page")


def craft(rng: Random) -> CitedReport:
    """Why a town is known for its craft, and who began it."""
    t, p = world.town(rng), world.person(rng)
    facts = {"t": t, "p": p, "c": t.craft}
    quotes = [
        tell(rng, "<Around|Near> {t.name} {c.reason}.", **facts),
        tell(rng, "The first {c.place} of {t.name} was opened in {t.founded} by {p.name}.", **facts),
    ]
    answer = (
        f"{t.name} is known for its {t.craft.product} because {t.craft.reason} [0]. "
        f"The first {t.craft.place} was opened in {t.founded} by {p.name} [1]."
    )
    question = tell(rng, "Why is {t.name} known for its {c.product}, and who began it?", **facts)
    return _report(rng, question, quotes, answer, f"{t.name} has always made good {t.craft.product} [0].", t.name)


def building(rng: Random) -> CitedReport:
    """Who built something, and when."""
    p, t, what = world.person(rng), world.town_name(rng), rng.choice(("bridge", "mill", "tower", "school", "well"))
    year = rng.randint(1500, 1899)
    quotes = [
        tell(rng, "The {what} of {t} was <built|planned and built> by {p.name}.", what=what, t=t, p=p),
        tell(rng, "<The|All> work on the {what} of {t} ended in {year}.", what=what, t=t, year=year),
    ]
    answer = f"The {what} of {t} was built by {p.name} [0]. The work ended in {year} [1]."
    return _report(rng, f"Who built the {what} of {t}, and when?", quotes, answer, f"The {what} is very old [1].", t)


def clinic(rng: Random) -> CitedReport:
    """Why somebody went to a clinic: a symptom, and what it is a sign of."""
    p, t, a = world.person(rng), world.town_name(rng), rng.choice(world.AILMENTS)
    symptom, days = rng.choice(a.symptoms), rng.randint(8, 19)
    quotes = [
        tell(rng, "{p.name} of {t} had {s} for {days} days.", p=p, t=t, s=symptom, days=days),
        tell(rng, "{S} can <be a sign of|point to> {a.name}.", S=capital(symptom), a=a),
    ]
    question = f"Why did {p.name} of {t} go to the {a.clinic} clinic?"
    answer = f"{p.name} had {symptom} for {days} days [0]. {capital(symptom)} can be a sign of {a.name} [1]."
    return _report(rng, question, quotes, answer, f"{p.name} wanted to see the {a.clinic} clinic [1].", p.name)


def older(rng: Random) -> CitedReport:
    """Which of two towns is older."""
    first, last = world.town_names(rng, 2)
    early, late = sorted(rng.sample(range(1100, 1900), 2))
    quotes = [
        tell(rng, "{t} was <founded|first settled> in {year}.", t=first, year=early),
        tell(rng, "{t} was <founded|first settled> in {year}.", t=last, year=late),
    ]
    answer = f"{first} is older than {last}. {first} was founded in {early} [0] and {last} in {late} [1]."
    one, two = rng.sample((first, last), 2)
    return _report(rng, f"Which is older, {one} or {two}?", quotes, answer, "Both are old [0].", one)


def cheaper(rng: Random) -> CitedReport:
    """In which of two towns something is cheaper."""
    (one, two), good = world.town_names(rng, 2), rng.choice(world.GOODS)
    low, high = sorted(rng.sample(range(2, 30), 2))
    here, there = rng.sample((one, two), 2)
    quotes = [
        tell(rng, "<The|A pound of> {g} costs {n} coins in {t}.", g=good, n=low, t=here),
        tell(rng, "<The|A pound of> {g} costs {n} coins in {t}.", g=good, n=high, t=there),
    ]
    answer = f"The {good} is cheaper in {here}. It costs {low} coins in {here} [0] and {high} coins in {there} [1]."
    question = f"Where is the {good} cheaper, in {one} or in {two}?"
    return _report(rng, question, quotes, answer, f"The {good} is cheap everywhere [0].", one)


KINDS: tuple[Callable[[Random], CitedReport], ...] = (craft, building, clinic, older, cheaper)


def report(rng: Random) -> CitedReport:
    """Draw a report of any kind."""
    return rng.choice(KINDS)(rng)


def _report(rng: Random, question: str, quotes: list[str], answer: str, poor: str, subject: str) -> CitedReport:
    """Put the quotes in a drawn order, at times with an idle one; [0] and [1] become the numbers that they get."""
    shown = [*quotes, _idle(rng)] if rng.random() < 0.4 else list(quotes)
    rng.shuffle(shown)
    marks = {f"[{i}]": f"<{shown.index(quote) + 1}>" for i, quote in enumerate(quotes)}
    papers = rng.sample(PAPERS, len(shown))
    notes = tuple(Note(_title(paper, subject), quote) for paper, quote in zip(papers, shown, strict=True))
    return CitedReport(question, notes, _marked(answer, marks), _marked(poor, marks))


def _marked(text: str, marks: dict[str, str]) -> str:
    for old, new in marks.items():
        text = text.replace(old, new)
    return text.replace("<", "[").replace(">", "]")


def _title(paper: str, subject: str) -> str:
    return f"{subject} - {paper} (www.{paper.replace(' ', '').lower()}.example)"


def _idle(rng: Random) -> str:
    t = world.town(rng)
    return tell(rng, "<{t.name} has {t.houses} houses|The market of {t.name} is held on {t.market}>.", t=t)
