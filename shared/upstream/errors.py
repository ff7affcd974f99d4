"""The one place where whatever goes wrong in a FHIR request becomes the error for an OperationOutcome."""

import logging

from shared.directory.errors import RowError
from shared.error_kind import ErrorKind
from shared.fhir.errors import FhirError
from shared.stores.errors import StoreUnavailable

_log = logging.getLogger(__name__)


def fhir_error(error: Exception) -> FhirError:
    """The FhirError for any error. An error that is the operator's to mend is logged."""
    match error:
        case FhirError():
            return error
        case StoreUnavailable():
            _log.error("%s", error)
            text = "The gateway's directory is not reachable. Try again."
            return FhirError(503, "transient", text, {"Retry-After": "5"}, ErrorKind.STORE_UNAVAILABLE)
        case RowError():
            _log.error("%s", error)
            text = f"The tenant's directory entry can't be used: {error}."
            return FhirError(500, "exception", text, kind=ErrorKind.ROW_UNUSABLE)
    _log.error("unexpected error", exc_info=error)
    return FhirError(500, "exception", "The request failed inside the gateway.")
