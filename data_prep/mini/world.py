"""The small world that the embedded corpus and the mini tasks tell of: people, towns, crafts, ailments, dishes.

Everything is drawn from the `random.Random` of the caller: `town(Random(1))` is a `Town` with a name such as "Oakford".
"""

import re
from dataclasses import dataclass
from random import Random


def words(text: str) -> tuple[str, ...]:
    """The words of a text, as a constant that cannot be changed."""
    return tuple(text.split())


SHE = words(
    "Ada Anna Bella Clara Dora Ella Emma Freya Grace Hanna Ida Jane Julia Kate Lena Lucy Mara Mia Nina Nora Olga Paula "
    "Rosa Ruth Sara Sofia Tessa Una Vera Wilma"
)
HE = words(
    "Adam Ben Carl Dan David Emil Felix Finn Frank George Hugo Ian Jack Jonas Karl Leo Luke Mark Max Nick Noah Oscar "
    "Otto Paul Peter Ralph Sam Simon Tom Victor"
)
SURNAMES = words(
    "Adler Baker Bell Brook Carter Cole Dale Ellis Field Fisher Ford Frost Gray Green Hall Hart Hill Hunt Kent King "
    "Lake Lane Marsh Mason Miller Moss North Page Park Pike Pond Reed Rose Sharp Stone Swan Vale Ward West Wood"
)
PROFESSIONS = words(
    "baker carpenter farmer teacher painter gardener tailor nurse clerk miller weaver potter cook driver singer "
    "librarian shepherd printer mason sailor"
)
TOWN_STARTS = words(
    "Oak Ash Elm Birch Stone Brook Clear Green High Long Mill North South West East King Queen Fox Deer Swan Wolf Red "
    "White Black Silver Rose"
)
TOWN_ENDS = words("ford ton bury field wood dale haven bridge well mouth stead ham")
RIVERS = words("Aller Bran Calder Dove Esk Fal Gade Irt Kell Lisk Mole Nene Orr Penk Rill Stour Tamar Ure Wye Yarrow")
EGGS_AND_SUCH = words(
    "apples pears plums eggs nuts cakes candles pens books stamps shells buttons cups plates roses bricks keys cards "
    "lemons onions"
)
GOODS = words("bread butter cheese honey milk rice salt soap sugar tea wool jam flour oil ham")
CONTAINERS = words("boxes bags baskets jars shelves trays")
WEEKDAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of the world; `she` and `her` are the pronouns that fit."""

    first: str
    surname: str
    she: str
    her: str
    age: int
    profession: str

    @property
    def name(self) -> str:
        """First name and surname."""
        return f"{self.first} {self.surname}"


@dataclass(frozen=True, slots=True)
class Craft:
    """What a town can be known for: the product, where it is made, and the fixed reason why it is made there."""

    product: str
    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Town:
    """A town and what can be told of it."""

    name: str
    river: str
    founded: int
    houses: int
    craft: Craft
    market: str


@dataclass(frozen=True, slots=True)
class Ailment:
    """An illness: its own symptoms (no other ailment has them), remedy, advice and clinic."""

    name: str
    symptoms: tuple[str, ...]
    remedy: str
    advice: str
    clinic: str


@dataclass(frozen=True, slots=True)
class Dish:
    """Something to cook: the ingredients, how it is heated and what it is served with."""

    name: str
    ingredients: tuple[str, ...]
    heat: str
    served: str


CRAFTS = (
    Craft("cheese", "dairy", "the wet meadows feed many cows"),
    Craft("glass", "glass works", "the hills hold fine white sand"),
    Craft("paper", "paper mill", "the forest gives plenty of soft wood"),
    Craft("wool", "weaving house", "sheep graze on the dry slopes"),
    Craft("honey", "honey house", "lime trees line every road"),
    Craft("pottery", "pottery", "the river bank is made of red clay"),
    Craft("salt", "salt house", "salt water rises from a deep spring"),
    Craft("wine", "wine press", "the sunny slopes ripen the grapes early"),
    Craft("bells", "bell foundry", "copper was found under the old hill"),
    Craft("boats", "boat yard", "the harbour stays calm in winter"),
    Craft("bread", "great bakery", "the flat fields grow strong wheat"),
    Craft("ropes", "rope walk", "hemp grows well in the damp soil"),
    Craft("candles", "candle shop", "bees leave much wax in the woods"),
    Craft("apples", "cider house", "the valley is safe from late frost"),
)

AILMENTS = (
    Ailment("a cold", ("a runny nose", "a blocked nose", "a mild cough"), "ginger tea", "stay warm", "nose"),
    Ailment(
        "hay fever", ("itchy eyes", "constant sneezing", "watery eyes"), "allergy tablets", "avoid grass", "allergy"
    ),
    Ailment(
        "migraine", ("a throbbing head", "flashing lights", "a fear of noise"), "magnesium", "avoid screens", "head"
    ),
    Ailment("an ear infection", ("an aching ear", "dull hearing", "a wet ear"), "ear drops", "keep the ear dry", "ear"),
    Ailment(
        "tonsillitis", ("a sore throat", "painful swallowing", "a lost voice"), "salt water", "speak less", "throat"
    ),
    Ailment("bronchitis", ("a deep cough", "thick phlegm", "a wheezing chest"), "honey syrup", "avoid smoke", "chest"),
    Ailment("heartburn", ("a burning chest", "a sour taste", "burping at night"), "antacid", "eat less fat", "stomach"),
    Ailment("food poisoning", ("vomiting", "stomach cramps", "loose stools"), "rice water", "eat plain food", "gut"),
    Ailment("a sprain", ("a swollen ankle", "a bruised foot", "a limp"), "an ice pack", "raise the foot", "bone"),
    Ailment("eczema", ("dry skin", "red patches", "cracked hands"), "plain cream", "avoid harsh soap", "skin"),
    Ailment("anemia", ("pale skin", "cold hands", "dizziness"), "iron tablets", "eat more spinach", "blood"),
    Ailment("insomnia", ("restless nights", "early waking", "heavy eyes"), "camomile tea", "avoid coffee", "sleep"),
    Ailment("pink eye", ("a red eye", "sticky eyelids", "a gritty eye"), "eye drops", "wash the hands", "eye"),
    Ailment("gum disease", ("bleeding gums", "loose teeth", "bad breath"), "a salt rinse", "brush gently", "dental"),
    Ailment(
        "back strain", ("a stiff back", "tight muscles", "pain when bending"), "a heat pad", "avoid lifting", "back"
    ),
    Ailment("sunburn", ("hot shoulders", "peeling skin", "a red neck"), "aloe gel", "stay in the shade", "burns"),
    Ailment(
        "sinusitis", ("painful cheeks", "a heavy forehead", "a lost smell"), "nasal spray", "breathe steam", "sinus"
    ),
    Ailment("gout", ("a swollen toe", "burning joints", "a stiff knee"), "cherry juice", "drink more water", "joint"),
)
LONG_DAYS = 7
"""An ailment that has lasted longer than this many days needs its clinic; a shorter one passes with rest."""

SYMPTOM_AILMENT = {symptom: ailment for ailment in AILMENTS for symptom in ailment.symptoms}

INGREDIENTS = words(
    "beans butter carrots cream eggs flour garlic honey leeks lentils milk mushrooms nuts onions peas plums potatoes "
    "rice salt sugar tomatoes"
)
DISH_KINDS = ("soup", "pie", "stew", "cake", "salad", "pudding")
HEATS = ("boiled", "baked", "fried", "steamed")
SIDES = ("bread", "cream", "green salad", "cold milk", "mint tea", "rice")

_CHOICE = re.compile(r"<([^<>]*\|[^<>]*)>")


def tell(rng: Random, template: str, /, **facts: object) -> str:
    """Fill a template: `<a|b>` is one of the two, `{fact}` is a fact, e.g. "<Here|There> lives {who.name}."."""
    return _CHOICE.sub(lambda match: rng.choice(match[1].split("|")), template).format(**facts)


def listed(items: list[str] | tuple[str, ...]) -> str:
    """Join words as prose does: "a, b and c"."""
    return " and ".join([*[", ".join(items[:-1])][: len(items) - 1], items[-1]])


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def person(rng: Random) -> Person:
    """Draw somebody."""
    woman = rng.random() < 0.5
    she, her = ("she", "her") if woman else ("he", "his")
    first = rng.choice(SHE if woman else HE)
    return Person(first, rng.choice(SURNAMES), she, her, rng.randint(18, 79), rng.choice(PROFESSIONS))


def people(rng: Random, count: int) -> list[Person]:
    """Draw people whose first names differ."""
    found: dict[str, Person] = {}
    while len(found) < count:
        one = person(rng)
        found.setdefault(one.first, one)
    return list(found.values())


def town_name(rng: Random) -> str:
    """Draw the name of a town."""
    return rng.choice(TOWN_STARTS) + rng.choice(TOWN_ENDS)


def town_names(rng: Random, count: int) -> list[str]:
    """Draw the names of towns, all different."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[town_name(rng)] = None
    return list(found)


def town(rng: Random) -> Town:
    """Draw a town."""
    founded, houses = rng.randint(1100, 1899), rng.randint(2, 9) * 100
    return Town(town_name(rng), rng.choice(RIVERS), founded, houses, rng.choice(CRAFTS), rng.choice(WEEKDAYS))


def dish(rng: Random) -> Dish:
    """Draw a dish, named after its first ingredient."""
    ingredients = tuple(rng.sample(INGREDIENTS, 3))
    kind = rng.choice(DISH_KINDS)
    return Dish(f"{ingredients[0].removesuffix('s')} {kind}", ingredients, rng.choice(HEATS), rng.choice(SIDES))
