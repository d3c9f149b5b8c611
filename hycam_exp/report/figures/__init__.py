"""Figures: from run records alone, but for `weight_matrix` and `tsne`, which need a trained model and load torch."""
