import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.directory.errors import RowError
from shared.directory.provider import Access, AuthKind, BatchMode, Provider, ProviderAuth, SearchMethod
from shared.directory.tenant_columns import ALL_COLUMNS, COLUMNS, DEFAULT_MAX_CONCURRENT
from shared.directory.tenant_row import parse_provider, parse_version
from shared.fhir.interface import types as interface_types
from shared.fhir.versions import FhirVersion
from shared.settings import is_loopback

GUID = "72f988bf-86f1-41af-91ab-2d7cd011db47"
BASE = "https://hospital.example/fhir"
TOKEN: dict[str, object] = {
    "AuthTokenUrl": "https://login.example/token?a=b",
    "AuthClientId": "us",
    "AuthSecret": "their-secret",
}


def row(**columns: object) -> dict[str, object]:
    return {"PartitionKey": GUID, "RowKey": "stu3", "BaseUrl": BASE, **columns}


def parse(**columns: object) -> Provider:
    return parse_provider(row(**columns), local=False)


def parse_on_a_laptop(base_url: str) -> Provider:
    return parse_provider(row(BaseUrl=base_url), local=True)


def wrong(**columns: object) -> str:
    """The column that the error names."""
    with pytest.raises(RowError) as raised:
        parse(**columns)
    error = raised.value
    assert str(error).startswith("table Tenants, row (")
    assert str(error).endswith(f"column {error.column}: {error.problem}")
    value = str(columns.get(error.column, ""))
    assert len(value) <= 3 or value not in error.problem
    return error.column


def test_a_row_with_a_base_url_alone_takes_the_defaults() -> None:
    assert parse() == Provider(
        tenant=GUID,
        version=FhirVersion.STU3,
        base_url=BASE,
        name=GUID,
        enabled=True,
        auth=ProviderAuth(),
        extra_headers=(),
        batch=BatchMode.NATIVE,
        access=Access.READ,
        types=interface_types(FhirVersion.STU3),
        timeout_seconds=None,
        max_concurrent=DEFAULT_MAX_CONCURRENT,
    )


def test_empty_columns_and_those_the_store_adds_count_as_absent() -> None:
    empty: dict[str, object] = {column: " " for column in COLUMNS if column != "BaseUrl"}
    none: dict[str, object] = {column: None for column in COLUMNS if column != "BaseUrl"}
    store: dict[str, object] = {"Timestamp": "2026-01-01T00:00:00Z", "etag": "x", "odata.etag": "x"}
    assert parse(**empty) == parse(**none) == parse(**store) == parse()


def test_every_column_has_its_place() -> None:
    found = parse(
        Name=" Mercy ",
        Enabled="No",
        Auth=" Private_Key_JWT",
        **TOKEN,
        AuthScope="system/*.read",
        AuthKeyId="k1",
        AuthCertificate="their-certificate",
        ExtraHeaders='{"Redox-Source-Id": "abc"}',
        Batch="SPLIT",
        Access="Write",
        Types="Patient, Observation,,",
        TimeoutSeconds="2.5",
        MaxConcurrent=" 8 ",
        Search="Post",
        Total=" Accurate",
        Operations="Patient/$everything , Observation/$lastn,",
        PageOrigins="HTTPS://Pages.example/, https://b.example:8443, https://pages.example:443",
    )
    assert found == Provider(
        tenant=GUID,
        version=FhirVersion.STU3,
        base_url=BASE,
        name="Mercy",
        enabled=False,
        auth=ProviderAuth(
            kind=AuthKind.PRIVATE_KEY_JWT,
            token_url="https://login.example/token?a=b",
            client_id="us",
            scope="system/*.read",
            secret="their-secret",
            key_id="k1",
            certificate="their-certificate",
        ),
        extra_headers=(("Redox-Source-Id", "abc"),),
        batch=BatchMode.SPLIT,
        access=Access.WRITE,
        types=frozenset({"Patient", "Observation"}),
        timeout_seconds=2.5,
        max_concurrent=8,
        search=SearchMethod.POST,
        accurate_total=True,
        operations=frozenset({"Patient/$everything", "Observation/$lastn"}),
        page_origins=("https://pages.example", "https://b.example:8443"),
    )


@pytest.mark.parametrize("key", [GUID.upper(), f"{{{GUID}}}", f" {GUID} "])
@pytest.mark.parametrize("version", ["stu3", "STU3", " Stu3 "])
def test_keys_as_people_type_them(key: str, version: str) -> None:
    assert parse(PartitionKey=key, RowKey=version) == parse()


@pytest.mark.parametrize("key", ["", "contoso.example", GUID[:-1], "x" * 2000, "a\x07b"])
def test_a_partition_key_that_is_no_tenant(key: str) -> None:
    assert wrong(PartitionKey=key) == "PartitionKey"


@pytest.mark.parametrize("version", ["", "stu4", "3.0.2", "fhir"])
def test_a_row_key_that_is_no_version(version: str) -> None:
    assert wrong(RowKey=version) == "RowKey"
    assert parse_version(version) is None


@pytest.mark.parametrize("spelt", [str.lower, str.upper, lambda name: f" {name}", lambda name: f"{name.lower()}  "])
@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_in_another_case_or_with_spaces_is_that_column(column: str, spelt: Callable[[str], str]) -> None:
    """A provider says the same, or the same column is wrong."""

    def found(name: str) -> object:
        try:
            return parse_provider({**{k: v for k, v in row().items() if k != column}, name: "x "}, local=False)
        except RowError as error:
            return error.column, error.problem

    assert found(spelt(column)) == found(column)


@pytest.mark.parametrize("second", ["baseurl", "BASEURL", "BaseUrl ", "BaseURL"])
def test_a_column_that_stands_there_twice_is_named(second: str) -> None:
    assert wrong(**{second: BASE}) == second
    with pytest.raises(RowError, match="is a second column BaseUrl: remove one"):
        parse_provider({"PartitionKey": GUID, "RowKey": "stu3", "BASEURL": BASE, "baseurl": BASE}, local=False)


@pytest.mark.parametrize(
    ("column", "value", "same"),
    [
        ("Enabled", 1.0, "true"),
        ("Name", 12_345_678_901, "12345678901"),
        ("Name", 15_000_000_000.0, "15000000000"),
        ("Name", UUID(GUID), GUID),
    ],
)
def test_a_value_of_another_type_means_what_a_person_sees(column: str, value: object, same: str) -> None:
    assert parse(**{column: value}) == parse(**{column: same})


@pytest.mark.parametrize("value", [b"\x00", datetime(2026, 1, 1, tzinfo=UTC)])
@pytest.mark.parametrize("column", COLUMNS)
def test_bytes_and_times_are_no_values(column: str, value: object) -> None:
    used = TOKEN if column in TOKEN else {}
    assert wrong(**{"Auth": "private_key_jwt", **TOKEN, **used, column: value}) == column


@pytest.mark.parametrize("column", ["Name", "AuthClientId", "AuthScope"])
def test_bytes_of_another_encoding_are_no_value(column: str) -> None:
    assert wrong(**{"Auth": "private_key_jwt", **TOKEN, column: "Zo\udceb"}) == column


@pytest.mark.parametrize("column", ["Base Url", "Enable", "Base_Url", "Type", "Name2", "x" * 100])
def test_an_unknown_column_is_named(column: str) -> None:
    assert wrong(**{column: "x"}) == column[:64]


@pytest.mark.parametrize(
    ("typed", "base_url"),
    [
        (f" {BASE}/ ", BASE),
        (f"{BASE}//", BASE),
        ("HTTPS://Hospital.Example/FHIR/R4", "https://hospital.example/FHIR/R4"),
        ("https://hospital.example", "https://hospital.example"),
        ("https://hospital.example:8443/a-b/c_d/~e/1.0", "https://hospital.example:8443/a-b/c_d/~e/1.0"),
        ("https://[2001:DB8::1]:8443/fhir", "https://[2001:db8::1]:8443/fhir"),
        ("https://hospital_1.example/fhir", "https://hospital_1.example/fhir"),
        ("https://10.0.0.1/fhir", "https://10.0.0.1/fhir"),
    ],
)
def test_base_urls(typed: str, base_url: str) -> None:
    assert parse(BaseUrl=typed).base_url == base_url


@pytest.mark.parametrize(
    "typed",
    [
        None,
        "",
        " ",
        "hospital.example/fhir",
        "http://hospital.example/fhir",
        "http://127.0.0.1/fhir",
        "ftp://hospital.example/fhir",
        "file:///etc/passwd",
        "https://",
        "https:///fhir",
        "https:hospital.example",
        "https://user@hospital.example/fhir",
        "https://user:secret@hospital.example/fhir",
        "https://hospital.example@evil.example/fhir",
        "https://hospital.example\\@evil.example/fhir",
        "https://hospital.example:0/fhir",
        "https://hospital.example:99999/fhir",
        "https://hospital.example:/fhir",
        "https://hospital.example:x/fhir",
        "https://hospital.example/fhir?a=b",
        "https://hospital.example/fhir#a",
        "https://hospital.example/fhir/metadata",
        "https://hospital.example/fhir/metadata/",
        "https://hospital.example/a/../b",
        "https://hospital.example/./b",
        "https://hospital.example/.../b",
        "https://hospital.example/a//b",
        "https://hospital.example/a%2Fb",
        "https://hospital.example/a;b",
        "https://hospital.example/a b",
        "https://hospital.example/\r\nX: y",
        "https://hospital.exa\tmple/fhir",
        "https://hospital%2eexample/fhir",
        "https://hospital,example/fhir",
        "https://höspital.example/fhir",
        "https://[::1/fhir",
        "https://[x]/fhir",
    ],
)
def test_what_is_no_base_url(typed: str | None) -> None:
    assert wrong(BaseUrl=typed) == "BaseUrl"


def test_on_a_laptop_http_is_for_loopback_only() -> None:
    assert parse_on_a_laptop("http://127.0.0.1:9000/fhir/").base_url == "http://127.0.0.1:9000/fhir"
    assert parse_on_a_laptop("http://localhost/fhir").base_url == "http://localhost/fhir"
    for url in (
        "http://hospital.example/fhir",
        "http://localhost.example/fhir",
        "http://127.0.0.1.example/fhir",
        "http://127.0.0.1@hospital.example/fhir",
        "http://127.0.0.1%2ehospital.example/fhir",
    ):
        with pytest.raises(RowError, match="column BaseUrl"):
            parse_on_a_laptop(url)


# For every kind of authentication: a row of it with no more than it needs.
LEAST: dict[str, dict[str, object]] = {
    "none": {},
    "basic": {"AuthSecret": "their-secret"},
    "header": {"AuthHeader": "X-Api-Key", "AuthSecret": "their-secret"},
    "client_secret_post": TOKEN,
    "client_secret_basic": TOKEN,
    "entra": {"AuthClientId": "us", "AuthSecret": "their-secret"},
    "managed_identity": {},
    "private_key_jwt": TOKEN,
    "redox_legacy": TOKEN,
    "mtls": {"AuthSecret": "their-certificate"},
}
ALL: dict[str, object] = {
    "AuthTokenUrl": "https://login.example/token",
    "AuthClientId": "us",
    "AuthScope": f"{BASE}/.default",
    "AuthHeader": "X-Api-Key",
    "AuthSecret": "their-secret",
    "AuthKeyId": "k1",
    "AuthCertificate": "their-certificate",
}
MAY_HAVE = {
    "none": {"AuthCertificate"},
    "basic": {"AuthClientId", "AuthCertificate"},
    "header": {"AuthCertificate"},
    "client_secret_post": {"AuthScope", "AuthCertificate"},
    "client_secret_basic": {"AuthScope", "AuthCertificate"},
    "entra": {"AuthTokenUrl", "AuthScope", "AuthCertificate"},
    "managed_identity": {"AuthClientId", "AuthScope", "AuthCertificate"},
    "private_key_jwt": {"AuthScope", "AuthKeyId", "AuthCertificate"},
    "redox_legacy": {"AuthCertificate"},
    "mtls": set(),
}


def test_every_choice_and_example_of_a_column_is_taken() -> None:
    for column in ALL_COLUMNS:
        for value, _ in column.choices:
            parse(**({"Auth": value, **LEAST[value]} if column.name == "Auth" else {column.name: value}))
        assert column.example in [value for value, _ in column.choices] or not column.choices
    assert set(LEAST) == set(MAY_HAVE) == {kind.value for kind in AuthKind} | {"mtls"}


@pytest.mark.parametrize("kind", LEAST)
def test_a_kind_takes_what_it_needs_and_what_it_may_have_and_no_more(kind: str) -> None:
    least = LEAST[kind]
    found = parse(Auth=kind, **least).auth
    assert found.kind.value == ("none" if kind == "mtls" else kind)
    if kind == "mtls":
        assert found == ProviderAuth(certificate="their-certificate")
    for column in least:
        assert wrong(Auth=kind, **{**least, column: ""}) == column
    for column, value in ALL.items():
        if column in least:
            continue
        if column in MAY_HAVE[kind]:
            assert parse(Auth=kind, **least, **{column: value}).auth != found
        else:
            assert wrong(Auth=kind, **least, **{column: value}) == column


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("Auth", ["oauth", "Basic Auth", "none,basic"]),
        ("AuthSecret", ["a b", "a/b", "a_b", "a" * 128, "é", "https://vault.example/secrets/x"]),
        ("AuthSecret", ["client-abc-def", "Client-abc", "token-signing-key", "TOKEN-SIGNING-KEY"]),
        ("AuthCertificate", ["client-abc-def", "token-signing-key", "a.pem"]),
    ],
)
def test_wrong_authentication_values(column: str, values: list[str]) -> None:
    for value in values:
        assert wrong(**{"Auth": "basic", "AuthSecret": "their-secret", column: value}) == column


@pytest.mark.parametrize(
    "url",
    [
        "https://login.example/a\\b",
        "http://login.example/token",
        "login.example",
        "https://u:p@login.example",
        "https://a b",
    ],
)
def test_a_token_url_is_https_too(url: str) -> None:
    assert wrong(Auth="client_secret_post", **{**TOKEN, "AuthTokenUrl": url}) == "AuthTokenUrl"


def test_a_header_may_carry_a_credential_and_nothing_that_the_gateway_sets() -> None:
    for name in ("X Api Key", "X-Api-Key:", "X\r\nY", "é", "Host", "content-length", "TE", "Accept"):
        assert wrong(Auth="header", AuthSecret="their-secret", AuthHeader=name) == "AuthHeader"
    for name in ("Authorization", "cookie", "Ocp-Apim-Subscription-Key"):
        assert parse(Auth="header", AuthSecret="their-secret", AuthHeader=name).auth.header == name


@pytest.mark.parametrize(
    "text",
    [
        "Redox-Source-Id: abc",
        "[]",
        '"a"',
        "null",
        '{"a": 1}',
        '{"a": null}',
        '{"a": ["b"]}',
        '{"": "a"}',
        '{"a b": "c"}',
        '{"a": "b\\r\\nc: d"}',
        '{"a": "é"}',
        '{"Authorization": "Bearer x"}',
        '{"HOST": "evil.example"}',
        '{"X-Forwarded-Host": "evil.example"}',
        '{"Proxy-Authorization": "x"}',
        '{"content-type": "text/html"}',
        "[" * 5000,
        '{"a": ' + "1" * 5000 + "}",
    ],
)
def test_wrong_extra_headers(text: str) -> None:
    assert wrong(ExtraHeaders=text) == "ExtraHeaders"


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("Enabled", ["maybe", "enabled", "2", "truе"]),
        ("Batch", ["yes", "native,split"]),
        ("Access", ["readwrite", "rw", "none"]),
        ("Search", ["both", "POST _search"]),
        ("Total", ["estimate", "none", True]),
        ("Operations", ["$everything-all", "Patient/everything", "Patient/1/$everything", "Practice/$everything", "*"]),
        ("PageOrigins", ["pages.example", "http://a.example", "https://a.example/x", "https://a.example?x", "*"]),
        ("PageOrigins", ["https://u@a.example", ",".join(f"https://{n}.example" for n in range(11))]),
        ("Types", ["patient", "Patient;Observation", "Patient Observation", "*", "Patient/1", "Pätient"]),
        ("TimeoutSeconds", ["0", "0.05", "221", "-1", "1e2", "nan", "inf", "30s", "1,5", True, "9" * 400]),
        ("MaxConcurrent", ["0", "10001", "-1", "1.5", "many", 7.5, 0.0, 1e300, "8.", "9" * 5000]),
    ],
)
def test_wrong_values(column: str, values: list[object]) -> None:
    for value in values:
        assert wrong(**{column: value}) == column


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (
            "enabled",
            {True: True, False: False, "TRUE": True, "false": False, "yes": True, "no": False, "1": True, "0": False},
        ),
        ("timeout_seconds", {2: 2, 2.5: 2.5, "0.1": 0.1, "220": 220, "30.0": 30}),
        ("max_concurrent", {5: 5, 64.0: 64, "64.0": 64, "1": 1, "10000": 10_000}),
    ],
)
def test_values_of_any_type_a_table_has(column: str, values: dict[Any, Any]) -> None:
    name = column.title().replace("_", "")
    for typed, value in values.items():
        assert getattr(parse(**{name: typed}), column) == value


def test_the_default_types_are_those_of_the_rows_version() -> None:
    for version in FhirVersion:
        assert parse(RowKey=version.value).types == interface_types(version)
    assert parse(Types=",").types == interface_types(FhirVersion.STU3)


values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.sampled_from(["none", "basic", "mtls", BASE, "X-Key", "a-secret", '{"a":"b"}', "split", "Patient", "7"])
)


@given(
    st.dictionaries(st.sampled_from(["PartitionKey", "RowKey", *COLUMNS]) | st.text(max_size=5), values), st.booleans()
)
def test_no_row_raises_anything_but_a_row_error(columns: dict[str, object], local: bool) -> None:
    told = ""
    try:
        parse_provider({**row(), **columns}, local=local)
    except RowError as error:
        told = str(error)
    assert told == "" or told.isprintable()


hosts = st.sampled_from(
    ["localhost", "127.0.0.1", "[::1]", "hospital.example", "127.0.0.1.example", "10.0.0.1"]
) | st.text("abc.:@[]%\\/#?127 0", max_size=12)


@given(
    scheme=st.sampled_from(["https", "http", "HTTP", "ftp", ""]) | st.text(max_size=4),
    separator=st.sampled_from(["://", ":", ":/", "//", ":\\\\"]),
    host=hosts,
    rest=st.text("/.?#%2eFf:;@\\ab", max_size=12),
    local=st.booleans(),
)
def test_a_base_url_is_https_or_http_to_loopback_on_a_laptop_and_stays_below_its_path(
    scheme: str, separator: str, host: str, rest: str, local: bool
) -> None:
    try:
        found = parse_provider(row(BaseUrl=f"{scheme}{separator}{host}{rest}"), local=local).base_url
    except RowError:
        return
    parts = urlsplit(found)
    assert parts.scheme == "https" or (local and parts.scheme == "http" and is_loopback(parts.hostname))
    assert parts.geturl() == found
    assert (parts.query, parts.fragment, parts.username) == ("", "", None)
    assert not found.endswith("/")
    assert not {"", ".", ".."} & set(parts.path.split("/")[1:])
    assert parse_provider(row(BaseUrl=found), local=local).base_url == found


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=10) | st.integers(), max_size=3))
def test_extra_headers_can_never_hold_a_line_break(headers: dict[str, object]) -> None:
    try:
        found = parse(ExtraHeaders=json.dumps(headers)).extra_headers
    except RowError:
        return
    assert all(text.isascii() and text.isprintable() for header in found for text in header)


@pytest.mark.parametrize(
    ("base_url", "scope", "allowed"),
    [
        ("https://ws-fhir.fhir.azurehealthcareapis.com", "", True),
        ("https://ws-fhir.fhir.azurehealthcareapis.com", "https://ws-fhir.fhir.azurehealthcareapis.com/.default", True),
        ("https://ws-fhir.fhir.azurehealthcareapis.com", "https://azurehealthcareapis.com/.default", True),
        ("https://fhir.example", "https://fhir.example/.default", True),
        ("https://fhir.example", "https://fhir.example", True),
        ("https://fhir.example", "https://fhir.example/fhir/.default", True),
        ("https://fhir.example", "api://8c1d/.default", False),
        ("https://fhir.example", "api://AzureADTokenExchange/.default", False),
        ("https://fhir.example", "https://fhir.example/.default https://vault.azure.net/.default", False),
        ("https://fhir.example", "https://fhir.example@vault.azure.net/.default", False),
        ("https://fhir.example", "https://fhir.example:443/.default", False),
        ("https://fhir.example", "https://fhir.example/?x=https://vault.azure.net", False),
        ("https://fhir.example", "https://vault.azure.net/.default", False),
        ("https://fhir.example", "https://storage.azure.com/.default", False),
        ("https://fhir.example", "https://azurehealthcareapis.com/.default", False),
        ("https://azurehealthcareapis.com.example", "https://azurehealthcareapis.com/.default", False),
        ("https://fhir.example", "HTTPS://VAULT.AZURE.NET/.default", False),
        ("https://fhir.example", "00000003-0000-0000-c000-000000000000/.default", False),
        ("https://fhir.example", "https://[", False),
    ],
)
def test_the_gateways_own_identity_gets_no_token_for_azure_to_show_to_a_provider(
    base_url: str, scope: str, allowed: bool
) -> None:
    columns = {"BaseUrl": base_url, "Auth": "managed_identity", "AuthScope": scope}
    if allowed:
        assert parse(**columns).auth.kind is AuthKind.MANAGED_IDENTITY
    else:
        assert wrong(**columns) == "AuthScope"
