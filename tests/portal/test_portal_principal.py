"""Who a header of App Service Authentication says is signed in."""

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


def test_name_id_and_roles_are_read() -> None:
    principal = parse_client_principal(
        header(
            ("name", "Ada Lovelace"),
            ("preferred_username", "Ada@Example.com"),
            (OBJECT_ID, "1"),
            ("roles", "Gateway.Admin"),
            ("roles", "Gateway.ClientOwner"),
            ("roles", "Something.Else"),
        )
    )
    assert principal is not None
    assert (principal.id, principal.name, principal.roles) == ("ada@example.com", "Ada Lovelace", frozenset(Role))


@pytest.mark.parametrize("claim", [OBJECT_ID, "oid"])
def test_without_a_user_name_the_object_id_is_the_id(claim: str) -> None:
    principal = parse_client_principal(header((claim, "5F")))
    assert principal is not None
    assert (principal.id, principal.name, principal.roles) == ("5f", "5F", frozenset())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!",
        b64encode(b"{}").decode(),
        b64encode(b'{"auth_typ": "aad", "claims": [1]}').decode(),
        header(("roles", "Gateway.Admin")),
        header(("preferred_username", "ada"), ("roles", "Gateway.Admin"), provider="facebook"),
        header(("preferred_username", "a" * 100_000)),
    ],
)
def test_what_names_nobody_is_nobody(text: str) -> None:
    assert parse_client_principal(text) is None


@given(
    st.text(max_size=200)
    | st.recursive(st.none() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)).map(
        lambda x: b64encode(json.dumps(x).encode()).decode()
    )
)
def test_anything_else_is_nobody(text: str) -> None:
    assert parse_client_principal(text) is None


def test_a_letter_that_only_looks_the_same_is_another_person() -> None:
    kelvin = parse_client_principal(header(("preferred_username", "\u212aate@example.com")))
    assert kelvin is not None
    assert kelvin.id != "kate@example.com"
