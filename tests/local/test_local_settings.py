import json
from pathlib import Path

import pytest

from local import local_settings
from local.local_settings import LocalSettingsError


def test_ours_are_written_and_what_a_person_set_stays(tmp_path: Path) -> None:
    file = tmp_path / "local.settings.json"
    file.write_text(
        json.dumps(
            {
                "Values": {"TOKEN_LIFETIME_SECONDS": "120", "KEY_VAULT_URL": "https://old"},
                "Host": {"CORS": "*", "LocalHttpPort": 1},
                "ConnectionStrings": {},
            }
        )
    )
    values = local_settings.write(file, {"KEY_VAULT_URL": "https://127.0.0.1:8443"}, 7071)
    assert values == {"TOKEN_LIFETIME_SECONDS": "120", "KEY_VAULT_URL": "https://127.0.0.1:8443"}
    assert json.loads(file.read_text()) == {
        "IsEncrypted": False,
        "Values": values,
        "Host": {"CORS": "*", "LocalHttpPort": 7071},
        "ConnectionStrings": {},
    }


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "local.settings.json"
    local_settings.write(file, {"A": "b"}, 7071)
    assert json.loads(file.read_text()) == {"IsEncrypted": False, "Values": {"A": "b"}, "Host": {"LocalHttpPort": 7071}}
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"Values": []}', '{"Values": {"A": 1}}', '{"Host": 1}', '{"IsEncrypted": true}']
)
def test_a_file_of_another_kind_is_left_and_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "local.settings.json"
    file.write_text(content)
    with pytest.raises(LocalSettingsError, match=r"^local\.settings\.json "):
        local_settings.write(file, {"A": "b"}, 7071)
    assert file.read_text() == content
