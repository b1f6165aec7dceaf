"""Pictures of an evaluation: data in, a matplotlib Figure out. Needs the extra ``evaluation``."""
