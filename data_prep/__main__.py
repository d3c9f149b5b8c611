"""`python -m data_prep`: fetch, convert, stats, check, preview. Each command's own imports happen when it runs."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep import folders, tasks
from hycam_exp.data.prompts import CHAT, TEMPLATES
from hycam_exp.runtime.command_line import Parser, as_errors, visible
from hycam_exp.runtime.interruption import ended_by_signals
from hycam_exp.runtime.require import require_plain_name

if TYPE_CHECKING:
    from data_prep.manifest import SourceEntry

RETENTION = "retention"
MAX_LENGTH = 1200  # paper, Implementation Details


def fetch(options: argparse.Namespace) -> int:
    """Fetch sets from the hub."""
    from data_prep import fetch as hub

    for name in options.task:
        if name not in hub.REMOTES:
            raise ValueError(f"fetch {name}: must be one of {', '.join(hub.REMOTES)}")
    missing = hub.fetch(options.task or list(hub.REMOTES), options.root, print)
    return 1 if missing else 0


def convert(options: argparse.Namespace) -> int:
    """Convert one file, or all files of a folder of tasks."""
    from data_prep import canonical

    _require(options, "out", "where to write")
    if options.task == "all":
        _require(options, "root", "the folder of tasks")
        _refuse(options, "source", "task_name", *FIELDS)
        canonical.convert_all(options.root, options.out, lambda task: _reading(task, options, alone=False), _done)
        return 0
    _require(options, "source", "the file to convert")
    _refuse(options, "root")
    if options.task != "generic":
        _refuse(options, "task_name", *FIELDS)
        _done(options.task, _one(options.task, options, _reading(options.task, options, alone=True)))
        return 0
    from data_prep import generic

    _require(options, "task_name", "what to call it")
    require_plain_name("--task", options.task_name)
    _refuse(options, "answer", "answers")
    mapping = {name: getattr(options, name) for name in FIELDS if getattr(options, name)}
    _done(options.task_name, _one(options.task_name, options, generic.reading(mapping, "generic")))
    return 0


def _one(task: str, options: argparse.Namespace, reading: tasks.Reading) -> "SourceEntry":
    from data_prep import canonical

    return canonical.convert_file(task, options.source, options.out, reading)


def _reading(task: str, options: argparse.Namespace, alone: bool) -> tasks.Reading:
    """How a task's rows are read; in `all` an option goes to the task that it is for."""
    answer = options.answer if options.answer and (alone or task == "icliniq") else tasks.ANSWERS[0]
    answers = options.answers if options.answers and (alone or task == "web_gpt") else tasks.WHICH[0]
    return tasks.reading(task, answer, answers)


def _done(task: str, entry: "SourceEntry") -> None:
    rejected = entry.rows - entry.records
    print(f"{task}: {entry.name}: {entry.rows:,} rows, {entry.records:,} records, {rejected:,} rejected", flush=True)
    for reason, lines in sorted(entry.rejected.items()):
        shown = ", ".join(map(str, lines[:5])) + (", ..." if len(lines) > 5 else "")
        print(f"  {len(lines):,} x {visible(reason)}: line {shown}")


def _require(options: argparse.Namespace, name: str, what: str) -> None:
    if getattr(options, name) is None:
        raise ValueError(f"convert {options.task}: needs {_flag(name)}, {what}")


def _refuse(options: argparse.Namespace, *names: str) -> None:
    for name in names:
        if getattr(options, name) is not None:
            raise ValueError(f"convert {options.task}: takes no {_flag(name)}")


def _flag(name: str) -> str:
    return "--task" if name == "task_name" else f"--{name}"


def stats(options: argparse.Namespace) -> int:
    """Table 1 of what is on disk."""
    from data_prep import manifest, preview
    from data_prep import stats as table1
    from hycam_exp.data.table1 import written

    if options.out and not options.tokenizer:
        raise ValueError(
            f"stats --out {options.out}: needs --tokenizer DIR, whose tokens are written (Table 1: Llama 3's)"
        )
    names = folders.folders(options.root)
    tokenizer = preview.tokenizer_at(options.tokenizer) if options.tokenizer else None
    rows = [
        table1.measured(task, options.root, tokenizer, options.prompt, options.max_length) for task in _followed(names)
    ]
    if options.out:
        manifest.write(options.out, written(table1.counts(rows, options.tokenizer, options.prompt)))
    _print(table1.report(rows) if options.json else table1.printed(rows))
    return 0


def check(options: argparse.Namespace) -> int:
    """What may be wrong with the data."""
    from data_prep import check as checks
    from hycam_exp.data import sources

    names = folders.folders(options.root)
    found = [checks.findings(task, sources.read([task], str(options.root))) for task in _followed(names)]
    _print(checks.report(found) if options.json else checks.printed(found))
    return 1 if options.strict and any(sum(row.found.values()) for row in found) else 0


def preview(options: argparse.Namespace) -> int:
    """Records as training sees them."""
    from data_prep import preview as view

    require_plain_name("TASK", options.task)
    tokenizer = view.tokenizer_at(options.tokenizer)
    if note := view.ended(tokenizer, options.prompt, options.eos):
        print(f"note: {note}", file=sys.stderr)
    rows = view.rows(options.task, options.root, tokenizer, options.prompt, options.max_length, options.n)
    colour = options.color == "always" or (
        options.color == "auto" and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    )
    _print(view.printed(rows, tokenizer, options.loss_on, colour, options.ids))
    return 0


def _followed(names: Iterable[str]) -> Iterator[str]:
    """The names; a person at a terminal sees which one is being worked on."""
    for name in names:
        if sys.stderr.isatty():
            print(f"{name} ...", file=sys.stderr, flush=True)
        yield name


def _print(found: str | dict[str, Any]) -> None:
    print(found if isinstance(found, str) else json.dumps(found, indent=1))


FIELDS = ("instruction", "input", "output", "group")


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text}: must be a positive whole number")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    main = Parser(prog="python -m data_prep", description="data sets: fetch, convert, look at them")
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_fetch(commands.add_parser("fetch", help="the five sets, and a text for retention, from the hub"))
    _add_convert(commands.add_parser("convert", help="upstream files into canonical Parquet and a manifest"))
    _add_stats(commands.add_parser("stats", help="the paper's Table 1 for what is on disk"))
    _add_check(commands.add_parser("check", help="duplicates, leaks between splits, broken text"))
    _add_preview(commands.add_parser("preview", help="records as training sees them"))
    return main


def _add_fetch(command: argparse.ArgumentParser) -> None:
    names = [*tasks.TASKS, RETENTION]
    command.add_argument("task", nargs="*", metavar="TASK", help=f"of {', '.join(names)} (default: all)")
    command.add_argument("--root", type=Path, default=Path("data"), help="folder of the sets (default: data)")
    command.set_defaults(run=fetch)


def _add_convert(command: argparse.ArgumentParser) -> None:
    command.add_argument("task", choices=[*tasks.TASKS, "all", "generic"], metavar="TASK",
                         help=f"{', '.join(tasks.TASKS)}; all that is found under --root; generic")  # fmt: skip
    command.add_argument("--source", type=Path, metavar="FILE", help="the file to convert (.json, .jsonl, .parquet, "
                         ".arrow; text gzipped or not; generic: .csv too)")  # fmt: skip
    command.add_argument("--root", type=Path, metavar="DIR", help="for all: the folder of tasks")
    command.add_argument("--out", type=Path, metavar="DIR", help="OUT/<task>/ gets Parquet, manifest, rejected rows")
    command.add_argument("--answer", choices=tasks.ANSWERS, help="icliniq: whose answer (default: the doctor's)")
    command.add_argument("--answers", choices=tasks.WHICH, help="web_gpt: the preferred answer (default), or both")
    command.add_argument("--task", dest="task_name", metavar="NAME", help="generic: what to call the task")
    for name in FIELDS:
        command.add_argument(f"--{name}", metavar="FIELD", help=f"generic: the field that holds the {name}")
    command.set_defaults(run=convert)


def _add_root(command: argparse.ArgumentParser) -> None:
    command.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder with a folder for each task")


def _add_tokens(command: argparse.ArgumentParser, default: str) -> None:
    command.add_argument("--tokenizer", type=Path, metavar="DIR", help=f"a tokenizer's folder (default: {default})")
    command.add_argument(
        "--prompt", choices=(*TEMPLATES, CHAT), default="alpaca", help="the template (default: alpaca)"
    )
    command.add_argument("--max-length", type=_positive, default=MAX_LENGTH, help=f"tokens (default: {MAX_LENGTH})")


def _add_stats(command: argparse.ArgumentParser) -> None:
    _add_root(command)
    _add_tokens(command, "none, tokens are not counted")
    command.add_argument("--json", action="store_true", help="for programs")
    command.add_argument("--out", type=Path, metavar="FILE", help="a file for the report: results/datasets.json")
    command.set_defaults(run=stats)


def _add_check(command: argparse.ArgumentParser) -> None:
    _add_root(command)
    command.add_argument("--json", action="store_true", help="for programs")
    command.add_argument("--strict", action="store_true", help="exit status 1 when something is found")
    command.set_defaults(run=check)


def _add_preview(command: argparse.ArgumentParser) -> None:
    command.add_argument("task", metavar="TASK", help="the task's name")
    command.add_argument("--root", type=Path, metavar="DIR", help="folder of tasks (default: the generated mini set)")
    command.add_argument("-n", type=_positive, default=3, help="how many records (default: 3)")
    command.add_argument("--ids", action="store_true", help="a line for every token, with id and label")
    _add_tokens(command, "the embedded one")
    command.add_argument("--eos", metavar="TOKEN", help="what ends a response (default: the tokenizer's EOS)")
    command.add_argument("--loss-on", choices=("response", "all"), default="response", help="what is trained")
    command.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    command.set_defaults(run=preview)


@ended_by_signals()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; a mistake ends in one line."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except BrokenPipeError:  # the reader of the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError) as error:
        print(as_errors(error), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
