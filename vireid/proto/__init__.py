"""The wire contract (retrieval.proto) and its generated stubs."""
