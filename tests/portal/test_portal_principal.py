"""The person that a header of App Service Authentication names."""

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.portal.principal import Role, parse_client_principal

CLAIMS = "http://schemas.microsoft.com/identity/claims/"
IDS = [(f"{CLAIMS}tenantid", "T1"), (f"{CLAIMS}objectidentifier", "5F")]


def header(*claims: tuple[str, str], provider: str = "aad") -> str:
    principal = {"auth_typ": provider, "claims": [{"typ": name, "val": value} for name, value in claims]}
    return b64encode(json.dumps(principal).encode()).decode()


ROLES = [("roles", role) for role in ("Gateway.Admin", "Gateway.ClientOwner", "Something.Else")]
ADA = [("name", "Ada Lovelace"), ("preferred_username", "Ada@Example.com"), *IDS, *ROLES]
KELVIN = "\u212aate@example.com"  # in lower case it would be another person's "k"


@pytest.mark.parametrize(
    ("claims", "user_name", "name", "roles"),
    [
        (ADA, "ada@example.com", "Ada Lovelace", frozenset(Role)),
        (IDS, "5f", "5F", frozenset()),
        ([("tid", "T1"), ("oid", "5F")], "5f", "5F", frozenset()),
        ([("preferred_username", KELVIN), *IDS], KELVIN, KELVIN, frozenset()),
    ],
)
def test_ids_names_and_roles_are_read(
    claims: list[tuple[str, str]], user_name: str, name: str, roles: frozenset[Role]
) -> None:
    principal = parse_client_principal(header(*claims))
    assert principal is not None
    assert (principal.id, principal.user_name, principal.name, principal.roles) == ("t1/5f", user_name, name, roles)


@pytest.mark.parametrize(
    "text",
    [
        *("", "!", b64encode(b"{}").decode(), b64encode(b'{"auth_typ": "aad", "claims": [1]}').decode()),
        *(header(*ids, ("preferred_username", "ada"), ("roles", "Gateway.Admin")) for ids in ([], IDS[:1], IDS[1:])),
        header(*IDS, ("preferred_username", "ada"), ("roles", "Gateway.Admin"), provider="facebook"),
        header(*IDS, ("preferred_username", "a" * 100_000)),
    ],
)
def test_a_header_that_names_nobody_is_nobody(text: str) -> None:
    assert parse_client_principal(text) is None


JSON = st.recursive(st.none() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=10)


@given(st.text(max_size=200) | JSON.map(lambda x: b64encode(json.dumps(x).encode()).decode()))
def test_anything_else_is_nobody(text: str) -> None:
    assert parse_client_principal(text) is None
