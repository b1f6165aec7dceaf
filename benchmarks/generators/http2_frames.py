"""One gRPC call after another over one connection, in plain HTTP/2 frames (RFC 9113): the least a client can cost.

The load generator shares the machine's cores with what it measures, so it does nothing a call does not need: no
header compression beyond literals (RFC 7541), no look at the answer's headers. Knows no messages.
"""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
LARGEST_WINDOW = 2**31 - 1
FIRST_WINDOW = 65_535
LARGEST_FRAME = 16_384
INITIAL_WINDOW_SIZE = 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Write a frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _named(name: bytes, value: bytes) -> bytes:
    """A header as a literal that is not indexed; nothing here is longer than 126 bytes."""
    return bytes((0, len(name))) + name + bytes((len(value),)) + value


class Connection:
    """One connection, one call at a time.

    Args:
        port: on loopback.
        method: the full name, ``/package.Service/Method``.
    """

    def __init__(self, port: int, method: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._headers = b"".join(
            _named(name, value)
            for name, value in (
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", method.encode()),
                (b":authority", b"localhost"),
                (b"te", b"trailers"),
                (b"content-type", b"application/grpc"),
            )
        )
        self._stream = -1
        self._window = FIRST_WINDOW
        self._unread = b""
        wide = struct.pack(">HI", INITIAL_WINDOW_SIZE, LARGEST_WINDOW)
        more = struct.pack(">I", LARGEST_WINDOW - FIRST_WINDOW)
        self._socket.sendall(PREFACE + frame(SETTINGS, 0, 0, wide) + frame(WINDOW_UPDATE, 0, 0, more))

    def call(self, message: bytes) -> bytes:
        """Send a message of at most 60 kB; the message that comes back.

        Raises:
            RuntimeError: the server answered with an error or ended the connection.
        """
        self._stream += 2
        body = b"\0" + struct.pack(">I", len(message)) + message
        while self._window < len(body):
            self._next()
        self._window -= len(body)
        parts = [body[at : at + LARGEST_FRAME] for at in range(0, len(body), LARGEST_FRAME)]
        self._socket.sendall(
            frame(HEADERS, END_HEADERS, self._stream, self._headers)
            + b"".join(frame(DATA, 0, self._stream, part) for part in parts[:-1])
            + frame(DATA, END_STREAM, self._stream, parts[-1])
        )
        answer = b""
        while True:
            kind, flags, payload = self._next()
            if kind == DATA:
                answer += payload
            if kind == RST_STREAM:
                raise RuntimeError(f"the server broke the call off: {payload.hex()}")
            if kind in {DATA, HEADERS} and flags & END_STREAM:
                break
        if len(answer) < 5:
            raise RuntimeError("the server answered without a message: the call failed")
        return answer[5:]

    def close(self) -> None:
        """Let the connection go."""
        self._socket.close()

    def _next(self) -> tuple[int, int, bytes]:
        """Read a frame, and answer or note what belongs to the connection."""
        while len(self._unread) < 9:
            self._more()
        size = int.from_bytes(self._unread[:3], "big")
        kind, flags, stream = struct.unpack_from(">BBI", self._unread, 3)
        while len(self._unread) < 9 + size:
            self._more()
        payload, self._unread = self._unread[9 : 9 + size], self._unread[9 + size :]
        if kind == SETTINGS and not flags & ACK:
            self._socket.sendall(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self._socket.sendall(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            raise RuntimeError(f"the server ended the connection: {payload[8:].decode(errors='replace')}")
        return kind, flags, payload

    def _more(self) -> None:
        data = self._socket.recv(65_536)
        if not data:
            raise RuntimeError("the server closed the connection")
        self._unread += data
