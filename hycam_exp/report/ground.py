"""Which settings can be compared at all: those of one backbone and data mix, on one ground of data and recipe."""

import json
from collections.abc import Mapping, Sequence

from hycam_exp.report import setting
from hycam_exp.report.select import Summary, summarise

VARIED = ("method.", "recipe.learning_rate", "recipe.clip", "seed")  # what compared settings may differ in


def by_mix(summaries: Sequence[Summary]) -> dict[str, list[Summary]]:
    """The summaries of every backbone and data mix that can be compared, by the name of their folder.

    Methods are compared on one ground: of several (other data, lengths, epochs), the one with the most runs.
    """
    mixes: dict[str, dict[str, list[Summary]]] = {}
    for summary in summaries:
        mixes.setdefault(f"{summary.model}-{summary.data}", {}).setdefault(_ground(summary), []).append(summary)
    return {name: _most(grounds) for name, grounds in sorted(mixes.items())}


def left_out(summaries: Sequence[Summary]) -> list[Summary]:
    """The summaries that are compared with nothing, since most runs of their mix are on another ground."""
    drawn = {record.run_id for members in by_mix(summaries).values() for s in members for record in s.records}
    return [summary for summary in summaries if summary.records[0].run_id not in drawn]


def _ground(summary: Summary) -> str:
    """What is the same for all settings that may be compared."""
    same = setting.comparable(summary.setting) | {"data.content": summary.setting.get("data.content")}
    return json.dumps({key: value for key, value in same.items() if not key.startswith(VARIED)}, sort_keys=True)


def _most(grounds: Mapping[str, list[Summary]]) -> list[Summary]:
    """The ground with the most runs, named by what still sets its settings apart."""
    chosen = max(sorted(grounds), key=lambda ground: sum(len(s.records) for s in grounds[ground]))
    return summarise(record for summary in grounds[chosen] for record in summary.records)
