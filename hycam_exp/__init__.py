"""HyCAM for any Hugging Face causal model, and the benchmark around it."""
