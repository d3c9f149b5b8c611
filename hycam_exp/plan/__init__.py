"""What a cell or a grid will need, before any weight is loaded: `python -m hycam_exp.plan`, docs/plan.md."""
