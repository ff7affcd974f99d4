"""What can be wrong with a provider, in words for the people who can mend it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class ProblemKind(Enum):
    """Every problem the check can find; the values are the codes of the machine-readable report."""

    NO_CREDENTIAL = "no-credential"
    CREDENTIAL_REFUSED = "credential-refused"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    THROTTLED = "throttled"
    REFUSED = "refused"
    SERVER_ERROR = "server-error"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    REDIRECT = "redirect"
    NOT_FHIR = "not-fhir"
    NOT_JSON = "not-json"
    MALFORMED = "malformed"
    UNEXPECTED = "unexpected-resource"
    NOT_LET_THROUGH = "not-let-through"
    OTHER_TYPES = "other-types"
    WRONG_VERSION = "wrong-version"
    JSON_NOT_DECLARED = "json-not-declared"
    NO_PATIENT = "no-patient"
    NOT_AMONG_RESULTS = "not-among-results"
    SORT_REFUSED = "sort-refused"
    NO_TOTAL = "no-total"
    NO_ENTRIES = "no-entries"
    NO_LOCATION = "no-location"
    REFERENCE_ELSEWHERE = "reference-elsewhere"
    BASE_ELSEWHERE = "base-elsewhere"
    PAGE_ELSEWHERE = "page-elsewhere"
    COUNT_IGNORED = "count-ignored"
    PAGES_END_EARLY = "pages-end-early"
    NO_PAGES = "no-pages"
    BATCH_UNSUPPORTED = "batch-unsupported"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem. `call` is a call's label, `detail` a status, a media type, a version or the name of a type."""

    kind: ProblemKind
    call: str = ""
    detail: str = ""

    @property
    def text(self) -> str:
        """What is wrong, as the middle of a sentence that may be shown to the hospital."""
        return _ADVICE[self.kind][0].format(detail=self.detail)

    @property
    def hint(self) -> str:
        """What to do about it, for whoever keeps the row."""
        return _ADVICE[self.kind][1].format(detail=self.detail)


_ADVICE: Mapping[ProblemKind, tuple[str, str]] = {
    ProblemKind.NO_CREDENTIAL: (
        "the gateway could not authenticate",
        "check the row's Auth columns and the credential in Key Vault ({detail})",
    ),
    ProblemKind.CREDENTIAL_REFUSED: (
        "the server refuses the gateway's credential ({detail})",
        "check the account, its secret, AuthScope and the audience",
    ),
    ProblemKind.FORBIDDEN: (
        "the server forbids the gateway's account this call ({detail})",
        "have the account allowed to read and search this type; check AuthScope",
    ),
    ProblemKind.NOT_FOUND: (
        "there is nothing at this address ({detail})",
        "check BaseUrl; when other types are found, the server does not have this one",
    ),
    ProblemKind.THROTTLED: (
        "the server is throttling ({detail})",
        "ask how many requests it can bear and set MaxConcurrent; check again later",
    ),
    ProblemKind.REFUSED: (
        "the server refuses this call ({detail})",
        "ask the server's owner to support the call as the app makes it",
    ),
    ProblemKind.SERVER_ERROR: ("the server failed ({detail})", "ask the server's owner what its log says"),
    ProblemKind.TIMEOUT: (
        "the server did not answer in time",
        "ask the server's owner why; TimeoutSeconds is how long the gateway waits",
    ),
    ProblemKind.UNREACHABLE: (
        "the server could not be reached",
        "check BaseUrl's name and port, the server's TLS certificate, and firewalls",
    ),
    ProblemKind.REDIRECT: (
        "the server redirects ({detail}), which the gateway does not follow",
        "set BaseUrl to where it leads",
    ),
    ProblemKind.NOT_FHIR: (
        "the answer is {detail}, not FHIR",
        "BaseUrl may lead to a web page, a sign-in or a firewall: open <BaseUrl>/metadata",
    ),
    ProblemKind.NOT_JSON: (
        "the answer is XML although JSON was asked for",
        "ask the server's owner to honour the header Accept",
    ),
    ProblemKind.MALFORMED: (
        "the answer is cut off, empty or malformed",
        "ask the server's owner; something between may shorten answers",
    ),
    ProblemKind.UNEXPECTED: (
        "the answer is not the resource that was asked for",
        "check BaseUrl, and ask the server's owner what the call answers",
    ),
    ProblemKind.NOT_LET_THROUGH: (
        "the gateway does not let {detail} through",
        "add the type to the row's Types",
    ),
    ProblemKind.OTHER_TYPES: (
        "the gateway would refuse the answer ({detail})",
        "have the server leave out what was not asked for, or add the type to the row's Types",
    ),
    ProblemKind.WRONG_VERSION: ("the server speaks FHIR {detail}", "check BaseUrl, or make a row for that version"),
    ProblemKind.JSON_NOT_DECLARED: (
        "the statement's formats lack JSON",
        "ask the server's owner whether JSON is supported",
    ),
    ProblemKind.NO_PATIENT: (
        "no patient to test with was found",
        "name a test patient the account may read",
    ),
    ProblemKind.NOT_AMONG_RESULTS: (
        "a search for the test patient's own values does not find it",
        "ask the server's owner whether POST Patient/_search reads its form, and which parameters it knows",
    ),
    ProblemKind.SORT_REFUSED: (
        "the search fails with the app's _sort and works without",
        "ask the server's owner to accept or ignore _sort as the app spells it",
    ),
    ProblemKind.NO_TOTAL: ("the search's answer has no total", "ask the server's owner to send Bundle.total"),
    ProblemKind.NO_ENTRIES: (
        "there is nothing for the test patient, so its fields were not seen",
        "check the account's rights on this type, or name another patient",
    ),
    ProblemKind.NO_LOCATION: (
        "no encounter of the test patient refers to one",
        "name another patient, or ask whether encounters have locations",
    ),
    ProblemKind.REFERENCE_ELSEWHERE: (
        "references lead to another server",
        "ask for relative references, or set BaseUrl to the base the server calls its own",
    ),
    ProblemKind.BASE_ELSEWHERE: (
        "links in the answer name another base than BaseUrl",
        "set BaseUrl to the base the server calls its own, or have the server told its public address",
    ),
    ProblemKind.PAGE_ELSEWHERE: (
        "the link to the next page leads to another server",
        "have the server told its public address, so that its links stay on BaseUrl's host",
    ),
    ProblemKind.COUNT_IGNORED: ("_count does not limit the entries", "ask the server's owner to honour _count"),
    ProblemKind.PAGES_END_EARLY: (
        "the pages end before all entries came",
        "ask the server's owner why a page lacks its link to the next",
    ),
    ProblemKind.NO_PAGES: (
        "no search of the test patient has two entries, so no further page was seen",
        "name a patient with a longer chart",
    ),
    ProblemKind.BATCH_UNSUPPORTED: (
        "the app asks by batch, and that fails: {detail}",
        "set Batch=split in the row: the gateway then takes batches apart",
    ),
}
