"""`python -m tests.faults.named_host`: the functions, on a machine where NAMES mean addresses that no key set is at."""

import os
import socket
from typing import Any

from local.functions_host.__main__ import main

NAMES = {
    "this-machine.example.com": "127.0.0.1",
    "this-machine-in-ipv6.example.com": "::ffff:127.0.0.1",
    "a-network-inside.example.com": "10.0.0.1",
    "the-clouds-metadata.example.com": "169.254.169.254",
}
_resolve = socket.getaddrinfo


def _look_up(host: Any, *more: Any, **named: Any) -> Any:
    return _resolve(NAMES.get(host, host), *more, **named)


if __name__ == "__main__":
    socket.getaddrinfo = _look_up
    os._exit(main())
