"""What can be said about a cluster's address before Ray is asked, which takes minutes to give up.

Found with Ray 2.60: ``ray.init`` with an address where no Ray answers tries for 80 to 120 seconds
and then ends the whole process.
"""

from __future__ import annotations

import os
import socket

from search.common.errors import UserError

LOCAL = "local"  # in place of an address: start Ray on this machine
AUTO = "auto"  # the cluster that this machine belongs to
ANSWER_SECONDS = 5.0  # for a machine to answer
START = "Start one with ray start --head, or use --cluster local"
# HTTP/2, on which Ray's heads speak gRPC (RFC 9113): what a client says first, an empty frame of
# settings included. A server answers with settings of its own: a frame whose fourth byte is 4.
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
FRAME_HEAD, SETTINGS = 9, 4


def check_answers(address: str) -> None:
    """See within seconds whether the head of a cluster may be at an address.

    Args:
        address: ``host:port``.

    Raises:
        UserError: If it is no such address, nothing answers there, or what answers is no Ray.
    """
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal() or int(port) > 65535:
        raise UserError(
            f"{address!r} is not the address of a Ray cluster",
            "Give host:port of its head (usually port 6379), auto or local, and run this "
            "command on one of its machines",
        )
    encrypted = os.environ.get("RAY_USE_TLS", "0") == "1"
    try:
        with socket.create_connection(
            (host.strip("[]"), int(port)), timeout=ANSWER_SECONDS
        ) as there:
            if not encrypted and not _speaks_http2(there):
                raise UserError(
                    f"what answers at {address} is not the head of a Ray cluster", START
                )
    except OSError as error:
        raise UserError(
            f"no Ray cluster answers at {address} ({error.strerror or error})", START
        ) from None


def _speaks_http2(there: socket.socket) -> bool:
    there.sendall(GREETING)
    head = b""
    try:
        while len(head) < FRAME_HEAD and (more := there.recv(FRAME_HEAD - len(head))):
            head += more
    except TimeoutError:
        return False
    return len(head) == FRAME_HEAD and head[3] == SETTINGS
