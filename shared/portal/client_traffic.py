"""What happened to a client's requests: by day as a picture, and the latest errors with what to do about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.directory.traffic import client_subject
from shared.directory.traffic_history import Figures, Slot, TrafficHistory
from shared.error_kind import ErrorKind, Side
from shared.portal.picture import Bar, Picture, bars

_DAYS = 7
_SUBJECTS = {Side.CLIENT: "The app", Side.HOSPITAL: "The hospital", Side.GATEWAY: "The gateway"}

_ADMIN = "Ask the gateway's admin to look at the hospital."
_OPERATOR = "Tell the gateway's operator if it goes on."
_ADD_ANOTHER = "Add a secret, and give it to the app."
_ASK_ANEW = "The app has to ask for a new token and send the request again, once."
_MEND_ASSERTION = "The app has to mend the assertion it signs: see How to connect."
REMEDIES: Mapping[ErrorKind, str] = {
    **{kind: _ADMIN for kind in ErrorKind if kind.side is Side.HOSPITAL},
    **{kind: _OPERATOR for kind in ErrorKind if kind.side is Side.GATEWAY},
    ErrorKind.OVERLOADED: "The app should send fewer requests at once, and wait as long as Retry-After says.",
    ErrorKind.NOT_ASKED: "Wait a minute: the gateway tries the hospital again by itself.",
    ErrorKind.CLIENT_UNKNOWN: "Give the app the client ID of this page.",
    ErrorKind.CLIENT_DISABLED: "Enable the client, if it is to work.",
    ErrorKind.SECRET_DELETED: _ADD_ANOTHER,
    ErrorKind.SECRET_EXPIRED: _ADD_ANOTHER,
    ErrorKind.SECRET_DISABLED: _ADD_ANOTHER,
    ErrorKind.SECRET_WRONG: "Give the app the whole secret as it was shown, or another one.",
    ErrorKind.ASSERTION_MALFORMED: _MEND_ASSERTION,
    ErrorKind.ASSERTION_KEY_UNKNOWN: "Register the key that the app signs with, or have it sign with one that is.",
    ErrorKind.ASSERTION_SIGNATURE: "Register the key that the app signs with, or have it sign with one that is.",
    ErrorKind.ASSERTION_AUDIENCE: _MEND_ASSERTION,
    ErrorKind.ASSERTION_TIMES: _MEND_ASSERTION + " Look at its clock, too.",
    ErrorKind.ASSERTION_REPLAYED: "The app has to sign a new assertion, with a jti of its own, for each token request.",
    ErrorKind.KEYS_UNAVAILABLE: "Have the URL of the client's keys answer again, with a JWKS.",
    ErrorKind.TENANT_REFUSED: "Look at the hospitals that the client may reach, and ask for the one that is missing.",
    ErrorKind.TOKEN_REQUEST_MALFORMED: "The app has to send four fields as a form: see How to connect.",
    ErrorKind.NO_TOKEN: "The app has to send the token as Authorization: Bearer.",
    ErrorKind.TOKEN_INVALID: _ASK_ANEW,
    ErrorKind.TOKEN_EXPIRED: _ASK_ANEW,
    ErrorKind.TOKEN_REVOKED: "Test the client: its secret, or its access to the hospital, has ended.",
    ErrorKind.NO_HOSPITAL: "Look at the FHIR version in the app's base URL. " + _ADMIN,
    ErrorKind.NOT_LET_THROUGH: "Ask the gateway's admin which types and interactions the hospital lets through.",
    ErrorKind.MALFORMED: "The app has to mend its request: the answer's diagnostics say what is wrong.",
    ErrorKind.REJECTED: "The app has to mend its request: the hospital's answer says what is wrong.",
    ErrorKind.NOT_FOUND: "Nothing, unless the app should have found it.",
}


@dataclass(frozen=True, slots=True)
class CommonError:
    """A client's errors of one kind in words: in which hour the last one was, and how many there were."""

    last: datetime
    count: int
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class ClientTraffic:
    """A client's last seven days (UTC): requests and errors by day, and each kind of error, the latest first."""

    picture: Picture
    errors: Sequence[CommonError]


async def client_traffic(history: TrafficHistory, client_id: str) -> ClientTraffic:
    """What the table `Traffic` has of a client. Raises StoreUnavailable."""
    now = datetime.now(UTC)
    first = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=_DAYS - 1)
    hours = await history.series(client_subject(client_id), first, now, timedelta(hours=1))
    days = [hours[start : start + 24] for start in range(0, len(hours), 24)]
    return ClientTraffic(bars("Requests and errors by day", [_bar(day) for day in days]), _errors(hours))


def _bar(day: Sequence[Slot]) -> Bar:
    figures = [hour.figures for hour in day]
    requests = sum(each.requests + each.token_requests for each in figures)
    return Bar(day[0].start, requests, sum(map(_failed, figures)))


def _failed(figures: Figures) -> int:
    return sum(figures.failures.values())


def _errors(hours: Sequence[Slot]) -> Sequence[CommonError]:
    found: dict[ErrorKind, tuple[datetime, int]] = {}
    for hour in reversed(hours):
        for kind, count in hour.figures.failures.items():
            last, counted = found.get(kind, (hour.start, 0))
            found[kind] = last, counted + count
    return [
        CommonError(last, count, f"{_SUBJECTS[kind.side]} {kind.text}.", REMEDIES[kind])
        for kind, (last, count) in found.items()
    ]
