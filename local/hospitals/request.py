"""A request to a hospital's FHIR server, its response, and its error."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Resource = dict[str, Any]
Pairs = tuple[tuple[str, str], ...]
"""The parameters of a query, decoded, in their order."""


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is decoded and below `base` (absolute, without a trailing slash); header names match in any case."""

    method: str
    base: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path.strip("/").split("/"))


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    resource: Resource | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class RequestError(Exception):
    """A request that is refused with `status` and an OperationOutcome of one issue.

    `code` is the issue's (http://hl7.org/fhir/issue-type), such as `not-found`.
    """

    def __init__(self, status: int, code: str, diagnostics: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(diagnostics)
        issue = {"severity": "error", "code": code, "diagnostics": diagnostics}
        self.response = Response(status, {"resourceType": "OperationOutcome", "issue": [issue]}, headers or {})
