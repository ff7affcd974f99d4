import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import ports


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_ports_are_all_different_and_the_same_at_the_next_start(tmp_path: Path) -> None:
    chosen = ports.choose(tmp_path / "ports.json", 0)
    assert set(chosen) == {ports.FUNCTIONS, ports.PORTAL, ports.TABLES, ports.VAULT, *ports.HOSPITALS}
    assert len(set(chosen.values())) == len(chosen)
    assert ports.choose(tmp_path / "ports.json", 0) == chosen


def test_a_port_that_was_taken_meanwhile_is_replaced_alone(tmp_path: Path) -> None:
    chosen = ports.choose(tmp_path / "ports.json", 0)
    with socket.create_server(("127.0.0.1", chosen[ports.VAULT])):
        others = ports.choose(tmp_path / "ports.json", 0)
    assert {name for name in chosen if chosen[name] != others[name]} == {ports.VAULT}


def test_the_functions_get_the_port_that_was_asked_for_or_none(tmp_path: Path, taken: int) -> None:
    wanted = free()
    assert ports.choose(tmp_path / "ports.json", wanted)[ports.FUNCTIONS] == wanted
    with pytest.raises(ports.PortTaken, match=f"port {taken} is taken.*--port.*make run PORT="):
        ports.choose(tmp_path / "ports.json", taken)


def test_a_part_steps_aside_when_the_functions_are_given_its_port(tmp_path: Path) -> None:
    chosen = ports.choose(tmp_path / "ports.json", 0)
    others = ports.choose(tmp_path / "ports.json", chosen[ports.TABLES])
    assert others[ports.FUNCTIONS] == chosen[ports.TABLES]
    assert len(set(others.values())) == len(others)
