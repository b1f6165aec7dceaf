"""Untrusted image bytes to the exact pixels a bundle expects."""
