"""What a gRPC server takes from its clients at most. Constants.

The largest answer has to fit into what clients take if nobody told them otherwise: 4 MiB.
"""

from typing import Final

LARGEST_REQUEST: Final = 64 << 10  # bytes of one message
LARGEST_METADATA: Final = 32 << 10  # bytes: an Authorization of 16 KiB, and what proxies add
PIECE: Final = 256 << 10  # bytes of a file in one message
LISTED: Final = 1 << 20  # bytes of names in one page of a folder

THREADS: Final = 32  # calls that ask the store at once; others wait their turn
DOORS: Final = 8  # and others that find out who asks, where that takes a password's hash, the provider or the bucket
CALLS: Final = 256  # that are answered at once, by whatever method; one more is RESOURCE_EXHAUSTED
READS: Final = 160  # of these that send files
WATCHES: Final = 32  # of these that watch the health
REFLECTIONS: Final = 16  # of these that ask which services there are
CALLS_A_CONNECTION: Final = 100
CONNECTIONS: Final = 1024

BEGIN_S: Final = 10.0  # from the head of a call to its request
DOOR_S: Final = 10.0  # for a thread that finds out who asks
END_S: Final = 10.0  # for a client to take an answer, or the end of one
STALLED_S: Final = 60.0  # a client that takes no more of a file for so long is let go
WATCHED_S: Final = 3600.0  # a watch ends after so long, and may begin anew
REFLECTED_S: Final = 60.0  # and a conversation about which services there are
HANDSHAKE_S: Final = 10.0  # for TLS, and the first bytes of HTTP/2
IDLE_S: Final = 600.0  # a connection without a call
PING_S: Final = 60.0  # a silent connection is asked whether it is still there
PONG_S: Final = 20.0  # and answers in this time, or ends
PINGS_APART_S: Final = 10.0  # clients may ping so often, no more


def options(connections: int) -> list[tuple[str, int]]:
    """Return the limits as gRPC's channel arguments; `connections` is as many as may be open at once."""
    ms = 1000
    return [
        ("grpc.so_reuseport", 0),  # with it a second gateway would bind the same port unnoticed
        ("grpc.max_receive_message_length", LARGEST_REQUEST),
        ("grpc.max_metadata_size", LARGEST_METADATA),
        ("grpc.absolute_max_metadata_size", LARGEST_METADATA),
        ("grpc.max_concurrent_streams", CALLS_A_CONNECTION),
        ("grpc.max_allowed_incoming_connections", connections),
        ("grpc.server_handshake_timeout_ms", int(HANDSHAKE_S * ms)),
        ("grpc.max_connection_idle_ms", int(IDLE_S * ms)),
        ("grpc.keepalive_time_ms", int(PING_S * ms)),
        ("grpc.keepalive_timeout_ms", int(PONG_S * ms)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", int(PINGS_APART_S * ms)),
    ]
