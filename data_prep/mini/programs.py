"""Short Python functions with what they do in words, e.g. "adds 3 to every number in a list".

An `Idiom` is a shape with a constant left open; a `Program` is one drawn function with an example to call it on.
"""

from dataclasses import dataclass
from random import Random

from data_prep.mini import world


@dataclass(frozen=True, slots=True)
class Idiom:
    """A family of functions: intent and body hold `{k}` (a small number), `{c}`, `{d}` (letters), body also `{a}`."""

    verb: str
    intent: str
    takes: str
    body: str


@dataclass(frozen=True, slots=True)
class Program:
    """One function; `example` is the source text of an argument for it."""

    name: str
    intent: str
    argument: str
    body: str
    example: str

    @property
    def code(self) -> str:
        """The source text of the function."""
        lines = "\n".join(f"    {line}" for line in self.body.split("\n"))
        return f"def {self.name}({self.argument}):\n{lines}"

    def result(self) -> object:
        """What the function gives for its example; runs only text that this module wrote."""
        scope: dict[str, object] = {}
        exec(f"{self.code}\nresult = {self.name}({self.example})", scope)
        return scope["result"]


IDIOMS = (
    Idiom("add", "adds {k} to every number in a list", "numbers", "return [x + {k} for x in {a}]"),
    Idiom("scale", "multiplies every number in a list by {k}", "numbers", "return [x * {k} for x in {a}]"),
    Idiom("cut", "subtracts {k} from every number in a list", "numbers", "return [x - {k} for x in {a}]"),
    Idiom("keep", "keeps the numbers greater than {k}", "numbers", "return [x for x in {a} if x > {k}]"),
    Idiom("keep", "keeps the numbers smaller than {k}", "numbers", "return [x for x in {a} if x < {k}]"),
    Idiom("pick", "keeps the numbers that {k} divides", "numbers", "return [x for x in {a} if x % {k} == 0]"),
    Idiom("count", "counts the numbers greater than {k}", "numbers", "return sum(1 for x in {a} if x > {k})"),
    Idiom("count", "counts how often {k} is in a list", "numbers", "return {a}.count({k})"),
    Idiom("has", "tells whether {k} is in a list", "numbers", "return {k} in {a}"),
    Idiom("drop", "drops the first {k} items of a list", "numbers", "return {a}[{k}:]"),
    Idiom("last", "gives the last {k} items of a list", "numbers", "return {a}[-{k}:]"),
    Idiom("total", "adds up all numbers of a list", "numbers", "return sum({a})"),
    Idiom("total", "adds up the squares of a list", "numbers", "return sum(x * x for x in {a})"),
    Idiom("top", "finds the largest number of a list", "numbers", "return max({a})"),
    Idiom("low", "finds the smallest number of a list", "numbers", "return min({a})"),
    Idiom("span", "gives the largest number minus the smallest", "numbers", "return max({a}) - min({a})"),
    Idiom("sort", "sorts a list from high to low", "numbers", "return sorted({a}, reverse=True)"),
    Idiom("turn", "turns a list around", "numbers", "return {a}[::-1]"),
    Idiom("mean", "gives the whole part of the mean", "numbers", "return sum({a}) // len({a})"),
    Idiom("count", "counts the letter {c} in a text", "text", 'return {a}.count("{c}")'),
    Idiom("swap", "replaces every {c} by {d} in a text", "text", 'return {a}.replace("{c}", "{d}")'),
    Idiom("first", "gives the first {k} letters of a text", "text", "return {a}[:{k}]"),
    Idiom("repeat", "repeats a text {k} times", "text", "return {a} * {k}"),
    Idiom("check", "tells whether a text starts with {c}", "text", 'return {a}.startswith("{c}")'),
    Idiom("turn", "turns a text around", "text", "return {a}[::-1]"),
    Idiom("upper", "writes a text in upper case", "text", "return {a}.upper()"),
    Idiom("long", "keeps the words longer than {k} letters", "words", "return [w for w in {a} if len(w) > {k}]"),
    Idiom("pick", "keeps the words that start with {c}", "words", 'return [w for w in {a} if w.startswith("{c}")]'),
    Idiom("check", "tells whether {k} divides a number", "number", "return {a} % {k} == 0"),
    Idiom("power", "raises a number to the power {k}", "number", "return {a} ** {k}"),
    Idiom("list", "lists the multiples of {k} up to a number", "number", "return list(range({k}, {a} + 1, {k}))"),
    Idiom(
        "sum", "adds up the numbers from {k} to a number", "number",
        "total = 0\nfor i in range({k}, {a} + 1):\n    total += i\nreturn total",
    ),
)  # fmt: skip
NOUNS = world.words("items data values list part all row set box bag line page one case hits shop farm game team tree")
ARGUMENTS = {
    "numbers": ("numbers", "values", "prices", "ages", "scores", "items"),
    "text": ("text", "word", "title", "name", "line"),
    "words": ("words", "names", "towns"),
    "number": ("number", "count", "size", "limit"),
}
LETTERS = "abcdefghilmnoprst"


def program(rng: Random) -> Program:
    """Draw a function and an example for it."""
    idiom = rng.choice(IDIOMS)
    argument = rng.choice(ARGUMENTS[idiom.takes])
    letters = rng.sample(LETTERS, 2)
    facts = {"k": rng.randint(2, 9), "c": letters[0], "d": letters[1], "a": argument}
    name = f"{idiom.verb}_{rng.choice(NOUNS)}"
    return Program(name, idiom.intent.format(**facts), argument, idiom.body.format(**facts), _example(rng, idiom.takes))


def _example(rng: Random, takes: str) -> str:
    if takes == "numbers":
        return str([rng.randint(1, 20) for _ in range(rng.randint(3, 4))])
    if takes == "words":
        return "[" + ", ".join(f'"{word}"' for word in rng.sample(WORDS, 3)) + "]"
    return f'"{rng.choice(WORDS)}"' if takes == "text" else str(rng.randint(10, 30))


WORDS = tuple(sorted({*world.EGGS_AND_SUCH, *world.GOODS, *world.PROFESSIONS}))
