"""The retrieval service and its HTTP and gRPC transports."""
