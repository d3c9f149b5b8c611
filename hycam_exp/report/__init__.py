"""From run records to what a reader sees; nothing here loads torch."""
