"""The files that the local stack keeps: its ports and its settings."""

import json
import socket
from pathlib import Path

import pytest

from local import local_settings, ports
from local.local_settings import LocalSettingsError


def test_ports_are_all_different_and_stay_what_they_are_unless_taken_meanwhile(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    chosen = ports.choose(file, 0)
    assert set(chosen) == {ports.FUNCTIONS, ports.PORTAL, ports.TABLES, ports.VAULT, *ports.HOSPITALS}
    assert len(set(chosen.values())) == len(chosen)
    assert ports.choose(file, 0) == chosen
    with socket.create_server(("127.0.0.1", chosen[ports.VAULT])):
        others = ports.choose(file, 0)
    assert {name for name in chosen if chosen[name] != others[name]} == {ports.VAULT}


def test_the_functions_get_the_port_that_was_asked_for_or_none(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    tables = ports.choose(file, 0)[ports.TABLES]
    others = ports.choose(file, tables)  # the tables step aside
    assert (others[ports.FUNCTIONS], len(set(others.values()))) == (tables, len(others))
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        with pytest.raises(ports.PortTaken, match=f"port {taken} is taken.*--port.*make run PORT="):
            ports.choose(file, taken)


def test_ours_are_written_for_the_owner_alone_and_what_a_person_set_stays(tmp_path: Path) -> None:
    file = tmp_path / "local.settings.json"
    values, port = {"TOKEN_LIFETIME_SECONDS": "120", "KEY_VAULT_URL": "https://old"}, {"CORS": "*", "LocalHttpPort": 1}
    file.write_text(json.dumps({"Values": values, "Host": port, "ConnectionStrings": {}}))
    values |= {"KEY_VAULT_URL": "https://127.0.0.1:8443"}
    assert local_settings.write(file, {"KEY_VAULT_URL": "https://127.0.0.1:8443"}, 7071) == values
    host = {"CORS": "*", "LocalHttpPort": 7071}
    expected = {"IsEncrypted": False, "Values": values, "Host": host, "ConnectionStrings": {}}
    assert json.loads(file.read_text()) == expected
    assert file.stat().st_mode & 0o777 == 0o600


KINDS = ["{", "[]", '{"Values": []}', '{"Values": {"A": 1}}', '{"Host": 1}', '{"IsEncrypted": true}']


@pytest.mark.parametrize("content", KINDS)
def test_a_file_of_another_kind_is_left_and_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "local.settings.json"
    file.write_text(content)
    with pytest.raises(LocalSettingsError, match=r"^local\.settings\.json "):
        local_settings.write(file, {"A": "b"}, 7071)
    assert file.read_text() == content
