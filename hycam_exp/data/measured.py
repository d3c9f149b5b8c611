"""Table 1 of what is on disk, in results/datasets.json: `data_prep stats --out` writes it, the report reads it.

read(Path("results") / FILE).tasks["auto_cot"].total_tokens  # 943474

Standard library only.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "datasets.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Counted:
    """One task's records; tokens are BOS, prompt and output, without EOS."""

    samples: int
    total_tokens: int
    content: str
    """`records.content_hash` of them."""

    @property
    def average(self) -> float:
        """Tokens a record."""
        return self.total_tokens / self.samples


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The tasks of a folder."""

    tokenizer: str
    """The name of its folder."""
    tokenizer_sha256: str
    """Of its tokenizer.json."""
    prompt: str
    """The template."""
    tasks: Mapping[str, Counted]


def written(measured: Measured) -> bytes:
    """The file: the same bytes for the same counts."""
    return (json.dumps({"schema_version": SCHEMA_VERSION, **asdict(measured)}, indent=1) + "\n").encode()


def read(path: Path) -> Measured | None:
    """What a file holds; None where there is none.

    Raises:
        ValueError: it is not what `written` gives, or of a newer schema; names it.
    """
    if not path.exists():
        return None
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        version = held.pop("schema_version")
        tasks = {task: _counted(task, fields) for task, fields in held.pop("tasks").items()}
        found = Measured(**held, tasks=tasks)
        if version == SCHEMA_VERSION and all(isinstance(value, str) for value in held.values()):
            return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a whole file of counts ({error}); {_AGAIN}") from error
    raise ValueError(f"{path}: not of this software's schema {SCHEMA_VERSION}; {_AGAIN}")


_AGAIN = "python -m data_prep stats --root DIR --tokenizer DIR --out FILE makes it again"


def _counted(task: str, fields: Mapping[str, object]) -> Counted:
    samples, tokens, content = fields["samples"], fields["total_tokens"], fields["content"]
    if not (type(samples) is type(tokens) is int and samples > 0 and tokens > 0 and isinstance(content, str)):
        raise ValueError(f"{task} has no counts above 0")
    return Counted(samples=samples, total_tokens=tokens, content=content)
