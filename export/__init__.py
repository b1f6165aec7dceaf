"""From a trained checkpoint to a proven bundle."""
