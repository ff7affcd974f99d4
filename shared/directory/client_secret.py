"""Client secrets: made here with 256 random bits, so that a plain SHA-256 is all that need be stored.

A secret reads `<secret_id>.<43 characters of base64url>`: its id leads to the one Key Vault secret with its hash.
"""

import hashlib
import hmac
import secrets
import string
from collections.abc import Mapping

ALGORITHM_TAG = {"algorithm": "sha256"}
_ID_ALPHABET = string.ascii_lowercase + string.digits
_ID_LENGTH = 10
_HINT_LENGTH = 4


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
