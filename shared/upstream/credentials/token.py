"""An access token as a token endpoint issues it (RFC 6749, section 5.1)."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.upstream.credentials.errors import CredentialError

DEFAULT_LIFETIME = 300.0
"""Seconds that a token is taken to live when nobody says (RFC 6749 only recommends `expires_in`)."""

_VISIBLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """`lifetime` is in seconds from when the token was asked for; one that is not positive lets it be used once."""

    value: str = field(repr=False)
    lifetime: float


def parse_token(answer: Mapping[str, object]) -> IssuedToken:
    """The token in a successful answer; raises CredentialError when there is none that a bearer can use.

    A missing `token_type` is let pass, as providers forget it; `expires_in` may be a number or a number in a string.
    """
    kind = answer.get("token_type", "bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise CredentialError("token endpoint answered with a token that is not a bearer token")
    return IssuedToken(token_value(answer.get("access_token")), _lifetime(answer.get("expires_in")))


def token_value(value: object) -> str:
    """`value` if it is a token that an Authorization header can carry; raises CredentialError otherwise."""
    if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
        raise CredentialError("token endpoint answered without a usable access token")
    return value


def _lifetime(expires_in: object) -> float:
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float | str):
        return DEFAULT_LIFETIME
    try:
        seconds = float(expires_in)
    except (ValueError, OverflowError):
        return DEFAULT_LIFETIME
    return max(seconds, 0.0) if math.isfinite(seconds) else DEFAULT_LIFETIME
