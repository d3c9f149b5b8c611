"""Dolly rows (instruction, context, response, category): closed QA and summaries. Standard library only."""

from typing import Any

from data_prep.conversion import Fields, Task, mapping_of, text_of


def fields(row: Any) -> Fields:
    """The context is the input; rows that share a context share a group."""
    row = mapping_of(row)
    if "response" not in row and "output" in row:  # Alpaca-CoT's form
        context, response = text_of(row, "input", required=False), text_of(row, "output")
    else:
        context, response = text_of(row, "context", required=False), text_of(row, "response")
    category = text_of(row, "category", required=False)
    return Fields(
        instruction=text_of(row, "instruction"),
        input=context,
        output=response,
        group_by=context if context.strip() else None,
        metadata={"category": category} if category else {},
    )


TASK = Task(
    domain="closed QA, summaries",
    source="Databricks, 2023",
    hub_id="databricks/databricks-dolly-15k",
    folders=("dolly", "dolly15k", "databricksdolly15k"),
    fields=fields,
)
