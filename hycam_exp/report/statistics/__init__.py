"""Differences between methods: tests over folds, the bootstrap over test samples, and the stars that follow."""
