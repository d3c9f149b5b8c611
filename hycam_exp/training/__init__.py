"""Fine-tuning with Lightning, on one device or several."""
