"""Pictures of a run: data in, a matplotlib Figure out, in the look of the evaluation's pictures."""
