"""Keeps this process on loopback: a connection to anywhere else, and any look-up of a name, fails and is noted.

The guard is an audit hook of the interpreter: no library can remove it, and it sees every socket, whoever opens
it. Imported first, it covers what other modules do when they are imported.
"""

import sys

_STRAYS = []

_LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_SENDS = ("socket.connect", "socket.sendto", "socket.sendmsg")


def _guard(event, arguments):
    if event in _LOOKUPS:
        host = arguments[0]
    elif event in _SENDS:
        address = arguments[1]
        # An address is a tuple for IP, a text for Unix sockets, None where the socket is connected already.
        host = address[0] if isinstance(address, tuple) else None
    else:
        return
    if isinstance(host, bytes):
        host = host.decode()
    if host not in (None, "127.0.0.1"):
        _STRAYS.append(f"{event} {host}")
        raise PermissionError(f"this process may talk to 127.0.0.1 only, not to {host}")


sys.addaudithook(_guard)


def strays():
    """What was tried all the same, even if whoever tried it swallowed the error."""
    return list(_STRAYS)
