"""The authorization server's metadata (RFC 8414), and the SMART configuration of a FHIR base, which says the same."""

from typing import Any

from shared.directory.client_keys import ALGORITHMS

_METHODS = ("private_key_jwt", "client_secret_basic", "client_secret_post")


def server_metadata(issuer: str) -> dict[str, Any]:
    """The metadata (RFC 8414 section 2) of the server whose tokens have this `issuer`:

        {"issuer": "https://gateway.example.com", "token_endpoint": "https://gateway.example.com/oauth2/token", ...}

    No authorization endpoint, and so no response types: nobody signs in. Clients that know OpenID Connect's discovery
    alone read the same at its place; no member of it promises an ID token.
    """
    return {"issuer": issuer, **_members(issuer), "response_types_supported": []}


def smart_configuration(issuer: str) -> dict[str, Any]:
    """The document at `{base}/.well-known/smart-configuration` (SMART App Launch 2.2, section 7, "Conformance").

    No `issuer`, which the specification has omitted without OpenID Connect.
    """
    return {
        **_members(issuer),
        "capabilities": [
            "client-confidential-asymmetric",
            "client-confidential-symmetric",
            "permission-v1",
            "permission-v2",
        ],
        # The specification requires the member, with this value, even of a server without an authorization endpoint.
        "code_challenge_methods_supported": ["S256"],
    }


def _members(issuer: str) -> dict[str, Any]:
    return {
        "token_endpoint": f"{issuer}/oauth2/token",
        "service_documentation": f"{issuer}/",
        "jwks_uri": f"{issuer}/oauth2/keys",
        "revocation_endpoint": f"{issuer}/oauth2/revoke",
        "introspection_endpoint": f"{issuer}/oauth2/introspect",
        **{
            f"{endpoint}_endpoint_auth_methods_supported": _METHODS
            for endpoint in ("token", "revocation", "introspection")
        },
        **{
            f"{endpoint}_endpoint_auth_signing_alg_values_supported": ALGORITHMS
            for endpoint in ("token", "revocation", "introspection")
        },
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": ["system/*.rs", "system/*.read"],
    }
