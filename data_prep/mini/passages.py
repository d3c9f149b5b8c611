"""Short passages with facts to ask for: a town, a person, a shop, a dish, a journey, a festival.

Each `Fact` has a question, an answer sentence, and the value in it, which stands in the passage word for word.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from data_prep.mini import world
from data_prep.mini.world import capital, listed, tell


@dataclass(frozen=True, slots=True)
class Fact:
    """A question on a passage; `answer` is the whole sentence, `value` the words it turns on."""

    question: str
    answer: str
    value: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A text, what may be asked of it, and the text in one sentence; `topic` names what it tells of."""

    topic: str
    text: str
    facts: tuple[Fact, ...]
    summary: str


def _passage(rng: Random, topic: str, first: str, others: list[str], facts: list[tuple], summary: str) -> Passage:
    rng.shuffle(others)
    return Passage(topic, " ".join([first, *others]), tuple(Fact(q, a, str(v)) for q, a, v in facts), summary)


def place(rng: Random) -> Passage:
    """A town: river, year, craft, market day."""
    t = world.town(rng)
    first = tell(rng, "{t.name} is a <small|quiet|busy|pleasant> town on the River {t.river}.", t=t)
    others = [
        tell(rng, "It was <founded|first settled|built> in {t.founded}.", t=t),
        tell(rng, "<The town|It> has {t.houses} houses.", t=t),
        tell(rng, "<People know it for its|It is known for its|Visitors come for the> {t.craft.product}.", t=t),
        tell(rng, "<A|The> market <is held|takes place> <on|every> {t.market}.", t=t),
    ]
    facts = [
        (f"On which river does {t.name} lie?", f"{t.name} lies on the River {t.river}.", t.river),
        (f"When was {t.name} founded?", f"{t.name} was founded in {t.founded}.", t.founded),
        (f"How many houses does {t.name} have?", f"{t.name} has {t.houses} houses.", t.houses),
        (f"What is {t.name} known for?", f"{t.name} is known for its {t.craft.product}.", t.craft.product),
        (f"When is the market of {t.name} held?", f"The market of {t.name} is held on {t.market}.", t.market),
    ]
    summary = f"{t.name} is a town on the River {t.river}, founded in {t.founded} and known for its {t.craft.product}."
    return _passage(rng, t.name, first, others, facts, summary)


def life(rng: Random) -> Passage:
    """Somebody's life: age, profession, home, birthplace, pet."""
    p, (home, birth) = world.person(rng), world.town_names(rng, 2)
    pet, dress = rng.choice(("dog", "cat", "horse", "goat", "parrot")), rng.choice(("red", "blue", "green", "grey"))
    facts = {"p": p, "home": home, "birth": birth, "pet": pet, "dress": dress, "She": capital(p.she)}
    first = tell(rng, "{p.name} is a {p.profession} <of {p.age} years|who is {p.age} years old>.", **facts)
    others = [
        tell(rng, "{She} <lives|has a house> in {home}.", **facts),
        tell(rng, "{She} was born in {birth}.", **facts),
        tell(rng, "{She} <keeps|has|owns> a {pet}.", **facts),
        tell(rng, "{She} <often wears|likes to wear> a {dress} coat.", **facts),
    ]
    asked = [
        (f"How old is {p.name}?", f"{p.name} is {p.age} years old.", p.age),
        (f"What is the profession of {p.name}?", f"{p.name} is a {p.profession}.", p.profession),
        (f"Where does {p.name} live?", f"{p.name} lives in {home}.", home),
        (f"Where was {p.name} born?", f"{p.name} was born in {birth}.", birth),
        (f"Which animal does {p.name} keep?", f"{p.name} keeps a {pet}.", pet),
        (f"Which coat does {p.name} wear?", f"{p.name} wears a {dress} coat.", dress),
    ]
    summary = f"{p.name} is a {p.profession} of {p.age} years who was born in {birth} and lives in {home}."
    return _passage(rng, p.name, first, others, asked, summary)


def shop(rng: Random) -> Passage:
    """A shop with prices."""
    p, t, day = world.person(rng), world.town_name(rng), rng.choice(world.WEEKDAYS)
    goods = rng.sample(world.GOODS, 3)
    prices = rng.sample(range(2, 30), 3)
    first = tell(rng, "{p.name} <runs|keeps|owns> a <small|large|new|tidy> shop in {t}.", p=p, t=t)
    others = [
        tell(rng, "<The|A pound of> {good} costs {price} coins.", good=good, price=price)
        for good, price in zip(goods, prices, strict=True)
    ]
    others.append(tell(rng, "<The shop is closed|It stays closed|Nothing is sold> on {day}.", day=day))
    facts: list[tuple] = [
        (f"How much does the {good} cost?", f"The {good} costs {price} coins in the shop of {p.name}.", price)
        for good, price in zip(goods, prices, strict=True)
    ]
    facts.append((f"When is the shop of {p.name} closed?", f"The shop of {p.name} is closed on {day}.", day))
    facts.append((f"In which town is the shop of {p.name}?", f"The shop of {p.name} is in {t}.", t))
    return _passage(rng, p.name, first, others, facts, f"{p.name} runs a shop in {t} that is closed on {day}.")


def recipe(rng: Random) -> Passage:
    """A dish: ingredients, heat, minutes, side."""
    d, cook, minutes, guests = world.dish(rng), world.person(rng), rng.randint(1, 12) * 5, rng.randint(2, 9)
    first = tell(rng, "The {d.name} of {p.name} is <easy|cheap|quick> to make.", d=d, p=cook)
    others = [
        tell(rng, "<It needs|Take> {parts}.", parts=listed(d.ingredients)),
        tell(rng, "<It is|Everything is> {d.heat} for {minutes} minutes.", d=d, minutes=minutes),
        tell(rng, "<People eat it|It is served|Serve it> with {d.served}.", d=d),
        tell(rng, "<One pot is|That is> enough for {n} guests.", n=guests),
    ]
    dish = f"{d.name} of {cook.name}"
    facts = [
        (f"What does the {dish} need?", f"The {dish} needs {listed(d.ingredients)}.", listed(d.ingredients)),
        (f"How long is the {dish} {d.heat}?", f"The {dish} is {d.heat} for {minutes} minutes.", minutes),
        (f"What is the {dish} served with?", f"The {dish} is served with {d.served}.", d.served),
        (f"For how many guests is the {dish}?", f"The {dish} is enough for {guests} guests.", guests),
    ]
    summary = f"The {dish} is {d.heat} for {minutes} minutes and served with {d.served}."
    return _passage(rng, dish, first, others, facts, summary)


def journey(rng: Random) -> Passage:
    """A journey: from, to, by what, hours, companion."""
    p, friend = world.people(rng, 2)
    start, end = world.town_names(rng, 2)
    means, hours, day = rng.choice(("train", "boat", "bus", "cart")), rng.randint(2, 19), rng.choice(world.WEEKDAYS)
    facts = {"p": p, "f": friend, "start": start, "end": end, "means": means, "hours": hours, "day": day}
    first = tell(rng, "{p.name} <travelled|went> from {start} to {end} by {means}.", **facts)
    others = [
        tell(rng, "The <trip|journey> <took|lasted> {hours} hours.", **facts),
        tell(rng, "{f.name} <came along|went along|was there too>.", **facts),
        tell(rng, "<They left|It began|It started> on {day}.", **facts),
    ]
    asked = [
        (f"Where did {p.name} travel to?", f"{p.name} travelled to {end}.", end),
        (f"From where did {p.name} travel?", f"{p.name} travelled from {start}.", start),
        (f"How did {p.name} travel?", f"{p.name} travelled by {means}.", means),
        (f"How long did the trip of {p.name} take?", f"The trip of {p.name} took {hours} hours.", hours),
        (f"Who went with {p.name}?", f"{friend.name} went with {p.name}.", friend.name),
    ]
    summary = f"{p.name} travelled from {start} to {end} by {means} in {hours} hours."
    return _passage(rng, p.name, first, others, asked, summary)


def festival(rng: Random) -> Passage:
    """A festival: what, where, since when, who opens it, how many guests."""
    t, p, what = world.town_name(rng), world.person(rng), rng.choice(world.CRAFTS).product
    since, guests, day = rng.randint(1700, 1999), rng.randint(2, 99) * 10, rng.choice(world.WEEKDAYS)
    facts = {"t": t, "p": p, "what": what, "since": since, "guests": guests, "day": day}
    first = tell(rng, "The {what} festival <of|in> {t} <is held every year|is an old custom|draws a crowd>.", **facts)
    others = [
        tell(rng, "It was <first held|started> in {since}.", **facts),
        tell(rng, "{p.name} <opens|leads> it.", **facts),
        tell(rng, "<About {guests}|{guests}> guests <come|visit it>.", **facts),
        tell(rng, "It <ends|closes> on {day}.", **facts),
    ]
    asked = [
        (f"When was the festival of {t} first held?", f"The festival of {t} was first held in {since}.", since),
        (f"Who opens the festival of {t}?", f"{p.name} opens the festival of {t}.", p.name),
        (f"How many guests come to the festival of {t}?", f"The festival of {t} has {guests} guests.", guests),
        (f"When does the festival of {t} end?", f"The festival of {t} ends on {day}.", day),
    ]
    summary = f"The {what} festival of {t} was first held in {since} and is opened by {p.name}."
    return _passage(rng, t, first, others, asked, summary)


KINDS: tuple[Callable[[Random], Passage], ...] = (place, life, shop, recipe, journey, festival)


def passage(rng: Random) -> Passage:
    """Draw a passage of any kind."""
    return rng.choice(KINDS)(rng)
