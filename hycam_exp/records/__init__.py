"""The record of a run: what it holds, where it is kept, and what its numbers mean."""
