"""Problems that the check can find, in words for the people who can mend them."""

from dataclasses import dataclass
from enum import Enum


class Mender(Enum):
    """The one who can mend a problem: the hospital, at its server, or the admin, in the row and in Key Vault."""

    HOSPITAL = "hospital"
    ADMIN = "admin"


HOSPITAL, ADMIN = Mender.HOSPITAL, Mender.ADMIN


class ProblemKind(Enum):
    """Every problem the check can find: who can mend it, what is wrong, and what the person who keeps the row can do.

    Nothing is the hospital's that a column of the row other than its address and version may have caused.
    """

    NO_CREDENTIAL = (
        ADMIN,
        "the gateway could not authenticate",
        "check the row's Auth columns and the credential in Key Vault ({detail})",
    )
    CREDENTIAL_REFUSED = (
        ADMIN,
        "the server refuses the gateway's credential ({detail})",
        "check the account, its secret, AuthScope and the audience",
    )
    FORBIDDEN = (
        HOSPITAL,
        "the server forbids the gateway's account this call ({detail})",
        "have the account allowed to read and search this type",
    )
    OUT_OF_SCOPE = (
        ADMIN,
        "the server forbids a call that AuthScope does not cover ({detail})",
        "name this type in AuthScope; when it covers the type already, have the account allowed to read and search it",
    )
    NOT_FOUND = (
        HOSPITAL,
        "there is nothing at this address ({detail})",
        "check BaseUrl; when other types are found, the server does not have this one",
    )
    THROTTLED = (
        ADMIN,
        "the server is throttling ({detail})",
        "ask how many requests it can bear and set MaxConcurrent; check again later",
    )
    REFUSED = (
        HOSPITAL,
        "the server refuses this call ({detail})",
        "ask the server's owner to support the call as the app makes it",
    )
    GET_REFUSED = ADMIN, "the server refuses a search by GET ({detail})", "set Search=post in the row"
    SERVER_ERROR = HOSPITAL, "the server failed ({detail})", "ask the server's owner what its log says"
    TIMEOUT = (
        ADMIN,
        "the server did not answer in time",
        "ask the server's owner why; TimeoutSeconds is how long the gateway waits",
    )
    UNREACHABLE = (
        HOSPITAL,
        "the server could not be reached",
        "check BaseUrl's name and port, the server's TLS certificate, and firewalls",
    )
    REDIRECT = (
        ADMIN,
        "the server redirects ({detail}), which the gateway does not follow",
        "set BaseUrl to where it leads",
    )
    NOT_FHIR = (
        HOSPITAL,
        "the answer is {detail}, not FHIR",
        "BaseUrl may lead to a web page, a sign-in or a firewall: open <BaseUrl>/metadata",
    )
    NOT_JSON = (
        HOSPITAL,
        "the answer is XML although JSON was asked for",
        "ask the server's owner to honour the header Accept",
    )
    MALFORMED = (
        HOSPITAL,
        "the answer is cut off, empty or malformed",
        "ask the server's owner; something between may shorten answers",
    )
    UNEXPECTED_RESOURCE = (
        HOSPITAL,
        "the answer is not the resource that was asked for",
        "check BaseUrl, and ask the server's owner what the call answers",
    )
    NOT_LET_THROUGH = ADMIN, "the gateway does not let {detail} through", "add the type to the row's Types"
    OTHER_TYPES = (
        ADMIN,
        "the gateway would refuse the answer ({detail})",
        "have the server leave out what was not asked for, or add the type to the row's Types",
    )
    WRONG_VERSION = ADMIN, "the server speaks FHIR {detail}", "check BaseUrl, or make a row for that version"
    JSON_NOT_DECLARED = (
        HOSPITAL,
        "the statement's formats lack JSON",
        "ask the server's owner whether JSON is supported",
    )
    NO_PATIENT = ADMIN, "no patient to test with was found", "name a test patient the account may read"
    NOT_AMONG_RESULTS = (
        HOSPITAL,
        "a search for the test patient's own values does not find it",
        "ask the server's owner whether POST Patient/_search reads its form, and which parameters it knows",
    )
    SORT_REFUSED = (
        HOSPITAL,
        "the search fails with the app's _sort and works without",
        "ask the server's owner to accept or ignore _sort as the app spells it",
    )
    NO_TOTAL = ADMIN, "the search's answer has no total", "set Total=accurate in the row: the gateway then asks for it"
    TOTAL_NOT_GIVEN = (
        HOSPITAL,
        "the search's answer has no total, although it was asked for",
        "ask the server's owner to send Bundle.total",
    )
    NO_ENTRIES = (
        ADMIN,
        "there is nothing for the test patient, so its fields were not seen",
        "check the account's rights on this type, or name another patient",
    )
    NO_LOCATION = (
        ADMIN,
        "no encounter of the test patient refers to one",
        "name another patient, or ask whether encounters have locations",
    )
    REFERENCE_ELSEWHERE = (
        ADMIN,
        "references lead to another server",
        "ask for relative references, or set BaseUrl to the base the server calls its own",
    )
    BASE_ELSEWHERE = (
        ADMIN,
        "links in the answer name another base than BaseUrl",
        "set BaseUrl to the base the server calls its own, or have the server told its public address",
    )
    PAGE_ELSEWHERE = (
        ADMIN,
        "the link to the next page leads to another server",
        "have the server told its public address, or name the other one in PageOrigins",
    )
    COUNT_IGNORED = HOSPITAL, "_count does not limit the entries", "ask the server's owner to honour _count"
    PAGES_END_EARLY = (
        HOSPITAL,
        "the pages end before all entries came",
        "ask the server's owner why a page lacks its link to the next",
    )
    NO_PAGES = (
        ADMIN,
        "no search of the test patient has two entries, so no further page was seen",
        "name a patient with a longer chart",
    )
    BATCH_UNSUPPORTED = (
        ADMIN,
        "the app asks by batch, and that fails: {detail}",
        "set Batch=split in the row: the gateway then takes batches apart",
    )

    def __init__(self, mender: Mender, text: str, hint: str) -> None:
        self.mender = mender
        self.text = text
        self.hint = hint

    @property
    def code(self) -> str:
        """The kind in the machine-readable report, such as `no-credential`."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem. `call` is a call's label, `detail` a status, a media type, a version or the name of a type."""

    kind: ProblemKind
    call: str = ""
    detail: str = ""

    @property
    def text(self) -> str:
        """The problem, as the middle of a sentence that may be shown to the hospital."""
        return self.kind.text.format(detail=self.detail)

    @property
    def hint(self) -> str:
        """The remedy, for the person who keeps the row."""
        return self.kind.hint.format(detail=self.detail)
