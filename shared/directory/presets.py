"""Products that hospitals have, each with the row that the gateway needs for it, as its page in docs/providers says."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.directory.provider import AuthKind, ProviderAuth
from shared.directory.tenant_columns import ALL_COLUMNS, AUTH_COLUMNS, MUTUAL_TLS, Column


@dataclass(frozen=True, slots=True)
class Preset:
    """A product, and one way to authenticate to it.

    `page` is the product's in docs/providers. `row` are the columns of its row: a `<...>` in a value stands for what
    only the hospital or the person who adds it knows.
    """

    id: str
    product: str
    way: str
    page: str
    row: Mapping[str, str]

    @property
    def asked(self) -> Sequence[Column]:
        """The columns to ask for, besides the keys, the name, and the secret."""
        names = {name for name, value in self.row.items() if name.startswith(("Auth", "BaseUrl")) or "<" in value}
        return [column for column in ALL_COLUMNS if column.name in names - {"Auth", "AuthSecret"}]

    @property
    def given(self) -> Mapping[str, str]:
        """The columns that are not asked for, with their values."""
        asked = {"RowKey", "AuthSecret", *(column.name for column in self.asked)}
        return {name: value for name, value in self.row.items() if name not in asked}

    @property
    def needs_secret(self) -> bool:
        """Whether the row names a credential in Key Vault."""
        return "AuthSecret" in self.row

    def needs(self, column: str) -> bool:
        """Whether a column that is asked for may not stay empty."""
        return column == "BaseUrl" or column in AUTH_COLUMNS[self.row["Auth"]][0]

    def example(self, column: str) -> str:
        """An example that tells more than the column's name; "" where there is none, or the value is known."""
        value = self.row[column]
        return value if "<" in value and not re.fullmatch("<[^>]*>", value) else ""

    def filled_in(self, column: str) -> str:
        """A column's value where it is known; "" where it is not."""
        return "" if "<" in (value := self.row.get(column, "")) else value

    def auth(self, secret: str, client_id: str) -> ProviderAuth:
        """The way of authenticating with a secret's name and a client ID, as far as the credential's form needs it."""
        if self.row["Auth"] == MUTUAL_TLS:
            return ProviderAuth(certificate=secret)
        return ProviderAuth(AuthKind(self.row["Auth"]), client_id=client_id or None, secret=secret)


def preset(id: str) -> Preset | None:
    """The preset of this id."""
    return next((preset for preset in PRESETS if preset.id == id), None)


def _preset(id: str, product: str, way: str, page: str, version: str, url: str, auth: str, **columns: str) -> Preset:
    secret = {"AuthSecret": "<secret-name>"} if "AuthSecret" in AUTH_COLUMNS[auth][0] else {}
    return Preset(id, product, way, page, {"RowKey": version, "BaseUrl": url, "Auth": auth, **columns, **secret})


_AZURE = "https://<workspace>-<fhir-service>.fhir.azurehealthcareapis.com"
_EPIC, _EPIC_SANDBOX = "https://<epic-host>/<instance>", "https://fhir.epic.com/interconnect-fhir-oauth"
_ORACLE = "https://fhir-ehr.cerner.com/r4/<cerner-tenant>"
_ORACLE_TOKENS = (
    "https://authorization.cerner.com/tenants/<cerner-tenant>/hosts/fhir-ehr.cerner.com"
    "/protocols/oauth2/profiles/smart-v1/token"
)
_TYPES = [
    "Patient",
    "Observation",
    "Condition",
    "Encounter",
    "AllergyIntolerance",
    "MedicationRequest",
    "Coverage",
    "Location",
]
_HOST, _TOKENS = "https://<fhir-host>/<path>", "https://<auth-host>/<token-path>"
_CLIENT = {"AuthTokenUrl": _TOKENS, "AuthClientId": "<client-id>"}
_KEY = "A key of ours (SMART Backend Services)"
_SECRET = "A client secret"
_OTHER = "Another product"
# fmt: off
PRESETS = (
    _preset("microsoft", "Microsoft", "An app registration's secret", "microsoft.md",
            "r4", _AZURE, "entra", AuthClientId="<application-id>"),
    _preset("microsoft-audience", "Microsoft", "An app registration's secret, with an audience of the server's own",
            "microsoft.md", "stu3", "https://<fhir-host>", "entra",
            AuthTokenUrl="https://login.microsoftonline.com/<entra-tenant>/oauth2/v2.0/token",
            AuthClientId="<application-id>", AuthScope="<audience>/.default"),
    _preset("microsoft-identity", "Microsoft", "The gateway's managed identity", "microsoft.md",
            "r4", _AZURE, "managed_identity", AuthClientId="<identity-client-id>"),
    _preset("epic", "Epic", _KEY, "epic.md", "r4", f"{_EPIC}/api/FHIR/R4", "private_key_jwt",
            AuthTokenUrl=f"{_EPIC}/oauth2/token", AuthClientId="<production-client-id>", AuthKeyId="<kid>",
            Batch="split"),
    _preset("epic-sandbox", "Epic", "Epic's sandbox", "epic.md",
            "r4", f"{_EPIC_SANDBOX}/api/FHIR/R4", "private_key_jwt", AuthTokenUrl=f"{_EPIC_SANDBOX}/oauth2/token",
            AuthClientId="<non-production-client-id>", AuthKeyId="<kid>", Batch="split"),
    _preset("oracle-health", "Oracle Health (Cerner)", _SECRET, "oracle-health.md",
            "r4", _ORACLE, "client_secret_basic", AuthTokenUrl=_ORACLE_TOKENS, AuthClientId="<client-id>",
            AuthScope=" ".join(f"system/{type}.read" for type in _TYPES)),
    _preset("oracle-health-key", "Oracle Health (Cerner)", _KEY, "oracle-health.md",
            "r4", _ORACLE, "private_key_jwt", AuthTokenUrl=_ORACLE_TOKENS, AuthClientId="<client-id>",
            AuthScope="system/Patient.read system/Observation.read", AuthKeyId="<kid>"),
    _preset("oracle-health-sandbox", "Oracle Health (Cerner)", "Its open sandbox", "oracle-health.md",
            "r4", "https://fhir-open.cerner.com/r4/ec2458f2-1e24-41c8-b71b-0e701af7583d", "none"),
    _preset("redox", "Redox", _KEY, "redox.md",
            "r4", "https://api.redoxengine.com/fhir/R4/<destination-slug>/Production", "private_key_jwt",
            AuthTokenUrl="https://api.redoxengine.com/v2/auth/token", AuthClientId="<client-id>", AuthKeyId="<kid>",
            ExtraHeaders='{"Redox-Source-Id": "<source-id>"}', Batch="split"),
    _preset("redox-legacy", "Redox", "A legacy API key", "redox.md", "stu3", _HOST, "redox_legacy",
            AuthTokenUrl="https://api.redoxengine.com/auth/authenticate", AuthClientId="<api-key>", Batch="split"),
    *(_preset(id, product, _SECRET, f"{id}.md", "stu3", _HOST, "client_secret_basic", **_CLIENT, Batch="split")
      for id, product in (("cloverleaf", "Infor Cloverleaf"), ("corolar", "Dapasoft Corolar"), ("datica", "Datica"))),
    _preset("hspc", "Meld (HSPC / Logica sandbox)", "Open", "hspc.md",
            "stu3", "https://gw.interop.community/<sandbox>/open", "none"),
    _preset("hspc-smart", "Meld (HSPC / Logica sandbox)", _SECRET, "hspc.md",
            "stu3", "https://gw.interop.community/<sandbox>/data", "client_secret_basic",
            AuthTokenUrl="https://<sandbox-auth-host>/token", AuthClientId="<client-id>", AuthScope="system/*.read"),
    _preset("open", _OTHER, "An open server, such as HAPI", "ways.md", "stu3", _HOST, "none"),
    _preset("client-secret-basic", _OTHER, "A client secret, in a Basic header", "ways.md",
            "stu3", _HOST, "client_secret_basic", **_CLIENT, AuthScope="<scope>"),
    _preset("client-secret-post", _OTHER, "A client secret, in the body", "ways.md",
            "stu3", _HOST, "client_secret_post", **_CLIENT, AuthScope="<scope>"),
    _preset("password", _OTHER, "User and password (HTTP Basic)", "ways.md",
            "stu3", _HOST, "basic", AuthClientId="<user>"),
    _preset("header", _OTHER, "A header with a fixed value", "ways.md",
            "stu3", _HOST, "header", AuthHeader="Ocp-Apim-Subscription-Key"),
    _preset("certificate", _OTHER, "A client certificate (mutual TLS)", "ways.md", "stu3", _HOST, "mtls"),
)
# fmt: on
