"""Training of visible-infrared re-identification models."""
