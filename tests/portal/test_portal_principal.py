"""The person that a header of App Service Authentication names."""

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.portal.principal import Role, parse_client_principal

OBJECT_ID = "http://schemas.microsoft.com/identity/claims/objectidentifier"


def header(*claims: tuple[str, str], provider: str = "aad") -> str:
    principal = {"auth_typ": provider, "claims": [{"typ": name, "val": value} for name, value in claims]}
    return b64encode(json.dumps(principal).encode()).decode()


ROLES = [("roles", role) for role in ("Gateway.Admin", "Gateway.ClientOwner", "Something.Else")]
ADA = [("name", "Ada Lovelace"), ("preferred_username", "Ada@Example.com"), (OBJECT_ID, "1"), *ROLES]
KELVIN = "\u212aate@example.com"  # in lower case it would be another person's "k"


@pytest.mark.parametrize(
    ("claims", "id", "name", "roles"),
    [
        (ADA, "ada@example.com", "Ada Lovelace", frozenset(Role)),
        ([(OBJECT_ID, "5F")], "5f", "5F", frozenset()),
        ([("oid", "5F")], "5f", "5F", frozenset()),
        ([("preferred_username", KELVIN)], KELVIN, KELVIN, frozenset()),
    ],
)
def test_name_id_and_roles_are_read(claims: list[tuple[str, str]], id: str, name: str, roles: frozenset[Role]) -> None:
    principal = parse_client_principal(header(*claims))
    assert principal is not None
    assert (principal.id, principal.name, principal.roles) == (id, name, roles)


@pytest.mark.parametrize(
    "text",
    [
        *("", "!", b64encode(b"{}").decode(), b64encode(b'{"auth_typ": "aad", "claims": [1]}').decode()),
        header(("roles", "Gateway.Admin")),
        header(("preferred_username", "ada"), ("roles", "Gateway.Admin"), provider="facebook"),
        header(("preferred_username", "a" * 100_000)),
    ],
)
def test_a_header_that_names_nobody_is_nobody(text: str) -> None:
    assert parse_client_principal(text) is None


JSON = st.recursive(st.none() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=10)


@given(st.text(max_size=200) | JSON.map(lambda x: b64encode(json.dumps(x).encode()).decode()))
def test_anything_else_is_nobody(text: str) -> None:
    assert parse_client_principal(text) is None
