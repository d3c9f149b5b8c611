from random import Random

from data_prep.mini import passages, programs, sums, world
from data_prep.mini.world import AILMENTS, SYMPTOM_AILMENT, listed, tell


def test_tell_fills_facts_and_takes_each_choice() -> None:
    """A template gives every combination of its choices, with the facts in them, and nothing else."""
    told = {tell(Random(seed), "<Here|There> is {name}<.|, {n}.>", name="Ada", n=3) for seed in range(60)}
    assert told == {"Here is Ada.", "There is Ada.", "Here is Ada, 3.", "There is Ada, 3."}


def test_listed_joins_as_prose() -> None:
    """One, two and three items are joined as prose joins them."""
    assert [listed(["a"]), listed(["a", "b"]), listed(("a", "b", "c"))] == ["a", "a and b", "a, b and c"]


def test_a_symptom_belongs_to_one_ailment() -> None:
    """No two ailments share a symptom, a name or a clinic, and no symptom is a part of another one."""
    symptoms = [symptom for ailment in AILMENTS for symptom in ailment.symptoms]
    assert len(symptoms) == len(set(symptoms)) == len(SYMPTOM_AILMENT) == 3 * len(AILMENTS)
    assert len({a.name for a in AILMENTS}) == len({a.clinic for a in AILMENTS}) == len(AILMENTS)
    assert not [(a, b) for a in symptoms for b in symptoms if a != b and a in b]


def test_people_differ_in_first_name() -> None:
    """People drawn together can be told apart by their first names."""
    assert all(len({p.first for p in world.people(Random(seed), 5)}) == 5 for seed in range(50))


def test_draws_depend_on_the_given_rng_alone() -> None:
    """The same seed draws the same things, another seed draws others."""
    drawn = [(world.person(rng), world.town(rng), world.dish(rng)) for rng in map(Random, (1, 1, 2))]
    assert drawn[0] == drawn[1] != drawn[2]


def test_every_value_asked_for_stands_in_its_passage() -> None:
    """What an answer turns on is a word for word part of the passage and of the answer."""
    rng = Random(5)
    for _ in range(600):
        passage = passages.passage(rng)
        for fact in passage.facts:
            assert fact.value in passage.text
            assert fact.value in fact.answer


def test_every_problem_ends_in_the_result_of_its_last_step() -> None:
    """A problem's answer is the right side of its last equation."""
    rng = Random(6)
    drawn = [sums.problem(rng) for _ in range(600)]
    counted = [p for p in drawn if p.steps[-1].equation]
    assert len(counted) > 400
    assert all(p.steps[-1].equation.split(" = ")[1] == p.answer for p in counted)


def test_every_idiom_runs_on_its_example() -> None:
    """Each drawn function runs, and all idioms are drawn."""
    rng = Random(7)
    drawn = [programs.program(rng) for _ in range(800)]
    assert not [p for p in drawn if p.result() is None]
    assert len({(p.name.split("_")[0], p.argument) for p in drawn}) > len(programs.IDIOMS)
