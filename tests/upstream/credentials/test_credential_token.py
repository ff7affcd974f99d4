"""Reading what a token endpoint answers."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.upstream.credentials.errors import CredentialError
from shared.upstream.credentials.redox_legacy import lifetime
from shared.upstream.credentials.token import parse_token

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (3600, 3600),
        (59.5, 59.5),
        ("3600", 3600),
        (" 60 ", 60),
        (0, 0),
        (-5, 0),
        ("-5", 0),
        (None, 300),
        ("soon", 300),
        ("inf", 300),
        ("nan", 300),
        (10**400, 300),
        (True, 300),
        ([60], 300),
    ],
)
def test_expires_in_may_be_odd(expires_in, seconds):
    token = parse_token({"access_token": "t", "token_type": "bearer", "expires_in": expires_in})
    assert token.lifetime == seconds


def test_a_token_without_expires_in_lives_five_minutes():
    assert parse_token({"access_token": "t", "token_type": "Bearer"}).lifetime == 300


@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "BEARER"])
def test_the_token_type_is_compared_without_case(token_type):
    assert parse_token({"access_token": "t", "token_type": token_type}).value == "t"


@pytest.mark.parametrize("token_type", ["DPoP", "mac", "", None, 1])
def test_a_token_that_is_not_a_bearer_token_is_refused(token_type):
    with pytest.raises(CredentialError, match="not a bearer token"):
        parse_token({"access_token": "t", "token_type": token_type})


@pytest.mark.parametrize("value", ["", None, 7, "a b", "a\r\nX-Admin: yes", "a\n", "é"])
def test_a_token_that_no_header_can_carry_is_refused(value):
    with pytest.raises(CredentialError, match="without a usable access token"):
        parse_token({"access_token": value, "token_type": "bearer"})


@given(st.fixed_dictionaries({}, optional={"access_token": JSON, "token_type": JSON, "expires_in": JSON}))
def test_any_answer_is_a_token_or_a_credential_error(answer):
    try:
        token = parse_token(answer)
    except CredentialError:
        return
    assert token.value.isascii()
    assert token.value.isprintable()
    assert math.isfinite(token.lifetime)
    assert token.lifetime >= 0


def test_a_token_does_not_show_in_its_repr():
    assert "abcdef" not in repr(parse_token({"access_token": "abcdef"}))


@pytest.mark.parametrize(
    ("expires", "seconds"),
    [
        ("2024-05-01T12:10:00.000Z", 600),
        ("2024-05-01T12:10:00", 600),
        ("2024-05-01T14:10:00+02:00", 600),
        ("2024-05-01T11:59:00Z", -60),
        ("tomorrow", 300),
        (None, 300),
        (1714565400, 300),
    ],
)
def test_redox_says_when_a_token_expires(expires, seconds):
    assert lifetime(expires, NOW) == seconds


@given(JSON | st.datetimes().map(datetime.isoformat))
def test_any_time_of_expiry_is_a_number_of_seconds(expires):
    assert abs(lifetime(expires, NOW)) < timedelta(days=4_000_000).total_seconds()
