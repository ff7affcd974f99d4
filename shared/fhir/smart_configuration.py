"""The document at `.well-known/smart-configuration` (SMART App Launch 2.2, section 7, "Conformance")."""

from typing import Any


def smart_configuration(token_url: str, jwks_url: str) -> dict[str, Any]:
    """What a client of the gateway needs to know: client credentials with a secret, nobody to sign in.

    No `issuer`, which the specification has omitted without OpenID Connect, and no authorization endpoint.
    """
    return {
        "jwks_uri": jwks_url,
        "token_endpoint": token_url,
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": ["system/*.rs", "system/*.read"],
        "capabilities": ["client-confidential-symmetric", "permission-v1", "permission-v2"],
        # The specification requires the member, with this value, even of a server without an authorization endpoint.
        "code_challenge_methods_supported": ["S256"],
    }
