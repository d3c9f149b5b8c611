"""Data sets into canonical records: one pure converter a set, and the generated mini set."""
