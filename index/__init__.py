"""The gallery: durable records, a vector index over them, and filtered search."""
