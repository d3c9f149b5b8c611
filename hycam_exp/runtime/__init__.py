"""What a process stands on: its ranks, its terminal, its clock and its command line."""
