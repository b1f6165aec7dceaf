"""Memories: prototypes and instances that losses compare with, updated in plain sight after the step."""
