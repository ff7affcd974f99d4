"""A client: the application that asks for tokens, with the secrets it may use and the tenants it may reach.

A secret reads `<secret_id>.<43 characters of base64url>`: its id leads to the one Key Vault secret with its hash. It
has 256 random bits, so that a plain SHA-256 is all that need be stored.
"""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from shared.directory.client_keys import ClientKey, InvalidKeySet, parse_key_set
from shared.directory.errors import RowError
from shared.directory.typed_text import canonical, column_text, flag, parse_tenant_id, unknown_column
from shared.stores.tables import CLIENTS, Row
from shared.stores.vault import SecretVersion

CLIENT_ROW = "client"
SECRET_ROW_PREFIX = "secret-"
REQUEST_ROW_PREFIX = "request-"
_KEY_COLUMNS = frozenset({"PartitionKey", "RowKey", "Timestamp"})
CLIENT_COLUMNS = _KEY_COLUMNS | {"Name", "Owner", "OwnerId", "Tenants", "Enabled", "Jwks", "JwksUrl"}
_SECRET_COLUMNS = _KEY_COLUMNS | {"Created", "Expires", "Hint", "Label"}

# Both stand in the name of a Key Vault secret, `client-<client_id>-<secret_id>`. A secret_id has no hyphen, so that
# no two pairs make the same name; capitals are out because Key Vault does not tell them apart.
CLIENT_ID = re.compile(r"[0-9a-z]([0-9a-z-]{0,62}[0-9a-z])?")
SECRET_ID = re.compile(r"[0-9a-z]{1,32}")
CLIENT_SECRET = re.compile(rf"{SECRET_ID.pattern}\.[\w-]{{43}}", re.ASCII)
ALGORITHM_TAG = {"algorithm": "sha256"}
EXPIRES_SOON = timedelta(days=30)
"""People are told of what expires within this time."""
_ID_ALPHABET = string.ascii_lowercase + string.digits
_ID_LENGTH = 10
_HINT_LENGTH = 4


class ClientSecret(Struct, frozen=True):
    """What may be known of a secret: never its value, never its hash. Times are UTC; `label` is its owner's word."""

    id: str
    created: datetime | None
    expires: datetime | None
    hint: str
    label: str = ""

    def is_live(self, now: datetime) -> bool:
        """Whether the table does not call the secret expired: all that can be known of it without Key Vault."""
        return self.expires is None or now < self.expires

    def expires_with(self, stored: SecretVersion) -> datetime | None:
        """When the secret ends, by its row or by Key Vault, which has its hash; None for never."""
        return min((time for time in (self.expires, stored.expires) if time is not None), default=None)

    def authenticates(self, stored: SecretVersion, now: datetime) -> bool:
        """Whether the secret is good: Key Vault has its hash enabled, and neither the hash nor the row is expired."""
        return self.is_live(now) and stored.usable(now)


class Client(Struct, frozen=True):
    """One client of the table `Clients`. `tenants` is None when it may reach all of them.

    `owner` is the name people know the owner by. `owner_id` is Entra's `<tenant>/<object>` of that person, which never
    passes to another; "" until the owner, found by user name, comes to the portal. `keys` are those of its registered
    key set; `jwks_url` is where it publishes one instead.
    """

    id: str
    name: str
    owner: str
    owner_id: str
    tenants: frozenset[str] | None
    enabled: bool
    secrets: tuple[ClientSecret, ...]
    keys: tuple[ClientKey, ...] = ()
    jwks_url: str = ""

    @property
    def has_keys(self) -> bool:
        """Whether it may prove itself by a key of its own."""
        return bool(self.keys or self.jwks_url)

    @property
    def only_tenant(self) -> str | None:
        """The tenant of a client that may reach one alone."""
        return next(iter(self.tenants)) if self.tenants is not None and len(self.tenants) == 1 else None

    def may_reach(self, tenant: str) -> bool:
        """Whether the client may ask for tokens for this tenant."""
        return self.tenants is None or tenant in self.tenants

    @property
    def live_secrets(self) -> tuple[ClientSecret, ...]:
        """The secrets that the table does not call expired."""
        now = datetime.now(UTC)
        return tuple(secret for secret in self.secrets if secret.is_live(now))

    def live_secret(self, secret_id: str) -> ClientSecret | None:
        """The one of `live_secrets` with this id."""
        now = datetime.now(UTC)
        return next((each for each in self.secrets if each.id == secret_id and each.is_live(now)), None)


def new_client_secret() -> str:
    """A new secret; whoever asked for it is the only one who ever sees it."""
    secret_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
    return f"{secret_id}.{secrets.token_urlsafe(32)}"


def secret_id_of(client_secret: str) -> str:
    """The part before the dot; "" when there is no dot."""
    secret_id, dot, _ = client_secret.partition(".")
    return secret_id if dot else ""


def hint_of(client_secret: str) -> str:
    """The last characters, by which a person tells secrets apart."""
    return client_secret[-_HINT_LENGTH:]


def hash_of(client_secret: str) -> str:
    """What is stored: the hex SHA-256 of the whole secret."""
    return hashlib.sha256(client_secret.encode()).hexdigest()


def matches(client_secret: str, stored: str, tags: Mapping[str, str]) -> bool:
    """Whether the secret has the stored hash, in constant time; never for a hash of another algorithm."""
    return tags.get("algorithm") == ALGORITHM_TAG["algorithm"] and hmac.compare_digest(
        hash_of(client_secret).encode(), stored.encode()
    )


def vault_name(client_id: str, secret_id: str) -> str:
    """The name of the Key Vault secret that holds the hash."""
    return f"client-{client_id}-{secret_id}"


def parse_client(rows: Iterable[Row]) -> Client | None:
    """The client that the rows of one partition describe; None without a row `client`.

    Other rows, such as a request for access, are passed over. Raises RowError for a column or value that can't be
    understood, since it could be the one that should have switched something off: such a client gets no token.
    """
    secrets: list[ClientSecret] = []
    client: Row | None = None
    for row in rows:
        row_key = str(row["RowKey"])
        if row_key == CLIENT_ROW:
            client = row
        elif row_key.startswith(SECRET_ROW_PREFIX):
            secrets.append(_secret(row, row_key.removeprefix(SECRET_ROW_PREFIX)))
    if client is None:
        return None
    client = canonical(client, CLIENT_COLUMNS)
    _refuse_unknown(client, CLIENT_COLUMNS)
    return Client(
        id=str(client["PartitionKey"]),
        name=column_text(client.get("Name")),
        owner=column_text(client.get("Owner")),
        owner_id=column_text(client.get("OwnerId")),
        tenants=_tenants(client),
        enabled=_enabled(client),
        secrets=tuple(secrets),
        keys=_keys(client),
        jwks_url=_jwks_url(client),
    )


def _secret(row: Row, secret_id: str) -> ClientSecret:
    row = canonical(row, _SECRET_COLUMNS)
    _refuse_unknown(row, _SECRET_COLUMNS)
    hint, label = column_text(row.get("Hint")), column_text(row.get("Label"))
    return ClientSecret(secret_id, _time(row, "Created"), _time(row, "Expires"), hint, label)


def _error(row: Row, column: str, problem: str) -> RowError:
    return RowError(CLIENTS, (str(row["PartitionKey"]), str(row["RowKey"])), (column, problem))


def _refuse_unknown(row: Row, columns: frozenset[str]) -> None:
    for column in row:
        if problem := unknown_column(column, columns):
            raise _error(row, column, problem)


def _time(row: Row, column: str) -> datetime | None:
    value = row.get(column)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise _error(row, column, "is not a date and time") from None
    if not isinstance(value, datetime):
        raise _error(row, column, "is not a date and time")
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _tenants(row: Row) -> frozenset[str] | None:
    text = column_text(row.get("Tenants"))
    if text == "*":
        return None
    tenants = [parse_tenant_id(item) for item in text.split(",") if item.strip()]
    if None in tenants:
        raise _error(row, "Tenants", "must be * or a comma list of tenant GUIDs")
    return frozenset(tenant for tenant in tenants if tenant is not None)


def _keys(row: Row) -> tuple[ClientKey, ...]:
    text = column_text(row.get("Jwks"))
    try:
        return parse_key_set(text) if text else ()
    except InvalidKeySet as error:
        raise _error(row, "Jwks", str(error)) from None


def _jwks_url(row: Row) -> str:
    url = column_text(row.get("JwksUrl"))
    if url and column_text(row.get("Jwks")):
        raise _error(row, "JwksUrl", "can't stand beside Jwks: keep one")
    return url


def _enabled(row: Row) -> bool:
    found = flag(column_text(row.get("Enabled", True)))
    if found is None:
        raise _error(row, "Enabled", "must be true or false")
    return found
