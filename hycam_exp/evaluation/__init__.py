"""What a run is scored by: perplexity, generated text, and retention of general language."""
