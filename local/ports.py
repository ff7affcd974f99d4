"""The ports of the local stack: the usual ones where they are free, and the same ones at every start."""

import json
import socket
from contextlib import ExitStack
from pathlib import Path

from local import secret_file

FUNCTIONS = "functions"
PORTAL = "portal"
TABLES = "tables"
VAULT = "vault"
HOSPITALS = ("riverside", "lakeside", "northgate", "hillcrest", "seaside")

_USUAL = {PORTAL: 7072, TABLES: 10002, VAULT: 8443, **dict(zip(HOSPITALS, range(8101, 8106), strict=True))}


class PortTaken(Exception):
    """Something else listens on the port that was asked for."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} is taken: choose another with --port NUMBER (make run PORT=NUMBER)")


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with ExitStack() as held:
        return _hold(held, 0)


def choose(file: Path, functions: int) -> dict[str, int]:
    """A port on 127.0.0.1 for each name, remembered in `file`.

    The functions get exactly the port asked for (PortTaken), or with 0 any; then all others are any free ones too. A
    port that was remembered comes first, and one that is taken is replaced by a free one.
    """
    remembered: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    with ExitStack() as held:
        wanted = functions or remembered.get(FUNCTIONS, 0)
        first = _hold(held, wanted)
        if functions and first != functions:
            raise PortTaken(functions)
        ports = {FUNCTIONS: first}
        for name, usual in _USUAL.items():
            ports[name] = _hold(held, remembered.get(name, usual if functions else 0))
    secret_file.write(file, json.dumps(ports).encode())
    return ports


def _hold(held: ExitStack, port: int) -> int:
    """`port` if it is free, else another, which is kept from being chosen twice as long as `held` lasts."""
    holder = held.enter_context(socket.socket())
    # As the servers do: else a port whose last connections have just ended would seem taken.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        holder.bind(("127.0.0.1", port))
        holder.listen()
    except OSError:
        holder.close()
        return _hold(held, 0)
    bound: int = holder.getsockname()[1]
    return bound
