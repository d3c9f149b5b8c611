"""What decides a record's scores, and what sets settings apart."""

from dataclasses import asdict

from hycam_exp.config.compose import compose
from hycam_exp.config.identity import identity
from hycam_exp.report import settings
from hycam_exp.report.settings import apart, commonest, differing, fixed, known, shown, values, variant
from tests.report.toy import known_experiments


def test_what_decides_is_what_a_runs_identity_holds() -> None:
    """But for fold and seed, the flat names are those of `identity`."""
    for overrides in ((), ("model=llama2_7b", "method=lora_matched"), ("model=tiny_qwen2",)):
        run = compose(*overrides)
        own = values(asdict(run))
        assert own == values({**identity(asdict(run)), "method": asdict(run.method)})
        assert "recipe.epochs" in own
        assert not [key for key in own if key.startswith(("trainer.", "paths.", "fold", "seed"))]


def test_a_folder_of_ones_own_is_known_by_its_path() -> None:
    """The path of a copy of a backbone of the hub decides nothing, that of a local model does."""
    local = compose("model=local", "model.path=/a")
    assert values(asdict(local))["model.path"] == "/a"
    copied = compose("model=llama2_7b", "model.source=folder", "model.path=/a")
    assert "model.path" not in values(asdict(copied))
    hub = compose("model=llama2_7b")
    assert differing(*(values(asdict(run)) for run in (hub, copied))) == ["model.source"]
    assert fixed(values(asdict(hub))) == fixed(values(asdict(copied))) != fixed(values(asdict(local)))


def test_null_and_absent_are_the_same() -> None:
    """A record from before there was a field is of the setting in which it is null."""
    base = {"model": {"name": "m"}, "method": {"name": "x"}}
    old, new = (base | extra for extra in ({}, {"evaluation": {"new": None}}))
    assert known(values(old)) == known(values(new)) == {"model.name": "m", "method.name": "x"}
    assert fixed(values(old)) == fixed(values(new))


def test_another_start_of_the_router_is_a_variant() -> None:
    """The released code's is no row of the paper's."""
    paper, other = (asdict(compose("method=hycam", f"method.routing.init={i}")) for i in ("kaiming_uniform", "normal"))
    assert variant(values(other), values(paper)) == {"method.routing.init": "normal"}
    assert differing(values(other), values(paper)) == ["method.routing.init"]


def test_a_variant_is_what_is_not_as_usual_of_method_and_recipe() -> None:
    """Null is a value there; what is no usual field, what decides no score, and what else a run sets do not count."""
    usual = {"method.rank": 8, "recipe.clip": 1.0, "recipe.betas": [0.9], "recipe.compare_single": 1, "data.name": "a"}
    own = {**usual, "recipe.clip": None, "recipe.compare_single": 2, "data.name": "b", "method.new": 1}
    assert variant(own, usual) == {"recipe.clip": None}
    assert variant({"method.rank": 8.0, "recipe.betas": [0.9]}, usual) == {"method.rank": 8.0}
    assert apart({"recipe.clip": None}, {}) == ["recipe.clip"] == apart({"recipe.clip": None}, {"recipe.clip": 1.0})
    assert apart({"recipe.clip": None}, {"recipe.clip": None}) == []


def test_a_matched_budget_is_told_by_the_method_that_it_is_of() -> None:
    """Beside the settings of that method, which are of the variant where they are not its file's."""
    usual = known_experiments().usual

    def of(*overrides: str) -> dict[str, object]:
        own = values(asdict(compose(*overrides)))
        return variant(own, usual(own, {}))

    assert of("method=hydralora") == of("method=lora_matched") == {}
    assert of("method=hydralora", "method.match=lora") == {"method.match": "lora"}
    assert of("method=hydralora", "method.match=70000") == {"method.match": 70000}
    assert of("method=hydralora", "method.match=hycam", "recipe.rank=16") == {
        "method.match": "hycam", "recipe.rank": 16,
    }  # fmt: skip
    own = values(asdict(compose("method=hydralora", "method.match=hycam")))
    changed = {**own, "method.match.tau": 2.0}
    assert variant(changed, usual(changed, {})) == {"method.match": "hycam", "method.match.tau": 2.0}


def test_the_commonest_value_is_that_of_half_and_of_no_other_so_many() -> None:
    """Of two equally common ones neither is usual, and both are said."""
    two = [{"a": 1, "b": 1}, {"a": 1, "b": 2}]
    assert commonest(two)["a"] == 1
    assert [variant({f"method.{k}": v for k, v in one.items()}, {"method.b": commonest(two)["b"]}) for one in two] == [
        {"method.b": 1}, {"method.b": 2},
    ]  # fmt: skip
    assert commonest([{"a": 1}, {"a": 1}, {"a": 2}]) == {"a": 1}
    assert commonest([{"a": 1}, {"a": 2}, {"a": 3}])["a"] is ...


def test_differences_are_shown_as_overrides() -> None:
    """In order of their names; what a setting lacks is null."""
    one, other = {"a": 1, "b.c": 2, "d": [1]}, {"a": 1, "d": [2]}
    assert differing(one, other) == ["b.c", "d"]
    assert shown({"b.c": None, "d": [2]}) == "b.c=null, d=[2]"
    assert settings.same(1, 1) and not settings.same(1, 1.0) and not settings.same(1, True)  # noqa: PT018
