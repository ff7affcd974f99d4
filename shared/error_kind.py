"""The kinds of errors that a request can end with, told apart in the counters and in the audit log.

What a client is told is often less: for every refusal of its credentials, the same.
"""

from enum import StrEnum


class Side(StrEnum):
    """On which side of the gateway an error arose; one of the hospital's says that the hospital does not serve."""

    HOSPITAL = "hospital"
    GATEWAY = "gateway"
    CLIENT = "client"


class ErrorKind(StrEnum):
    """A kind of error: its name in counters and audit lines, the side it arose on, and `text`, which tells people.

    Each text goes on from the side's name ("The hospital ..."). Of each side the gravest stands first.
    """

    side: Side
    text: str

    def __new__(cls, name: str, side: Side, text: str) -> "ErrorKind":
        kind = str.__new__(cls, name)
        kind._value_ = name
        kind.side, kind.text = side, text
        return kind

    UNREACHABLE = "unreachable", Side.HOSPITAL, "can't be reached"
    TIMED_OUT = "timed-out", Side.HOSPITAL, "did not answer in time"
    CREDENTIAL_REFUSED = "credential-refused", Side.HOSPITAL, "refused our credential"
    NO_CREDENTIAL = "no-credential", Side.HOSPITAL, "gave us no access token, or our credential for it can't be used"
    FORBIDDEN = "forbidden", Side.HOSPITAL, "does not let our credential see this"
    SERVER_ERROR = "server-error", Side.HOSPITAL, "answered with a server error"
    REDIRECTED = "redirected", Side.HOSPITAL, "answered with a redirect"
    NOT_FHIR = "not-fhir", Side.HOSPITAL, "answered with something other than whole, safe FHIR"
    TOO_LARGE = "too-large", Side.HOSPITAL, "answered with more than the gateway passes on"
    OVERLOADED = "overloaded", Side.HOSPITAL, "has more requests in flight than it takes"
    NOT_ASKED = "not-asked", Side.HOSPITAL, "was not asked, after several failures in a row"

    INTERNAL = "internal", Side.GATEWAY, "failed inside; its log has the error"
    STORE_UNAVAILABLE = "store-unavailable", Side.GATEWAY, "could not reach its tables or Key Vault"
    ROW_UNUSABLE = "row-unusable", Side.GATEWAY, "can't use the hospital's row"
    BUSY = "busy", Side.GATEWAY, "had as much under way as it can hold"

    CLIENT_UNKNOWN = "client-unknown", Side.CLIENT, "is not known"
    CLIENT_DISABLED = "client-disabled", Side.CLIENT, "is disabled"
    SECRET_DELETED = "secret-deleted", Side.CLIENT, "sent a secret that it does not have: deleted, or another client's"
    SECRET_EXPIRED = "secret-expired", Side.CLIENT, "sent an expired secret"
    SECRET_DISABLED = "secret-disabled", Side.CLIENT, "sent a secret that Key Vault has disabled, expired or deleted"
    SECRET_WRONG = "secret-wrong", Side.CLIENT, "sent a wrong secret"
    ASSERTION_MALFORMED = "assertion-malformed", Side.CLIENT, "sent an assertion that can't be read, or lacks something"
    ASSERTION_KEY_UNKNOWN = "assertion-key-unknown", Side.CLIENT, "signed an assertion by a key that is not registered"
    ASSERTION_SIGNATURE = "assertion-signature", Side.CLIENT, "sent an assertion whose signature is not its key's"
    ASSERTION_AUDIENCE = "assertion-audience", Side.CLIENT, "sent an assertion that is meant for somebody else"
    ASSERTION_TIMES = (
        "assertion-times",
        Side.CLIENT,
        "sent an assertion that has expired, or lives for over five minutes",
    )
    ASSERTION_REPLAYED = "assertion-replayed", Side.CLIENT, "sent an assertion a second time"
    KEYS_UNAVAILABLE = "keys-unavailable", Side.CLIENT, "has its keys at a URL where they can't be had"
    TENANT_REFUSED = "tenant-refused", Side.CLIENT, "asked for a tenant that it may not reach, or that is not there"
    TOKEN_REQUEST_MALFORMED = "token-request-malformed", Side.CLIENT, "sent a malformed token request"
    NO_TOKEN = "no-token", Side.CLIENT, "sent no token, or not as a bearer token"
    TOKEN_INVALID = "token-invalid", Side.CLIENT, "sent a token that is not valid"
    TOKEN_EXPIRED = "token-expired", Side.CLIENT, "sent an expired token"
    TOKEN_REVOKED = (
        "token-revoked",
        Side.CLIENT,
        "sent a revoked token, or one whose secret, client or hospital is no longer good",
    )
    NO_HOSPITAL = "no-hospital", Side.CLIENT, "asked for a hospital or FHIR version that is not there or switched off"
    NOT_LET_THROUGH = "not-let-through", Side.CLIENT, "asked for what the hospital's row or the token does not allow"
    MALFORMED = "malformed", Side.CLIENT, "sent a malformed request"
    REJECTED = "rejected", Side.CLIENT, "sent a request that the hospital rejected"
    NOT_FOUND = "not-found", Side.CLIENT, "asked for what is not there"


_OF_STATUS = {
    401: ErrorKind.TOKEN_INVALID,
    403: ErrorKind.NOT_LET_THROUGH,
    404: ErrorKind.NOT_FOUND,
    410: ErrorKind.NOT_FOUND,
    500: ErrorKind.INTERNAL,
    502: ErrorKind.NOT_FHIR,
    503: ErrorKind.BUSY,
    504: ErrorKind.TIMED_OUT,
}
_OF_PROVIDERS_STATUS = {
    403: ErrorKind.FORBIDDEN,
    404: ErrorKind.NOT_FOUND,
    410: ErrorKind.NOT_FOUND,
    429: ErrorKind.OVERLOADED,
}


def kind_of_error(status: int) -> ErrorKind:
    """The usual kind of the gateway's own error of this status."""
    return _OF_STATUS.get(status, ErrorKind.MALFORMED)


def kind_of_response(status: int) -> ErrorKind | None:
    """The kind of a provider's own response of this status; None where it is no error."""
    if status < 400:
        return None
    return ErrorKind.SERVER_ERROR if status >= 500 else _OF_PROVIDERS_STATUS.get(status, ErrorKind.REJECTED)
