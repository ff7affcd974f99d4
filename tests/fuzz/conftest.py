"""The deployment of the fault suite, with an instance of this folder's own."""

from tests.faults.conftest import healthy_origin, host, own_app, stack, written_page

__all__ = ["healthy_origin", "host", "own_app", "stack", "written_page"]
