"""A misspelt key or choice is one line with what was meant, wherever it is composed."""

import shlex
import subprocess
import sys

import pytest

from hycam_exp.config import grid
from hycam_exp.config.compose import compose

ITS = 'data.root="it\'s"'
QUOTES = "Hydra reads such characters in quotes only, and the shell needs its own"
WRONG = {
    "metod=hycam": "metod: the config has no key metod; nearest: method",
    "method.num_specialised=3": "method.num_specialised: method has no key num_specialised; "
    "nearest: method.num_specialized",
    "recipe.learning_rat=1e-4": "recipe.learning_rat: recipe has no key learning_rat; nearest: recipe.learning_rate",
    "+method.ranks=1": "method.ranks: method has no key ranks; nearest: method.rank",
    "learning_rate=1e-4": "learning_rate: the config has no key learning_rate; nearest: recipe.learning_rate",
    "+paths.typo=1": "paths.typo: paths has no key typo; there is results, outputs, data",
    "seed.x=3": "seed.x: seed has no key x; there is none",
    "hydra.launcher.njobs=2": "hydra.launcher.njobs: hydra.launcher has no key njobs; nearest: hydra.launcher.n_jobs",
    "method=hycm": "method=hycm: no such choice; nearest: method=hycam",
    "model=llama3_8": "model=llama3_8: no such choice; nearest: model=llama3_8b, model=llama3_1_8b, model=llama3_2_3b",
    "released=[m2]": "released=m2: no such choice; nearest: released=m2_hard_routing",
    "trainer=xyz": "trainer=xyz: no such choice; there is cpu, ddp, fsdp, gpu, zero1, zero2, zero3",
    "model=/home/models/mine": "model=/home/models/mine: no such choice; "
    "a folder is given by model=local model.path=FOLDER",
    "data.tasks=dolly": "data.tasks: must be a list, in brackets: data.tasks=[...]",
    "data.root=/a=b": f"data.root=/a=b: {QUOTES}: 'data.root=\"/a=b\"'",
    "data.root=/a (1)/b": f"data.root=/a (1)/b: {QUOTES}: 'data.root=\"/a (1)/b\"'",
    "data.root=/a#b": f"data.root=/a#b: {QUOTES}: 'data.root=\"/a#b\"'",
    "data.root=/a~b": f"data.root=/a~b: {QUOTES}: 'data.root=\"/a~b\"'",
    "data.root=/数据": f"data.root=/数据: {QUOTES}: 'data.root=\"/数据\"'",
    "data.root=it's": f"data.root=it's: {QUOTES}: {shlex.quote(ITS)}",
    "method": "method: must be key=value",
    "method.layers=[1": "method.layers=[1: no viable alternative at input '[1'",
}


@pytest.mark.parametrize("override", WRONG)
def test_the_line_names_the_key_its_place_and_the_nearest(override):
    """A key's own section comes first, then any section; without a near one the line lists what there is."""
    with pytest.raises(ValueError) as caught:
        compose(override)
    assert str(caught.value) == WRONG[override]


def test_a_further_task_of_ones_own_is_told_its_plus():
    """Without it Hydra takes the task for a misspelt one; the line says what to write, and that is taken."""
    own = ("data=generic", "data.tasks=[mine,yours]")
    for override in ("data.fields.yours.instruction=q", "data.fields={yours:{instruction:q,output:a}}"):
        with pytest.raises(ValueError) as caught:
            compose(*own, override)
        assert str(caught.value) == (
            "data.fields.yours: no such task in data.fields; a plus adds it:"
            " +data.fields.yours.instruction=FIELD +data.fields.yours.output=FIELD"
        )
    run = compose(*own, "+data.fields.yours.instruction=q", "+data.fields.yours.output=a")
    assert run.data.fields is not None
    assert run.data.fields["yours"] == {"instruction": "q", "output": "a"}


@pytest.mark.parametrize("override", [o for o in WRONG if not o.startswith("hydra")])
def test_a_grid_says_the_same(override):
    """Its cells are composed apart and faster, and what is wrong with them is the same line."""
    with pytest.raises(ValueError) as caught:
        grid.runs(grid.expand([override, "fold=0,1"]))
    assert str(caught.value) == WRONG[override]


@pytest.mark.parametrize("value", ["/a=b", "/a b(1)", "/数据#1", "it's", 'a"b', 'a\\\\"b', "/x;y&z!{}"])
def test_what_the_line_says_can_be_typed(value):
    """The quoted form, split as a shell splits it, is the value."""
    with pytest.raises(ValueError) as caught:
        compose(f"data.root={value}")
    (typed,) = shlex.split(str(caught.value).partition(f"{QUOTES}: ")[2])
    assert compose(typed).data.root == value


def test_a_home_folder_is_written_out(monkeypatch):
    """Within quotes no shell replaces ~."""
    monkeypatch.setenv("HOME", "/home/someone")
    with pytest.raises(ValueError, match=r"'data\.root=\"/home/someone/data\"'$"):
        compose("data.root=~/data")


@pytest.mark.parametrize("override", ["method=lora,hycam", "recipe.learning_rate=0,01"])
def test_commas_without_a_grid_say_what_makes_one(override):
    """A sweep needs -m; a decimal comma or a list that was meant is told apart by it."""
    with pytest.raises(ValueError) as caught:
        compose(override)
    said = "several values are a grid, with -m; one list is in brackets, [1,2]"
    assert str(caught.value) == f"Ambiguous value for argument '{override}': {said}"


def test_a_key_of_another_method_is_no_guess():
    """The section that the chosen method has decides, not the default one's."""
    with pytest.raises(ValueError, match=r"^method\.taus: method has no key taus; there is match, name, rank, "):
        compose("method=lora", "method.taus=1")


@pytest.mark.parametrize("module", [("hycam_exp",), ("hycam_exp", "-m"), ("hycam_exp.plan",)], ids=" ".join)
@pytest.mark.parametrize("override", ["method.num_specialised=3", "+method.ranks=1", "method=hycm", "data.root=/数据"])
def test_every_command_ends_in_the_line(tmp_path, module, override):
    """Exit status 1, the line alone on standard error, and torch is not loaded for it."""
    code = (
        "import runpy, sys\n"
        "try: runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)\n"
        "finally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, *module, override], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, f"error: {WRONG[override]}\n")
