"""The page of the fault suite, for what is measured here."""

from tests.faults.conftest import written_page

__all__ = ["written_page"]
