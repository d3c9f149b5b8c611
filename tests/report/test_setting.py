"""What decides a record's scores."""

from dataclasses import asdict

from hycam_exp.config.compose import compose
from hycam_exp.config.identity import identity
from hycam_exp.report.setting import comparable, decisive, differing, only, shown


def test_what_decides_is_what_a_runs_identity_holds() -> None:
    """But for the fold, and for what is null, the flat names are those of `identity`."""
    for overrides in ((), ("model=llama2_7b", "method=lora_matched"), ("model=tiny_qwen2",)):
        run = compose(*overrides)
        own = decisive(asdict(run), None)
        assert own == decisive(identity(asdict(run)), None)
        assert "recipe.epochs" in own
        assert not [key for key in own if key.startswith(("trainer.", "paths.", "fold"))]


def test_a_folder_of_ones_own_is_known_by_its_path() -> None:
    """The path of a copy of a backbone of the hub decides nothing, that of a local model does."""
    local = compose("model=local", "model.path=/a")
    assert decisive(asdict(local), None)["model.path"] == "/a"
    copied = compose("model=llama2_7b", "model.source=folder", "model.path=/a")
    assert "model.path" not in decisive(asdict(copied), None)
    hub = compose("model=llama2_7b")
    assert differing([decisive(asdict(run), None) for run in (hub, copied)]) == ["model.source"]
    assert not differing([comparable(decisive(asdict(run), None)) for run in (hub, copied)])


def test_null_and_absent_are_the_same() -> None:
    """A record from before there was a field is of the setting in which it is null."""
    old, new = ({"model": {"name": "m"}} | extra for extra in ({}, {"evaluation": {"new": None}}))
    assert decisive(old, "c") == decisive(new, "c") == {"model.name": "m", "data.content": "c"}


def test_differences_are_shown_as_overrides() -> None:
    """In order of their names; what a setting lacks is null."""
    settings = [{"a": 1, "b.c": 2, "d": [1]}, {"a": 1, "d": [2]}]
    assert differing(settings) == ["b.c", "d"]
    assert [shown(only(setting, differing(settings))) for setting in settings] == ["b.c=2, d=[1]", "b.c=null, d=[2]"]
    assert differing([]) == []
