"""What an app that signs in with its own key has to be told, and what stands in an assertion that it made."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from shared.directory.client import Client
from shared.directory.client_keys import ALGORITHMS, ClientKey
from shared.oauth.client_assertion import MAX_SECONDS, audiences
from shared.oauth.client_authentication import JWT_BEARER
from shared.settings import Settings

_MAX_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class AssertionSetting:
    """A member of an assertion, as the gateway wants it: `values` are the ones to choose from, `text` tells of others.

    `claim` is its name in the header or among the claims.
    """

    claim: str
    values: Sequence[str]
    text: str = ""


@dataclass(frozen=True, slots=True)
class AssertionSettings:
    """What to configure for `private_key_jwt` (RFC 7523, SMART Backend Services)."""

    issuer: str
    token_url: str
    assertion_type: str
    members: Sequence[AssertionSetting]


def assertion_settings(settings: Settings, client: Client, keys: Sequence[ClientKey]) -> AssertionSettings:
    """The settings for a client with these keys."""
    token_url, issuer = audiences(settings.public_base_url)
    good = {name for key in keys for name in key.algorithms}
    return AssertionSettings(
        issuer,
        token_url,
        JWT_BEARER,
        (
            AssertionSetting("alg", [name for name in ALGORITHMS if not good or name in good], "by the kind of key"),
            AssertionSetting("kid", [key.kid for key in keys], "the key that signed it"),
            AssertionSetting("iss", [client.id]),
            AssertionSetting("sub", [client.id]),
            AssertionSetting("aud", [token_url, issuer], "one of them alone"),
            AssertionSetting("exp", (), f"at most {MAX_SECONDS // 60} minutes from now"),
            AssertionSetting("jti", (), "another one each time, such as a UUID"),
        ),
    )


def members_of(assertion: str) -> Mapping[str, str]:
    """What stands in an assertion by the members' names, its times as seconds from now; {} for what can't be read."""
    try:
        header = jwt.get_unverified_header(assertion)
        claims = jwt.decode(assertion, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        return {}
    named = {name: header.get(name) for name in ("alg", "kid")}
    named |= {name: claims.get(name) for name in ("iss", "sub", "aud", "exp", "jti")}
    return {name: _text(name, value)[:_MAX_CHARACTERS] for name, value in named.items() if value is not None}


def _text(name: str, value: Any) -> str:
    if name == "exp" and isinstance(value, int | float) and abs(value) < 10**12:
        seconds = round(value - time.time())
        return f"{seconds} seconds from now" if seconds >= 0 else f"{-seconds} seconds ago"
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) else repr(value)
