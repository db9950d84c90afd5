"""Refuses every connection that leaves this machine, in the tests and (by PYTHONPATH) in every process they start."""

import socket

_connect = socket.socket.connect


class NetworkBlockedError(OSError):
    """A test tried to reach another machine."""


def _is_local(address: object) -> bool:
    if isinstance(address, str | bytes):
        return True  # a Unix socket
    return str(address[0]).startswith("127.") or address[0] in ("localhost", "::1", "0.0.0.0", "")


def _guarded(self: socket.socket, address: object) -> None:
    if not _is_local(address):
        raise NetworkBlockedError(f"the tests must not use the network, but tried {address!r}")
    return _connect(self, address)


socket.socket.connect = _guarded
