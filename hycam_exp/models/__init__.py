"""Backbones: their files, their tokenizer, their weights."""
