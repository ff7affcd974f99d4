import json
from datetime import UTC, datetime
from random import Random
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
from shared.fhir.resource_types import RESOURCE_TYPES
from shared.fhir.versions import FhirVersion
from shared.settings import is_loopback

GUID = "72f988bf-86f1-41af-91ab-2d7cd011db47"
BASE = "https://hospital.example/fhir"
TOKEN: dict[str, Any] = {
    "AuthTokenUrl": "https://login.example/token?a=b", "AuthClientId": "us", "AuthSecret": "their-secret",
}  # fmt: skip


def row(**columns: object) -> dict[str, object]:
    return {"PartitionKey": GUID, "RowKey": "stu3", "BaseUrl": BASE, **columns}


def parse(local: bool = False, **columns: object) -> Provider:
    return parse_provider(row(**columns), local=local)


def wrong(local: bool = False, **columns: object) -> str:
    """The column that the error names."""
    with pytest.raises(RowError) as raised:
        parse(local, **columns)
    error = raised.value
    assert str(error).startswith("table Tenants, row (")
    assert str(error).endswith(f"column {error.column}: {error.problem}")
    value = str(columns.get(error.column, ""))
    assert len(value) <= 3 or value not in error.problem
    return error.column


def test_a_row_with_a_base_url_alone_takes_the_defaults() -> None:
    stu3 = FhirVersion.STU3
    assert parse() == Provider(
        tenant=GUID, version=stu3, base_url=BASE, name=GUID, enabled=True, auth=ProviderAuth(), extra_headers=(),
        batch=BatchMode.NATIVE, access=Access.READ, types=interface_types(stu3), timeout_seconds=None,
        max_concurrent=DEFAULT_MAX_CONCURRENT,
    )  # fmt: skip
    for version in FhirVersion:
        assert parse(RowKey=version.value).types == interface_types(version)
    assert parse(Types=",").types == interface_types(stu3)
    others = [column for column in COLUMNS if column != "BaseUrl"]
    store = {"Timestamp": "2026-01-01T00:00:00Z", "etag": "x", "odata.etag": "x"}
    assert parse(**dict.fromkeys(others, " ")) == parse(**dict.fromkeys(others)) == parse(**store) == parse()


def test_every_column_has_its_place() -> None:
    columns = dict(
        Name=" Mercy ", Enabled="No", Auth=" Private_Key_JWT", **TOKEN, AuthScope="system/*.read", AuthKeyId="k1",
        AuthCertificate="their-certificate", ExtraHeaders='{"Redox-Source-Id": "abc"}', Batch="SPLIT", Access="Write",
        Types="Patient, Observation,,", TimeoutSeconds="2.5", MaxConcurrent=" 8 ", Search="Post", Total=" Accurate",
        Operations="Patient/$everything , Observation/$lastn,",
        PageOrigins="HTTPS://Pages.example/, https://b.example:8443, https://pages.example:443",
    )  # fmt: skip
    assert {*columns, "BaseUrl", "AuthHeader"} == set(COLUMNS)
    assert parse(**columns) == Provider(
        tenant=GUID, version=FhirVersion.STU3, base_url=BASE, name="Mercy", enabled=False,
        auth=ProviderAuth(
            kind=AuthKind.PRIVATE_KEY_JWT, token_url="https://login.example/token?a=b", client_id="us",
            scope="system/*.read", secret="their-secret", key_id="k1", certificate="their-certificate",
        ),
        extra_headers=(("Redox-Source-Id", "abc"),), batch=BatchMode.SPLIT, access=Access.WRITE,
        types=frozenset({"Patient", "Observation"}), timeout_seconds=2.5, max_concurrent=8, search=SearchMethod.POST,
        accurate_total=True, operations=frozenset({"Patient/$everything", "Observation/$lastn"}),
        page_origins=("https://pages.example", "https://b.example:8443"),
    )  # fmt: skip


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_in_another_case_or_with_spaces_is_that_column_and_holds_no_bytes_or_times(column: str) -> None:
    """A provider says the same, or the same column is wrong."""

    def found(name: str) -> object:
        try:
            return parse_provider({**{k: v for k, v in row().items() if k != column}, name: "x "}, local=False)
        except RowError as error:
            return error.column, error.problem

    for spelt in (column.lower(), column.upper(), f" {column}", f"{column.lower()}  "):
        assert found(spelt) == found(column)
    for value in (b"\x00", datetime(2026, 1, 1, tzinfo=UTC)):
        assert wrong(**{"Auth": "private_key_jwt", **TOKEN, column: value}) == column


def test_a_column_that_stands_there_twice_is_named() -> None:
    for second in ("baseurl", "BASEURL", "BaseUrl ", "BaseURL"):
        assert wrong(**{second: BASE}) == second
    with pytest.raises(RowError, match="is a second column BaseUrl: remove one"):
        parse_provider({"PartitionKey": GUID, "RowKey": "stu3", "BASEURL": BASE, "baseurl": BASE}, local=False)


def test_an_unknown_column_is_named() -> None:
    for column in ("Base Url", "Enable", "Base_Url", "Type", "Name2", "x" * 100):
        assert wrong(**{column: "x"}) == column[:64]


@pytest.mark.parametrize(
    ("column", "field", "values"),
    [
        ("PartitionKey", "tenant", dict.fromkeys((GUID.upper(), f"{{{GUID}}}", f" {GUID} "), GUID)),
        ("RowKey", "version", {" Stu3 ": FhirVersion.STU3, "R4": FhirVersion.R4}),
        ("Name", "name", {12_345_678_901: "12345678901", 15_000_000_000.0: "15000000000", UUID(GUID): GUID}),
        ("Enabled", "enabled", {True: True, "TRUE": True, "yes": True, "1": True}),
        ("Enabled", "enabled", {1.0: True, False: False, "false": False, "no": False, "0": False}),
        ("TimeoutSeconds", "timeout_seconds", {2: 2, 2.5: 2.5, "0.1": 0.1, "220": 220, "30.0": 30}),
        ("MaxConcurrent", "max_concurrent", {5: 5, 64.0: 64, "64.0": 64, "1": 1, "10000": 10_000}),
        ("BaseUrl", "base_url", {f" {BASE}/ ": BASE, f"{BASE}//": BASE}),
        ("BaseUrl", "base_url", {"HTTPS://Hospital.Example/FHIR/R4": "https://hospital.example/FHIR/R4"}),
        ("BaseUrl", "base_url", {"https://[2001:DB8::1]:8443/fhir": "https://[2001:db8::1]:8443/fhir"}),
        ("BaseUrl", "base_url", {url: url for url in ("https://hospital_1.example", "https://10.0.0.1/fhir")}),
        ("BaseUrl", "base_url", {url: url for url in ("https://hospital.example:8443/a-b/c_d/~e/1.0",)}),
    ],
)
def test_a_value_of_any_type_and_spelling_means_what_a_person_sees(
    column: str, field: str, values: dict[Any, object]
) -> None:
    for typed, value in values.items():
        assert getattr(parse(**{column: typed}), field) == value


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("PartitionKey", ["", "contoso.example", GUID[:-1], "x" * 2000, "a\x07b"]),
        ("RowKey", ["", "stu4", "3.0.2", "fhir"]),
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
        ("Auth", ["oauth", "Basic Auth", "none,basic"]),
        ("AuthSecret", ["a b", "a/b", "a_b", "a" * 128, "é", "https://vault.example/secrets/x"]),
        ("AuthSecret", ["client-abc-def", "Client-abc", "token-signing-key", "TOKEN-SIGNING-KEY", "Portal-Cookie-Key"]),
        ("AuthCertificate", ["client-abc-def", "token-signing-key", "a.pem"]),
        ("AuthTokenUrl", ["https://login.example/a\\b", "http://login.example/token", "login.example"]),
        ("AuthTokenUrl", ["https://u:p@login.example", "https://a b"]),
        *((column, ["Zo\udceb"]) for column in ("Name", "AuthClientId", "AuthScope")),  # of another encoding
        ("ExtraHeaders", ["Redox-Source-Id: abc", "[]", '"a"', "null", '{"a": 1}', '{"a": null}', '{"a": ["b"]}']),
        ("ExtraHeaders", ['{"": "a"}', '{"a b": "c"}', '{"a": "b\\r\\nc: d"}', '{"a": "é"}', '{"HOST": "evil"}']),
        ("ExtraHeaders", ['{"Authorization": "Bearer x"}', '{"X-Forwarded-Host": "evil.example"}']),
        ("ExtraHeaders", ['{"Proxy-Authorization": "x"}', '{"content-type": "text/html"}']),
        ("ExtraHeaders", ["[" * 5000, '{"a": ' + "1" * 5000 + "}"]),
    ],
)
def test_a_wrong_value_is_named_by_its_column_and_not_told(column: str, values: list[object]) -> None:
    for value in values:
        assert wrong(**{"Auth": "private_key_jwt", **TOKEN, column: value}) == column
        assert column != "RowKey" or parse_version(str(value)) is None


@pytest.mark.parametrize(
    "urls",
    [
        [None, "", " ", "hospital.example/fhir", "https://", "https:///fhir", "https:hospital.example"],
        [f"{scheme}hospital.example/fhir" for scheme in ("http://", "ftp://", "file:///", "HTTP://", "//")],
        [f"https://{user}@hospital.example/fhir" for user in ("user", "user:secret", ":secret")],
        ["https://hospital.example@evil.example/fhir", "https://hospital.example\\@evil.example/fhir"],
        [f"https://hospital.example:{port}/fhir" for port in ("0", "99999", "", "x")],
        [f"{BASE}{rest}" for rest in ("?a=b", "#a", "/metadata", "/metadata/")],
        [f"https://hospital.example/{path}" for path in ("a/../b", "./b", ".../b", "a//b", "a%2Fb", "a;b", "a b")],
        ["https://hospital.example/\r\nX: y", "https://hospital.exa\tmple/fhir", "https://hospital%2eexample/fhir"],
        ["https://hospital,example/fhir", "https://höspital.example/fhir", "https://[::1/fhir", "https://[x]/fhir"],
    ],
)
def test_what_is_no_base_url(urls: list[str | None]) -> None:
    for url in urls:
        assert wrong(BaseUrl=url) == "BaseUrl"


JWT: dict[str, Any] = {"BaseUrl": BASE, "Auth": "private_key_jwt", **TOKEN}
MISTAKES: dict[str, list[object]] = {
    "PartitionKey": ["contoso", ""], "RowKey": ["stu4"], "BaseUrl": ["", "http://h.example", b"\0"],
    "Enabled": ["maybe"], "PageOrigins": ["*"], "AuthTokenUrl": ["login.example", ""], "AuthClientId": ["", b"\0"],
    "AuthScope": [b"\0", "\udceb"], "AuthHeader": ["X-Api-Key"], "AuthSecret": ["a b", ""], "AuthKeyId": [b"\0"],
    "AuthCertificate": ["a.pem"], "ExtraHeaders": ["{", '{"Host": "x"}'], "Access": ["rw"], "Name": [b"\0"],
    "Types": ["Pateint", "Patient,Condtion"], "Operations": ["Patient/$everthing", "Pateint/$lastn"],
    "Batch": ["yes"], "Search": ["both"], "Total": ["none"], "TimeoutSeconds": ["0"], "MaxConcurrent": ["0"],
    "Enable": ["x"], "Base Url": [""],
}  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(list(MISTAKES)), st.integers(0, 2), min_size=1), st.randoms(use_true_random=False)
)
def test_all_mistakes_of_a_row_are_told_at_once_and_go_one_by_one(wrong: dict[str, int], random: Random) -> None:
    typed = row(**JWT) | {column: MISTAKES[column][place % len(MISTAKES[column])] for column, place in wrong.items()}
    left = list(wrong)
    random.shuffle(left)
    while left:
        with pytest.raises(RowError) as raised:
            parse_provider(typed, local=False)
        problems = dict(raised.value.problems)
        assert set(problems) == set(left)
        assert all(f"column {column}: {problem}" in str(raised.value) for column, problem in problems.items())
        mended = left.pop()
        typed = {**typed, mended: row(**JWT).get(mended)}
        if typed[mended] is None:
            del typed[mended]
    parse_provider(typed, local=False)


def test_on_a_laptop_http_is_for_loopback_only() -> None:
    for host in ("127.0.0.1:9000", "localhost"):
        assert parse(True, BaseUrl=f"http://{host}/fhir/").base_url == f"http://{host}/fhir"
        assert wrong(BaseUrl=f"http://{host}/fhir/") == "BaseUrl"
    for host in ("hospital.example", "localhost.example", "127.0.0.1.example", "127.0.0.1@hospital.example"):
        assert wrong(True, BaseUrl=f"http://{host}/fhir") == "BaseUrl"
    assert wrong(True, BaseUrl="http://127.0.0.1%2ehospital.example/fhir") == "BaseUrl"


# For every kind of authentication: a row of it with no more than it needs, and what else it may have.
SECRET = {"AuthSecret": "their-secret"}
KINDS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "none": ({}, {"AuthCertificate"}),
    "basic": (SECRET, {"AuthClientId", "AuthCertificate"}),
    "header": ({"AuthHeader": "X-Api-Key", **SECRET}, {"AuthCertificate"}),
    "client_secret_post": (TOKEN, {"AuthScope", "AuthCertificate"}),
    "client_secret_basic": (TOKEN, {"AuthScope", "AuthCertificate"}),
    "entra": ({"AuthClientId": "us", **SECRET}, {"AuthTokenUrl", "AuthScope", "AuthCertificate"}),
    "managed_identity": ({}, {"AuthClientId", "AuthScope", "AuthCertificate"}),
    "private_key_jwt": (TOKEN, {"AuthScope", "AuthKeyId", "AuthCertificate"}),
    "redox_legacy": (TOKEN, {"AuthCertificate"}),
    "mtls": ({"AuthSecret": "their-certificate"}, set()),
}
ALL = {"AuthHeader": "X-Api-Key", "AuthKeyId": "k1", "AuthCertificate": "their-certificate"} | TOKEN
ALL |= {"AuthScope": f"{BASE}/.default"}


def test_every_choice_and_example_of_a_column_is_taken() -> None:
    for column in ALL_COLUMNS:
        for value, _ in column.choices:
            parse(**({"Auth": value, **KINDS[value][0]} if column.name == "Auth" else {column.name: value}))
        assert column.example in [value for value, _ in column.choices] or not column.choices
    assert set(KINDS) == {kind.value for kind in AuthKind} | {"mtls"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_takes_what_it_needs_and_what_it_may_have_and_no_more(kind: str) -> None:
    needed, allowed = KINDS[kind]
    found = parse(Auth=kind, **needed).auth
    assert found.kind.value == ("none" if kind == "mtls" else kind)
    assert kind != "mtls" or found == ProviderAuth(certificate="their-certificate")
    for column in needed:
        assert wrong(Auth=kind, **{**needed, column: ""}) == column
    for column in ALL.keys() - needed:
        columns = {"Auth": kind, **needed, column: ALL[column]}
        if column in allowed:
            assert parse(**columns).auth != found
        else:
            assert wrong(**columns) == column


@pytest.mark.parametrize(
    ("version", "column", "typed", "problem"),
    [
        ("stu3", "Types", "Pateint", "is no resource type of STU3: did you mean Patient?"),
        ("r4", "Types", "patient", "is no resource type of R4: did you mean Patient?"),
        ("r4", "Types", "Patient,Xyz", "item 2 is no resource type of R4"),
        ("r4", "Types", "MedicationOrder", "is no resource type of R4, but of DSTU2"),
        ("dstu2", "Types", "Patient,Condtion,MedicationRequest",
         "item 2 is no resource type of DSTU2: did you mean Condition?; "
         "item 3 is no resource type of DSTU2, but of STU3, R4, R4B, R5"),
        ("r9", "Types", "Pateint", "is no resource type of FHIR: did you mean Patient?"),
        ("r4", "Operations", "Obsrvation/$lastn", "is no resource type of R4: did you mean Observation?"),
        ("r4", "Operations", "Patient/$everyting", "is no operation of FHIR: did you mean everything?"),
        ("r4", "Types", ",".join(["Xyz"] * 9_000), "; ".join(f"item {n} is no resource type of R4" for n in (1, 2, 3))),
    ],
)  # fmt: skip
def test_a_type_or_operation_spelt_wrong_is_told_with_the_nearest_right_one(
    version: str, column: str, typed: str, problem: str
) -> None:
    with pytest.raises(RowError) as raised:
        parse(RowKey=version, **{column: typed})
    assert dict(raised.value.problems)[column] == problem


@given(st.sampled_from(FhirVersion), st.data())
def test_types_of_the_version_are_taken_and_one_with_a_slip_is_not(version: FhirVersion, data: st.DataObject) -> None:
    types = sorted(RESOURCE_TYPES[version])
    parse(RowKey=version.value, Types=",".join(types), Operations="Patient/$a-custom-one,Patient/$match")
    right = data.draw(st.sampled_from(types))
    place = data.draw(st.integers(1, len(right) - 1))
    slip = right[:place] + right[place + 1 :]
    with pytest.raises(RowError) as raised:
        parse(RowKey=version.value, Types=slip)
    assert "did you mean" in raised.value.problem or "but of" in raised.value.problem


def test_a_header_may_carry_a_credential_and_nothing_that_the_gateway_sets() -> None:
    for name in ("X Api Key", "X-Api-Key:", "X\r\nY", "é", "Host", "content-length", "TE", "Accept"):
        assert wrong(Auth="header", AuthSecret="their-secret", AuthHeader=name) == "AuthHeader"
    for name in ("Authorization", "cookie", "Ocp-Apim-Subscription-Key"):
        assert parse(Auth="header", AuthSecret="their-secret", AuthHeader=name).auth.header == name


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
values |= st.sampled_from(["none", "basic", "mtls", BASE, "X-Key", "a-secret", '{"a":"b"}', "split", "Patient", "7"])
columns = st.sampled_from(["PartitionKey", "RowKey", *COLUMNS]) | st.text(max_size=5)


@given(st.dictionaries(columns, values), st.booleans())
def test_no_row_raises_anything_but_a_row_error(columns: dict[str, object], local: bool) -> None:
    told = ""
    try:
        parse_provider({**row(), **columns}, local=local)
    except RowError as error:
        told = str(error)
    assert told == "" or told.isprintable()


hosts = st.sampled_from(["localhost", "127.0.0.1", "[::1]", "hospital.example", "127.0.0.1.example", "10.0.0.1"])


@given(
    scheme=st.sampled_from(["https", "http", "HTTP", "ftp", ""]) | st.text(max_size=4),
    separator=st.sampled_from(["://", ":", ":/", "//", ":\\\\"]),
    host=hosts | st.text("abc.:@[]%\\/#?127 0", max_size=12),
    rest=st.text("/.?#%2eFf:;@\\ab", max_size=12),
    local=st.booleans(),
)
def test_a_base_url_is_https_or_http_to_loopback_on_a_laptop_and_stays_below_its_path(
    scheme: str, separator: str, host: str, rest: str, local: bool
) -> None:
    try:
        found = parse(local, BaseUrl=f"{scheme}{separator}{host}{rest}").base_url
    except RowError:
        return
    parts = urlsplit(found)
    assert parts.scheme == "https" or (local and parts.scheme == "http" and is_loopback(parts.hostname))
    assert parts.geturl() == found
    assert (parts.query, parts.fragment, parts.username) == ("", "", None)
    assert not found.endswith("/")
    assert not {"", ".", ".."} & set(parts.path.split("/")[1:])
    assert parse(local, BaseUrl=found).base_url == found


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=10) | st.integers(), max_size=3))
def test_extra_headers_can_never_hold_a_line_break(headers: dict[str, object]) -> None:
    try:
        found = parse(ExtraHeaders=json.dumps(headers)).extra_headers
    except RowError:
        return
    assert all(text.isascii() and text.isprintable() for header in found for text in header)


AZURE = "https://ws-fhir.fhir.azurehealthcareapis.com"
OWN = "https://fhir.example"
REFUSED_SCOPES = [
    "api://8c1d/.default", "api://AzureADTokenExchange/.default", "https://vault.azure.net/.default",
    "https://storage.azure.com/.default", "https://azurehealthcareapis.com/.default", "HTTPS://VAULT.AZURE.NET/.default",
    "https://fhir.example/.default https://vault.azure.net/.default", "https://fhir.example@vault.azure.net/.default",
    "https://fhir.example:443/.default", "https://fhir.example/?x=https://vault.azure.net",
    "00000003-0000-0000-c000-000000000000/.default", "https://[",
]  # fmt: skip


def test_the_gateways_own_identity_gets_no_token_for_azure_to_show_to_a_provider() -> None:
    for base_url, scopes in (
        (AZURE, ["", f"{AZURE}/.default", "https://azurehealthcareapis.com/.default"]),
        (OWN, [f"{OWN}/.default", OWN, f"{OWN}/fhir/.default"]),
    ):
        for scope in scopes:
            auth = parse(BaseUrl=base_url, Auth="managed_identity", AuthScope=scope).auth
            assert auth.kind is AuthKind.MANAGED_IDENTITY
    for scope in REFUSED_SCOPES:
        assert wrong(BaseUrl=OWN, Auth="managed_identity", AuthScope=scope) == "AuthScope"
    alike = {"BaseUrl": "https://azurehealthcareapis.com.example", "AuthScope": REFUSED_SCOPES[4]}
    assert wrong(Auth="managed_identity", **alike) == "AuthScope"
