"""Where links stand, against the published models of each version."""

import importlib
import pkgutil
from collections.abc import Iterator

import fhir.resources
import fhir.resources.R4B
import fhir.resources.STU3
import pytest

from shared.fhir.rewriting.positions import Position, position_of


def attachments(package: str, path: list[str]) -> Iterator[str]:
    """The names of the elements that are attachments, in every type of a version."""
    for found in pkgutil.iter_modules(path):
        if not found.ispkg and not found.name.startswith("_"):
            for model in vars(importlib.import_module(f"{package}.{found.name}")).values():
                for name, element in getattr(model, "model_fields", {}).items():
                    if "AttachmentType" in str(element.annotation):
                        yield element.alias or name


@pytest.mark.parametrize(
    "version", [fhir.resources.STU3, fhir.resources.R4B, fhir.resources], ids=["STU3", "R4B", "R5"]
)
def test_every_attachments_url_is_a_link(version: object) -> None:
    names = set(attachments(version.__name__, list(version.__path__)))  # type: ignore[attr-defined]
    assert len(names) > 10
    assert {name for name in names if position_of("url", name) is not Position.URL} == set()
