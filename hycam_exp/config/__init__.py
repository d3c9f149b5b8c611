"""What a run is: its settings, its grid, its identity. Loads no torch."""
