from collections.abc import Mapping
from pathlib import Path

import pytest

from shared.fhir.versions import FhirVersion
from shared.settings import SettingError, Settings, is_loopback

AZURE = {
    "PUBLIC_BASE_URL": "https://gateway.example.com",
    "KEY_VAULT_URL": "https://vault.example.com/",
    "TABLES_ENDPOINT": "https://account.table.core.windows.net",
}
CONNECTION_STRING = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=eA==;TableEndpoint=http://127.0.0.1:1/a;"
LAPTOP = {
    "PUBLIC_BASE_URL": "http://127.0.0.1:7071",
    "KEY_VAULT_URL": "https://localhost:8443",
    "TABLES_CONNECTION_STRING": CONNECTION_STRING,
    "LOCAL_VAULT": "/somewhere/vault",
}


def error(environment: Mapping[str, str]) -> str:
    with pytest.raises(SettingError) as raised:
        Settings.from_environment(environment)
    return str(raised.value)


def test_the_three_that_are_needed_are_enough() -> None:
    assert Settings.from_environment(AZURE) == Settings(
        public_base_url="https://gateway.example.com", key_vault_url="https://vault.example.com",
        tables="https://account.table.core.windows.net", default_fhir_version=FhirVersion.STU3,
        token_lifetime_seconds=3600, cache_seconds=60, stale_seconds=900, upstream_timeout_seconds=30,
        max_response_bytes=50 * 1024 * 1024, clients_per_owner=20, portal_auth="off", local_vault=None,
    )  # fmt: skip
    assert not Settings.from_environment(AZURE).local


def test_all_others_can_be_set_and_empty_ones_are_not() -> None:
    others = {
        "DEFAULT_FHIR_VERSION": " R4 ", "TOKEN_LIFETIME_SECONDS": "60", "CACHE_SECONDS": "1", "STALE_SECONDS": "0",
        "UPSTREAM_TIMEOUT_SECONDS": "220", "MAX_RESPONSE_MB": "100", "CLIENTS_PER_OWNER": "1000",
        "PORTAL_AUTH": "Entra",
    }  # fmt: skip
    found = Settings.from_environment(AZURE | others)
    assert found.default_fhir_version is FhirVersion.R4
    assert (found.token_lifetime_seconds, found.cache_seconds, found.stale_seconds) == (60, 1, 0)
    assert (found.upstream_timeout_seconds, found.max_response_bytes) == (220, 100 * 1024 * 1024)
    assert (found.clients_per_owner, found.portal_auth) == (1000, "entra")
    assert Settings.from_environment(AZURE | dict.fromkeys(others, " ")) == Settings.from_environment(AZURE)


@pytest.mark.parametrize("name", AZURE)
def test_one_that_is_missing_is_named(name: str) -> None:
    missing = {other: AZURE[other] for other in AZURE if other != name}
    for environment in (missing, AZURE | {name: ""}, AZURE | {name: "  "}):
        assert error(environment).startswith(f"{name} is not set")


ORIGIN = "https://gateway.example.com"
NO_ORIGINS = [
    "gateway.example.com", "http://gateway.example.com", "http://127.0.0.1", "ftp://gateway.example.com", "https://",
    "https:///fhir", "https://[::1", "https://[]", "https://user@gateway.example.com", "https://gäteway.example.com",
    "https://:secret@gateway.example.com", "https://gate way.example.com", "https://gate\tway.example.com",
    *(ORIGIN + rest for rest in ("/fhir", "?", "?a=b", "#", ":x", ":70000", ":", "\r\nX: 1", "\\@evil.example")),
]  # fmt: skip


@pytest.mark.parametrize("name", AZURE)
def test_a_url_that_is_no_https_origin_is_named(name: str) -> None:
    for value in NO_ORIGINS:
        message = error(AZURE | {name: value})
        assert message.startswith(f"{name} ")
        assert "\n" not in message


def test_an_origin_may_have_a_port_and_a_trailing_slash() -> None:
    for value, origin in (
        (" https://Gateway.example.com:8443/ ", "https://Gateway.example.com:8443"),
        ("https://[2001:db8::1]:1", "https://[2001:db8::1]:1"),
    ):
        assert Settings.from_environment(AZURE | {"PUBLIC_BASE_URL": value}).public_base_url == origin


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("DEFAULT_FHIR_VERSION", ["r6", "fhir", "4.0.1"]),
        ("TOKEN_LIFETIME_SECONDS", ["59", "86401", "-60", "1h", "60.0", "٦٠", "9" * 5000]),
        ("CACHE_SECONDS", ["0", "3601", "x"]),
        ("STALE_SECONDS", ["-1", "86401", "+1"]),
        ("UPSTREAM_TIMEOUT_SECONDS", ["0", "221", "1_0"]),
        ("MAX_RESPONSE_MB", ["0", "101", "1e1"]),
        ("CLIENTS_PER_OWNER", ["0", "1001"]),
        ("PORTAL_AUTH", ["on", "true", "none"]),
        (
            "TABLES_CONNECTION_STRING",
            ["account", ORIGIN, "AccountName=a", "AccountKey=eA==", "AccountName=;AccountKey=eA=="],
        ),
        ("TABLES_CONNECTION_STRING", ["XAccountName=a;AccountKey=eA==", "AccountName=a;;AccountKey=eA=="]),
    ],
)
def test_a_value_that_is_out_of_range_is_named(name: str, values: list[str]) -> None:
    for value in values:
        assert error(AZURE | {name: value}).startswith(f"{name} must be")


@pytest.mark.parametrize(
    "value",
    [
        CONNECTION_STRING,
        CONNECTION_STRING.rstrip(";"),
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=eA+/==;EndpointSuffix=core.windows.net",
        "TableEndpoint=https://a.example;SharedAccessSignature=sv=2020&sig=x%3D",
        "UseDevelopmentStorage=true",
    ],
)
def test_a_connection_string_stands_in_for_the_endpoint(value: str) -> None:
    environment = {name: AZURE[name] for name in AZURE if name != "TABLES_ENDPOINT"}
    assert Settings.from_environment(environment | {"TABLES_CONNECTION_STRING": value}).tables == value


def test_a_laptop_may_use_http_on_loopback() -> None:
    found = Settings.from_environment(LAPTOP)
    assert found.local
    assert found.local_vault == Path("/somewhere/vault")
    assert found.public_base_url == "http://127.0.0.1:7071"


@pytest.mark.parametrize(
    ("name", "values", "named"),
    [
        ("PUBLIC_BASE_URL", ["http://192.168.1.1", "http://127.0.0.1.example.com"], "PUBLIC_BASE_URL"),
        ("KEY_VAULT_URL", ["https://vault.example.com", "https://127.0.0.1.example.com"], "LOCAL_VAULT"),
        ("KEY_VAULT_URL", ["", "https://[", "http://127.0.0.1:8443"], "KEY_VAULT_URL"),
        ("WEBSITE_SITE_NAME", ["0"], "LOCAL_VAULT"),
    ],
)
def test_a_laptop_has_its_vault_on_loopback_and_is_not_in_azure(name: str, values: list[str], named: str) -> None:
    for value in values:
        assert error(LAPTOP | {name: value}).startswith(f"{named} ")


def test_loopback_hosts() -> None:
    for host in ("localhost", "127.0.0.1", "127.8.9.10", "::1"):
        assert is_loopback(host)
    others = ("localhost.example.com", "127.0.0.1.example.com", "127.1", "255.255.255.255", "::", "2130706433")
    for other in (None, "", *others):
        assert not is_loopback(other)
