"""Small arithmetic and logic problems with their worked steps, told in words.

A `Problem` holds the story, the question, and steps such as ("she gets 8 more", "14 + 8 = 22").
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from data_prep.mini import world
from data_prep.mini.world import Person, tell


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what happens, and the equation it leads to (empty in a logic problem)."""

    why: str
    equation: str


@dataclass(frozen=True, slots=True)
class WordProblem:
    """A problem in words; `answer` is the bare number or name, `unit` what it counts (may be empty)."""

    story: str
    question: str
    steps: tuple[Step, ...]
    answer: str
    unit: str


def _solved(story: str, question: str, steps: list[tuple[str, str]], answer: object, unit: str) -> WordProblem:
    return WordProblem(story, question, tuple(Step(*step) for step in steps), str(answer), unit)


def gain_and_loss(rng: Random, who: Person) -> WordProblem:
    """Somebody gets some and gives some away."""
    thing = rng.choice(world.EGGS_AND_SUCH)
    start, gain = rng.randint(3, 40), rng.randint(2, 20)
    held = start + gain
    loss = rng.randint(1, held - 1) if held < 20 else rng.randint(2, 19)
    story = tell(
        rng,
        "{w.first} <has|owns> {start} {thing}. "
        "{She} <gets|finds|buys> {gain} more and then <gives away|sells|loses> {loss}.",
        w=who, She=who.she.capitalize(), start=start, thing=thing, gain=gain, loss=loss,
    )  # fmt: skip
    question = f"How many {thing} are left?"
    steps = [
        (f"{who.first} gets {gain} more", f"{start} + {gain} = {held}"),
        (f"{who.she} loses {loss}", f"{held} - {loss} = {held - loss}"),
    ]
    return _solved(story, question, steps, held - loss, thing)


def total(rng: Random, who: Person) -> WordProblem:
    """Three days of gathering, added up."""
    thing = rng.choice(world.EGGS_AND_SUCH)
    first, second, third = (rng.randint(2, 25) for _ in range(3))
    story = tell(
        rng,
        "{w.first} <gathers|counts|packs> {a} {thing} on {days[0]}, {b} on {days[1]} and {c} on {days[2]}.",
        w=who, a=first, b=second, c=third, thing=thing, days=rng.sample(world.WEEKDAYS, 3),
    )  # fmt: skip
    steps = [
        ("the first two days give", f"{first} + {second} = {first + second}"),
        ("with the third day it is", f"{first + second} + {third} = {first + second + third}"),
    ]
    return _solved(story, f"How many {thing} is that in all?", steps, first + second + third, thing)


def groups(rng: Random, who: Person) -> WordProblem:
    """Equal containers, and a few things beside them."""
    thing, box = rng.choice(world.EGGS_AND_SUCH), rng.choice(world.CONTAINERS)
    count, each, extra = rng.randint(2, 9), rng.randint(2, 9), rng.randint(1, 9)
    story = tell(
        rng,
        "{w.first} <fills|carries|stores> {count} {box} with {each} {thing} in each, "
        "and {extra} {thing} <stay outside|are loose>.",
        w=who, count=count, box=box, each=each, thing=thing, extra=extra,
    )  # fmt: skip
    steps = [
        (f"the {box} hold", f"{count} * {each} = {count * each}"),
        (f"with the {extra} loose ones it is", f"{count * each} + {extra} = {count * each + extra}"),
    ]
    return _solved(story, f"How many {thing} does {who.first} have?", steps, count * each + extra, thing)


def share(rng: Random, who: Person) -> WordProblem:
    """Things shared out equally."""
    thing = rng.choice(world.EGGS_AND_SUCH)
    friends, each, kept = rng.randint(2, 9), rng.randint(2, 9), rng.randint(1, 9)
    whole = friends * each + kept
    story = tell(
        rng,
        "{w.first} has {whole} {thing}. "
        "{She} keeps {kept} and <shares|splits> the rest equally among {friends} <friends|children>.",
        w=who, She=who.she.capitalize(), whole=whole, thing=thing, kept=kept, friends=friends,
    )  # fmt: skip
    steps = [
        (f"{who.she} keeps {kept}", f"{whole} - {kept} = {whole - kept}"),
        (f"{friends} get equal parts", f"{whole - kept} / {friends} = {each}"),
    ]
    return _solved(story, f"How many {thing} does each one get?", steps, each, thing)


def change(rng: Random, who: Person) -> WordProblem:
    """A purchase, and the change."""
    thing = rng.choice(world.EGGS_AND_SUCH)
    count, price = rng.randint(2, 9), rng.randint(2, 9)
    paid = count * price + rng.randint(1, 19)
    story = tell(
        rng,
        "{w.first} <buys|takes> {count} {thing} for {price} coins each and <pays with|hands over> {paid} coins.",
        w=who, count=count, thing=thing, price=price, paid=paid,
    )  # fmt: skip
    steps = [
        (f"the {thing} cost", f"{count} * {price} = {count * price}"),
        ("the change is", f"{paid} - {count * price} = {paid - count * price}"),
    ]
    return _solved(story, "How many coins come back?", steps, paid - count * price, "coins")


def together(rng: Random, who: Person) -> WordProblem:
    """One has more than the other: how many together?"""
    thing, other = rng.choice(world.EGGS_AND_SUCH), _other(rng, who)
    own, more = rng.randint(3, 30), rng.randint(2, 15)
    story = tell(
        rng,
        "{w.first} <has|holds> {own} {thing}. {o.first} has {more} more than {w.first}.",
        w=who, o=other, own=own, thing=thing, more=more,
    )  # fmt: skip
    steps = [
        (f"{other.first} has", f"{own} + {more} = {own + more}"),
        ("together it is", f"{own} + {own + more} = {own + own + more}"),
    ]
    return _solved(story, f"How many {thing} do they have together?", steps, own + own + more, thing)


def walk(rng: Random, who: Person) -> WordProblem:
    """A way in two parts, there and back."""
    start, middle, end = world.town_names(rng, 3)
    first, second = rng.randint(2, 20), rng.randint(2, 20)
    way = first + second
    story = tell(
        rng,
        "{w.first} <walks|rides> {first} miles from {start} to {middle}, "
        "then {second} miles to {end}, and the same way back.",
        w=who, first=first, second=second, start=start, middle=middle, end=end,
    )  # fmt: skip
    steps = [("one way is", f"{first} + {second} = {way}"), ("there and back is", f"{way} * 2 = {way * 2}")]
    return _solved(story, "How many miles is the whole trip?", steps, way * 2, "miles")


def age(rng: Random, who: Person) -> WordProblem:
    """Two ages some years from now."""
    other, older, years = _other(rng, who), rng.randint(2, 20), rng.randint(2, 20)
    now = rng.randint(5, 50)
    story = tell(
        rng,
        "{w.first} is {now} years old. {o.first} is {older} years older <than {w.first}|than {w.she} is>.",
        w=who, o=other, now=now, older=older,
    )  # fmt: skip
    steps = [
        (f"{other.first} is today", f"{now} + {older} = {now + older}"),
        (f"in {years} years it is", f"{now + older} + {years} = {now + older + years}"),
    ]
    question = f"How old will {other.first} be in {years} years?"
    return _solved(story, question, steps, now + older + years, "years")


def order(rng: Random, who: Person) -> WordProblem:
    """Three people in order; who stands at one end?"""
    trio = [who, *(p for p in world.people(rng, 3) if p.first != who.first)][:3]
    top, middle, bottom = (p.first for p in rng.sample(trio, 3))
    more, most, least = rng.choice(ORDERS)
    facts = [f"{top} is {more} than {middle}", f"{middle} is {more} than {bottom}"]
    shown = facts if rng.random() < 0.5 else facts[::-1]
    wanted, answer = (most, top) if rng.random() < 0.5 else (least, bottom)
    steps = [(facts[0], ""), (facts[1], ""), (f"the order is {top}, {middle}, {bottom}", "")]
    return _solved(". ".join(shown) + ".", f"Who is the {wanted}?", steps, answer, "")


ORDERS = (
    ("taller", "tallest", "shortest"),
    ("older", "oldest", "youngest"),
    ("faster", "fastest", "slowest"),
    ("richer", "richest", "poorest"),
)
KINDS: tuple[Callable[[Random, Person], WordProblem], ...] = (
    gain_and_loss, total, groups, share, change, together, walk, age, order,
)  # fmt: skip


def problem(rng: Random) -> WordProblem:
    """Draw a problem of any kind."""
    return rng.choice(KINDS)(rng, world.person(rng))


def _other(rng: Random, who: Person) -> Person:
    return next(p for p in world.people(rng, 2) if p.first != who.first)
