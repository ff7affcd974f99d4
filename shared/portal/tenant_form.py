"""The form of a tenant's row: a field for each column of the table, and what it tells the person who fills it in."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.directory.columns import column_text
from shared.directory.provider import Access, AuthKind, BatchMode, SearchMethod
from shared.directory.tenant_row import COLUMNS
from shared.stores.tables import Row


@dataclass(frozen=True, slots=True)
class Field:
    """One column. `choices` are values with what each means, the default ("") first; without any it takes text."""

    column: str
    label: str
    help: str
    example: str = ""
    choices: tuple[tuple[str, str], ...] = ()

    def meaning(self, text: str) -> str:
        """What a choice means; a text that is none of them as it is."""
        return dict(self.choices).get(text, text)


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """Fields that belong together."""

    title: str
    help: str
    fields: tuple[Field, ...]


_DEFAULTS = {
    "Enabled": "true",
    "Auth": AuthKind.NONE.value,
    "Access": Access.READ.value,
    "Batch": BatchMode.NATIVE.value,
    "Search": SearchMethod.GET.value,
}


FIELD_GROUPS = (
    FieldGroup(
        "The server",
        "Whose FHIR server it is and where.",
        (
            Field("Name", "Name", "What people call the hospital.", "Riverside General Hospital"),
            Field(
                "BaseUrl",
                "FHIR base URL",
                "The address below which the server has its /metadata, without that.",
                "https://fhir.example.com/stu3",
            ),
            Field(
                "PageOrigins",
                "Origins of further pages",
                "Where next pages may come from besides the server's own origin, separated by commas. They get the "
                "credential too.",
                "https://pages.example.com",
            ),
            Field(
                "Enabled",
                "Served",
                "Whether the gateway serves this tenant.",
                choices=(("", "On"), ("false", "Off: requests are refused")),
            ),
        ),
    ),
    FieldGroup(
        "How the gateway gets in",
        "Credentials stand in Key Vault. The row only names them; their values are set on the tenant's page.",
        (
            Field(
                "Auth",
                "Kind of authentication",
                "What the provider asks of the gateway; which of the fields below are needed depends on it.",
                choices=(
                    ("", "None: an open server"),
                    (AuthKind.BASIC.value, "HTTP Basic: secret"),
                    (AuthKind.HEADER.value, "A fixed header: header name, secret"),
                    (AuthKind.CLIENT_SECRET_POST.value, "OAuth, secret in the body: token URL, client ID, secret"),
                    (AuthKind.CLIENT_SECRET_BASIC.value, "OAuth, secret by Basic: token URL, client ID, secret"),
                    (AuthKind.ENTRA.value, "Entra client credentials: client ID, secret"),
                    (AuthKind.MANAGED_IDENTITY.value, "Managed identity: nothing more"),
                    (AuthKind.PRIVATE_KEY_JWT.value, "OAuth, signed assertion: token URL, client ID, secret"),
                    (AuthKind.REDOX_LEGACY.value, "Redox, legacy API key: token URL, client ID, secret"),
                    ("mtls", "Client certificate alone: secret"),
                ),
            ),
            Field(
                "AuthTokenUrl",
                "Token URL",
                "Where access tokens come from.",
                "https://auth.example.com/oauth2/token",
            ),
            Field("AuthClientId", "Client ID", "The gateway's client ID, user name or API key there.", "gateway"),
            Field("AuthScope", "Scope", "The scope to ask for with a token.", "system/*.read"),
            Field("AuthHeader", "Header name", "For a fixed header.", "Ocp-Apim-Subscription-Key"),
            Field(
                "AuthSecret",
                "Secret's name",
                "The name of the Key Vault secret with the credential, never the credential itself.",
                "riverside-fhir",
            ),
            Field("AuthKeyId", "Key ID", "For a signed assertion: the kid the provider knows the key by.", "2026-01"),
            Field(
                "AuthCertificate",
                "Certificate's name",
                "For mutual TLS beside another kind: the Key Vault secret with certificate and key (PEM).",
                "riverside-certificate",
            ),
            Field(
                "ExtraHeaders",
                "Extra headers",
                "A JSON object of headers that every request carries; never credentials.",
                '{"Redox-Source-Id": "..."}',
            ),
        ),
    ),
    FieldGroup(
        "What is let through",
        "By default what the Patients app needs: reads and searches of its resource types.",
        (
            Field(
                "Access",
                "Access",
                "Whether the app may change anything.",
                choices=(("", "Reads and searches"), (Access.WRITE.value, "Changes too")),
            ),
            Field(
                "Types",
                "Resource types",
                "Separated by commas; empty for those of the app's interface.",
                "Patient,Observation,Encounter",
            ),
            Field(
                "Operations",
                "Operations",
                "Those that may be called, separated by commas: only ones that read.",
                "Patient/$everything,Observation/$lastn",
            ),
            Field(
                "Batch",
                "Batches",
                "Who does them.",
                choices=(("", "The server itself"), (BatchMode.SPLIT.value, "The gateway takes them apart")),
            ),
            Field(
                "Search",
                "Searches",
                "How they are sent.",
                choices=(("", "As the app sends them"), (SearchMethod.POST.value, "By POST, for servers without GET")),
            ),
            Field(
                "Total",
                "Totals",
                "Whether the server must be asked to count what a search finds.",
                choices=(("", "As the app asks"), ("accurate", "Ask with every search (_total=accurate)")),
            ),
        ),
    ),
    FieldGroup(
        "Limits",
        "They keep a slow provider from hurting others.",
        (
            Field(
                "TimeoutSeconds",
                "Timeout in seconds",
                "How long a request may take; empty for the deployment's own.",
                "12.5",
            ),
            Field("MaxConcurrent", "Requests at once", "How many may be under way on an instance.", "64"),
        ),
    ),
)


def column_texts(row: Row) -> Mapping[str, str]:
    """Every column of a row as its field has it: "" for one that is not there, or says what holds without it."""
    return {column: _field_text(column, column_text(row.get(column))) for column in COLUMNS}


def _field_text(column: str, text: str) -> str:
    if column not in _DEFAULTS:
        return text
    choice = text.strip().lower()
    return "" if choice == _DEFAULTS[column] else choice
