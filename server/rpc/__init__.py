"""The gRPC transport: conversion, one error table, health, reflection. Holds no behaviour of its own."""

from server.rpc.serve import RpcServer, serve_rpc

__all__ = ["RpcServer", "serve_rpc"]
