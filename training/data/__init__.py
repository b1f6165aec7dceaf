"""Batches: decoded crops, augmentation, sampling. Loaders yield an index, never a person."""
