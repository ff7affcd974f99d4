"""A request that can't be served as FHIR: the one exception that becomes an OperationOutcome."""

from collections.abc import Mapping

from shared.error_kind import ErrorKind, kind_of_error


class FhirError(Exception):
    """Answered with `status` and an OperationOutcome of one issue.

    `code` is an IssueType (http://hl7.org/fhir/issue-type) that every version has; `diagnostics` is
    shown to the client, so it never holds a provider's address, a credential or a patient's data. `kind` is for those
    who keep the gateway; by default it is the usual one of the status.
    """

    def __init__(
        self,
        status: int,
        code: str,
        diagnostics: str,
        headers: Mapping[str, str] | None = None,
        kind: ErrorKind | None = None,
    ) -> None:
        super().__init__(diagnostics)
        self.status = status
        self.code = code
        self.diagnostics = diagnostics
        self.headers = dict(headers or {})
        self.kind = kind or kind_of_error(status)
