"""Grids of cells: on this machine, or as jobs of a cluster."""
