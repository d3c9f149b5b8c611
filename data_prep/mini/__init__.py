"""The mini set: five generated tasks that tell of a small world, and the general corpus of the embedded backbone.

Its records lie in `RECORDS` as `python -m data_prep.mini` writes them, in canonical Parquet.
"""

from pathlib import Path

TASKS = ("mini_reasoning", "mini_medical", "mini_passage", "mini_code", "mini_sources")
RECORDS = Path(__file__).parent / "records"
