"""A request that a hospital's server turns down."""

from collections.abc import Mapping


class Refusal(Exception):
    """Answered with `status` and an OperationOutcome whose one issue has `code` (http://hl7.org/fhir/issue-type)."""

    def __init__(self, status: int, code: str, diagnostics: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(diagnostics)
        self.status = status
        self.code = code
        self.diagnostics = diagnostics
        self.headers = dict(headers or {})
