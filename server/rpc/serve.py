"""The gRPC server, put together: services, key, health, reflection, limits.

Knows the settings and the channel; the composition root owns its life.
"""

from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from server import about
from server.auth import Authenticator, is_loopback
from server.jobs import JobBoard
from server.metrics import Metrics
from server.rpc.centring import CentringServicer
from server.rpc.credentials import Credentials
from server.rpc.evaluations import EvaluationServicer
from server.rpc.failures import Failures
from server.rpc.galleries import GalleryServicer
from server.rpc.info import InfoServicer
from server.rpc.retrieval import RetrievalServicer
from server.rpc.snapshots import SnapshotServicer
from server.service import RetrievalService
from server.settings import ServerSettings
from vireid.errors import SettingsError
from vireid.proto import retrieval_pb2 as pb
from vireid.proto import retrieval_pb2_grpc as stubs

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
# what the admission queue refuses is far below; this bounds the memory of bodies not yet looked at
MOST_CALLS = 1024
SERVICES = tuple(service.full_name for service in pb.DESCRIPTOR.services_by_name.values())

OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),  # two servers on one port would share the calls between them
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_time_ms", 30_000),
)


class RpcServer:
    """The gRPC side of the server, bound to its port.

    Args:
        server: with its services added and its port bound.
        health: tells probes what is served.
        port: the port it really has.
    """

    def __init__(self, server: Any, health: health.aio.HealthServicer, port: int) -> None:
        self._server = server
        self._health = health
        self.port = port

    async def start(self) -> None:
        """Begin to answer, and say so to probes."""
        for name in ("", *SERVICES):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()

    async def drain(self) -> None:
        """Tell probes that this server takes its leave; calls are still answered."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_s: float = 10.0) -> None:
        """Refuse new calls and end when those in flight have, or after the grace."""
        await self.drain()
        await self._server.stop(grace_s)


def serve_rpc(
    service: RetrievalService,
    board: JobBoard,
    settings: ServerSettings,
    authenticator: Authenticator,
    metrics: Metrics,
    version: str,
) -> RpcServer:
    """Put the gRPC server together and bind its port; it answers once started.

    Args:
        service: does the work.
        board: background jobs.
        settings: host, port, and what is taken at most.
        authenticator: says which keys are good.
        metrics: told each answer.
        version: of vireid.

    Raises:
        SettingsError: the port is taken, or the host is none of this machine's.
    """
    server = grpc.aio.server(
        interceptors=(Failures(metrics), Credentials(authenticator)),
        options=OPTIONS,
        maximum_concurrent_rpcs=MOST_CALLS,
    )
    stubs.add_RetrievalServiceServicer_to_server(RetrievalServicer(service), server)
    stubs.add_GalleryServiceServicer_to_server(GalleryServicer(service), server)
    stubs.add_EvaluationServiceServicer_to_server(EvaluationServicer(service, board), server)
    stubs.add_SnapshotServiceServicer_to_server(SnapshotServicer(service, board), server)
    stubs.add_CentringServiceServicer_to_server(CentringServicer(service, board), server)
    stubs.add_InfoServiceServicer_to_server(
        InfoServicer(lambda: about.document(service, version, settings.max_upload_bytes)), server
    )
    probes = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(probes, server)
    if is_loopback(settings.host):
        reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return RpcServer(server, probes, _bind(server, settings.host, settings.grpc_port))


def _bind(server: Any, host: str, port: int) -> int:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound: int = server.add_insecure_port(address)
    except RuntimeError as error:
        raise SettingsError(
            f"cannot listen for gRPC on {address}: is another server running there? "
            "Stop it, or choose another grpc_port",
            reason="PORT_TAKEN",
        ) from error
    return bound
