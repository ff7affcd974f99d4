"""`local.settings.json`: what the Functions host and Core Tools give to the functions on this machine."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local import secret_file


class LocalSettingsError(Exception):
    """The file can't be read; the message is one line that names it."""


def write(file: Path, values: Mapping[str, str], port: int) -> dict[str, str]:
    """Puts `values` and the port into the file, where everything else stays, and returns all its `Values`.

    Raises LocalSettingsError when there is a file of another kind.
    """
    document = _read(file)
    all_values: dict[str, str] = document.get("Values", {}) | dict(values)
    host = document.get("Host", {}) | {"LocalHttpPort": port}
    document |= {"IsEncrypted": False, "Values": all_values, "Host": host}
    secret_file.write(file, json.dumps(document, indent=2).encode() + b"\n")
    return all_values


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        raise LocalSettingsError(f"{file.name} is not JSON: mend it, or delete it to get a new one") from None
    match document:
        case {"IsEncrypted": True}:
            raise LocalSettingsError(f"{file.name} is encrypted: run func settings decrypt, or delete it")
        case dict():
            values, host = document.get("Values", {}), document.get("Host", {})
            texts = isinstance(values, dict) and all(isinstance(value, str) for value in values.values())
            if texts and isinstance(host, dict):
                return document
    raise LocalSettingsError(f"{file.name} must hold an object with Values, which are texts, and Host")
