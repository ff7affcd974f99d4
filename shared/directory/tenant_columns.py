"""The columns of the table `Tenants` as people meet them: in the portal, on the command line, in CSV files and docs."""

from msgspec import Struct

TABLE = "Tenants"
KEY_COLUMNS = ("PartitionKey", "RowKey")
DEFAULT_MAX_CONCURRENT = 512
MUTUAL_TLS = "mtls"
"""The value of `Auth` for a client certificate alone; every other is one of `AuthKind`."""


class Column(Struct, frozen=True):
    """One column, and what it tells a person who fills it in.

    `type` says in a word or two what text it takes, such as `example`. A column with `choices` takes one of these
    instead: values with what each means, the first being the default.
    """

    name: str
    label: str
    type: str
    example: str
    help: str
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def default(self) -> str:
        """The choice that an empty column stands for; "" for a column of text."""
        return self.choices[0][0] if self.choices else ""

    @property
    def takes(self) -> str:
        """Its values, or its type: `read, write` or `comma list`."""
        return ", ".join(value for value, _ in self.choices if value) or self.type

    @property
    def options(self) -> tuple[tuple[str, str], ...]:
        """The choices of a form, in which "" stands for the default."""
        return tuple(("" if value == self.default else value, meaning) for value, meaning in self.choices)

    def meaning(self, text: str) -> str:
        """The meaning of one of the options; a text that is none of them as it is."""
        return dict(self.options).get(text, text)


class ColumnGroup(Struct, frozen=True):
    """Columns that belong together."""

    title: str
    help: str
    columns: tuple[Column, ...]


# fmt: off
_OAUTH = "AuthTokenUrl AuthClientId AuthSecret"
_AUTH = (
    ("none", "None: an open server", "", "AuthCertificate"),
    ("basic", "HTTP Basic: secret", "AuthSecret", "AuthClientId AuthCertificate"),
    ("header", "A fixed header: header name, secret", "AuthHeader AuthSecret", "AuthCertificate"),
    ("client_secret_post", "OAuth, secret in body: token URL, client ID, secret", _OAUTH, "AuthScope AuthCertificate"),
    ("client_secret_basic", "OAuth, Basic: token URL, client ID, secret", _OAUTH, "AuthScope AuthCertificate"),
    ("entra", "Entra client credentials: client ID, secret", "AuthClientId AuthSecret",
     "AuthTokenUrl AuthScope AuthCertificate"),
    ("managed_identity", "Managed identity: nothing more", "", "AuthClientId AuthScope AuthCertificate"),
    ("private_key_jwt", "OAuth, signed assertion: token URL, client ID, secret", _OAUTH,
     "AuthScope AuthKeyId AuthCertificate"),
    ("redox_legacy", "Redox, legacy API key: token URL, client ID, secret", _OAUTH, "AuthCertificate"),
    (MUTUAL_TLS, "Client certificate alone: secret", "AuthSecret", ""),
)
AUTH_COLUMNS = {kind: (frozenset(needs.split()), frozenset(may_have.split())) for kind, _, needs, may_have in _AUTH}
"""The `Auth*` columns that each value of `Auth` needs, and those that it may have besides."""

_SERVER = (
    Column(
        "BaseUrl", "FHIR base URL", "URL", "https://fhir.example.com/stu3",
        "The address below which the server has its /metadata, without that and without a query.",
    ),
    Column("Name", "Name", "text", "Riverside Hospital", "What people call the hospital."),
    Column(
        "Enabled", "Served", "", "false", "Whether the gateway serves this row.",
        (("true", "On"), ("false", "Off: requests are refused")),
    ),
    Column(
        "PageOrigins", "Origins of further pages", "comma list", "https://pages.example.com",
        "Where next pages may come from besides the base URL's own origin. They get the credential too.",
    ),
)
_WAY_IN = (
    Column(
        "Auth", "Kind of authentication", "", "private_key_jwt",
        "How the gateway authenticates. It decides which Auth* columns are needed and allowed.",
        tuple((kind, meaning) for kind, meaning, _, _ in _AUTH),
    ),
    Column(
        "AuthTokenUrl", "Token URL", "URL", "https://auth.example.com/token",
        "Where access tokens come from. With private_key_jwt also the assertion's audience, as the provider spells it.",
    ),
    Column(
        "AuthClientId", "Client ID", "text", "gateway",
        "The gateway's client ID, user name or API key there. With managed_identity the user-assigned identity's.",
    ),
    Column(
        "AuthScope", "Scope", "text", "system/Patient.read",
        "The scope to ask for, as it stands. With managed_identity one only, the server's own audience, since "
        "that identity also opens the gateway's stores.",
    ),
    Column("AuthHeader", "Header name", "name", "X-Api-Key", "With header: the header whose value is the secret."),
    Column(
        "AuthSecret", "Secret's name", "Key Vault name", "riverside-fhir",
        "The Key Vault secret with the credential (with mtls: the certificate), never the credential itself.",
    ),
    Column("AuthKeyId", "Key ID", "text", "2027-01", "With private_key_jwt: the kid the provider knows the key by."),
    Column(
        "AuthCertificate", "Certificate's name", "Key Vault name", "riverside-tls",
        "For mutual TLS beside any kind but mtls: the Key Vault secret with a client certificate and its key (PEM).",
    ),
    Column(
        "ExtraHeaders", "Extra headers", "JSON object", '{"Redox-Source-Id": "1"}',
        "Headers of every FHIR request. Never credentials: the table is no vault.",
    ),
)
_LET_THROUGH = (
    Column(
        "Access", "Access", "", "write", "Whether the app may change anything.",
        (("read", "Reads and searches"), ("write", "Changes too")),
    ),
    Column(
        "Types", "Resource types", "comma list", "Patient,Observation",
        "The resource types let through, on the way up and down. Empty for those of the app's interface.",
    ),
    Column(
        "Operations", "Operations", "comma list", "Patient/$everything,Observation/$lastn",
        "The operations let through, by GET or POST, on the type or a resource of it: only such as read. Their "
        "responses are checked like any other.",
    ),
    Column(
        "Batch", "Batches", "", "split",
        "Whether the server does batches itself, or the gateway takes them apart, at most eight requests at a time.",
        (("native", "The server itself"), ("split", "The gateway takes them apart")),
    ),
    Column(
        "Search", "Searches", "", "post",
        "Whether searches go up as the app sends them, or those by GET as POST [type]/_search (outside batches "
        "that the server does itself).",
        (("get", "As the app sends them"), ("post", "By POST, for servers without GET")),
    ),
    Column(
        "Total", "Totals", "", "accurate",
        "Has every search that says nothing of it ask for _total=accurate, for servers that count only then.",
        (("", "As the app asks"), ("accurate", "Ask with every search (_total=accurate)")),
    ),
)
_LIMITS = (
    Column(
        "TimeoutSeconds", "Timeout in seconds", "0.1 to 220", "12.5",
        "How long a request may take, retries included. Empty for the deployment's own.",
    ),
    Column(
        "MaxConcurrent", "Requests at once", "1 to 10000", "64",
        f"Requests in flight at a time on each instance. Empty for {DEFAULT_MAX_CONCURRENT}.",
    ),
)
# fmt: on
COLUMN_GROUPS = (
    ColumnGroup("The server", "Whose FHIR server it is and where.", _SERVER),
    ColumnGroup(
        "How the gateway gets in",
        "Credentials stand in Key Vault. The row only names them; their values are set on the hospital's page.",
        _WAY_IN,
    ),
    ColumnGroup(
        "What is let through",
        "By default what the Patients app needs: reads and searches of its resource types.",
        _LET_THROUGH,
    ),
    ColumnGroup("Limits", "They keep a slow provider from hurting others.", _LIMITS),
)
ALL_COLUMNS = tuple(column for group in COLUMN_GROUPS for column in group.columns)
COLUMNS = tuple(column.name for column in ALL_COLUMNS)
