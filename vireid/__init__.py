"""The shared vocabulary of vireid; empty on purpose, so that importing it costs nothing."""
