"""A client program's steps: each prints {"step", "found"}, or {"step", "error"} with the error's name and status."""

import json
import os
from collections.abc import Callable
from typing import Any

BASE, OWN = os.environ["FHIR_BASE"], os.environ["OWN"]
TOKEN = os.environ.get("TOKEN")


def step(name: str, take: Callable[[], Any]) -> None:
    """Takes a step, and prints what it found or which error the client raised."""
    try:
        result = {"step": name, "found": take()}
    except Exception as error:
        result = {"step": name, "error": described(error)}
    print(json.dumps(result))


def attempt(take: Callable[[], Any]) -> Any:
    """Runs a step within another one, and gives what it found or the error."""
    try:
        return take()
    except Exception as error:
        return described(error)


def described(error: Exception) -> str:
    """The client's own kind of error, and the status where it carries one."""
    status = getattr(getattr(error, "response", None), "status_code", "")
    return f"{type(error).__name__} {status}".rstrip()


def new_patient(**elements: Any) -> dict[str, Any]:
    identifier = {"system": "https://conformance.example/id", "value": OWN}
    return {"resourceType": "Patient", "identifier": [identifier], "gender": "female"} | elements
