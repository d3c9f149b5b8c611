"""From files to batches: records, folds, prompts, tokens, batches."""
