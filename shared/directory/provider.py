"""A provider: the FHIR server of one tenant for one FHIR version, and how the gateway is to treat it."""

import hashlib
from collections.abc import Sequence
from enum import Enum

from msgspec import Struct, structs

from shared.fhir.versions import FhirVersion


class AuthKind(Enum):
    """How the gateway authenticates to a provider; the values stand in the column `Auth`."""

    NONE = "none"
    BASIC = "basic"
    HEADER = "header"
    CLIENT_SECRET_POST = "client_secret_post"
    CLIENT_SECRET_BASIC = "client_secret_basic"
    ENTRA = "entra"
    MANAGED_IDENTITY = "managed_identity"
    PRIVATE_KEY_JWT = "private_key_jwt"
    REDOX_LEGACY = "redox_legacy"


class BatchMode(Enum):
    """Whether the provider does batches itself, or the gateway takes them apart for it."""

    NATIVE = "native"
    SPLIT = "split"


class SearchMethod(Enum):
    """Whether searches go up as they come, or those by GET as `POST [type]/_search`."""

    GET = "get"
    POST = "post"


class Access(Enum):
    """What the tenant's row lets through: reads and searches, or changes too."""

    READ = "read"
    WRITE = "write"


class ProviderAuth(Struct, frozen=True):
    """The `Auth*` columns of a row. Secrets are names of Key Vault secrets, never values.

    `certificate` names the secret that holds a client certificate and its key (PEM) for mutual TLS, which may stand
    beside any kind. `scope` is what the token request asks for; `header` is the header's name for `AuthKind.HEADER`.
    """

    kind: AuthKind = AuthKind.NONE
    token_url: str | None = None
    client_id: str | None = None
    scope: str | None = None
    header: str | None = None
    secret: str | None = None
    key_id: str | None = None
    certificate: str | None = None

    @property
    def secrets(self) -> Sequence[str]:
        """The names of the Key Vault secrets that the row gives, each once."""
        return list(dict.fromkeys(filter(None, (self.secret, self.certificate))))


class Provider(Struct, frozen=True):
    """One usable row of the table `Tenants`.

    `base_url` has no trailing slash; `timeout_seconds` bounds a whole request, retries included, and is None where
    the deployment's default holds; `max_concurrent` is the number of requests in flight on one instance.
    `accurate_total` says that searches which do not say so themselves ask for `_total=accurate`. `operations` are those
    that may be called, as `Patient/$everything`, on the type or a resource of it. `page_origins` are the origins that
    further pages may come from besides that of `base_url`, each `https://host` or with a port that is not 443.
    """

    tenant: str
    version: FhirVersion
    base_url: str
    name: str
    enabled: bool
    auth: ProviderAuth
    extra_headers: tuple[tuple[str, str], ...]
    batch: BatchMode
    access: Access
    types: frozenset[str]
    timeout_seconds: float | None
    max_concurrent: int
    search: SearchMethod = SearchMethod.GET
    accurate_total: bool = False
    operations: frozenset[str] = frozenset()
    page_origins: tuple[str, ...] = ()
    binding: str = ""
    """What is kept for this provider is good for: the same for the same `BaseUrl` and way of authenticating.

    `ExtraHeaders` count as that too: there are servers that tell their customers apart by one.
    """

    @property
    def key(self) -> tuple[str, FhirVersion, str]:
        """By which is kept what is of this row, as long as its `binding` stays."""
        return self.tenant, self.version, self.binding

    def __post_init__(self) -> None:
        bound = hashlib.sha256(repr((self.base_url, self.auth, self.extra_headers)).encode()).hexdigest()[:32]
        structs.force_setattr(self, "binding", bound)
