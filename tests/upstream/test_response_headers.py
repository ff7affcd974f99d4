import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from shared.fhir.interaction import Interaction, InteractionKind
from shared.fhir.policy import Permissions
from shared.fhir.rewriting import LinkMap
from shared.fhir.versions import FhirVersion
from shared.upstream.response_headers import response_headers

PROVIDER, GATEWAY = "https://provider.example/fhir", "https://gateway.example/stu3"
LINKS = LinkMap((PROVIDER,), GATEWAY)
READ = Interaction(InteractionKind.READ, "Patient/1", "Patient", "1")
READER = Permissions(frozenset({"Patient"}), version=FhirVersion.R4)
WRITER = Permissions(frozenset({"Patient"}), write=True, version=FhirVersion.R4)


def down(headers: list[tuple[str, str]], permissions: Permissions = READER) -> dict[str, str]:
    return response_headers(CIMultiDict(headers), f"{PROVIDER}/Patient/1", READ, permissions, LINKS)


NAMES = ["ETag", "Location", "Content-Location", "Content-Type", "Allow", "Retry-After", "Link", "Expires", "Warning"]
VALUES = [
    "//[", "https://[x]/", "\udcff", "\u00fc", f"{PROVIDER}/Patient/\u00fc", f"{PROVIDER}/a", "a b",
    f'299 - "see {PROVIDER}/a and <{PROVIDER}>"',
]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.text() | st.sampled_from(VALUES))))
@example([("Location", "//["), ("Content-Location", "https://[x]/"), ("ETag", "\udcff")])
def test_any_header_comes_down_as_one_that_can_be_sent_or_not_at_all(headers: list[tuple[str, str]]) -> None:
    for name, value in down(headers).items():
        assert re.fullmatch(r"[\x20-\x7e\t]+", value)
        assert name not in ("Location", "Content-Location") or value.startswith(GATEWAY)
        assert name not in ("Link", "Expires")
        assert name != "Warning" or PROVIDER not in value


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (
            [("Content-Language", "de"), ("X", "1"), ("content-language", "en"), ("ETag", '"1"'), ("ETag", '"2"')],
            {"Content-Language": "de, en", "ETag": '"1"'},
        ),
        ([("Content-Type", "application/json;x=1")], {"Content-Type": "application/json; charset=utf-8"}),
        ([("Content-Type", "text/html")], {"Content-Type": "text/html"}),
        ([("Content-Type", "")], {}),
    ],
)
def test_headers_come_down_once_each(given: list[tuple[str, str]], found: dict[str, str]) -> None:
    assert down(given) == found


@pytest.mark.parametrize(
    ("given", "permissions", "allowed"),
    [
        (["GET, HEAD, PUT, DELETE, TRACE"], READER, "GET, HEAD"),
        (["GET", "PUT, PATCH , GET"], WRITER, "GET, PUT, PATCH"),
        (["PUT"], READER, None),
        ([], READER, None),
    ],
)
def test_allow_names_what_policy_lets_through(given: list[str], permissions: Permissions, allowed: str | None) -> None:
    assert down([("Allow", value) for value in given], permissions).get("Allow") == allowed


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", ["GET,", "{}, ", "../", "{}/", "%2e/", "a;", "\t", f"{PROVIDER}/", "//"])
def test_a_header_as_large_as_is_read_takes_less_than_50_milliseconds(name: str, part: str) -> None:
    value = "".join(part.format(f"{number:x}") for number in range(131_072 // len(part)))[:131_072]
    began = time.thread_time()
    down([(name, value)], WRITER)
    assert time.thread_time() - began < 0.05


@pytest.mark.parametrize(
    ("location", "asked", "mapped"),
    [
        (f"{PROVIDER}/Patient/1/_history/2", "Patient/1", "Patient/1/_history/2"),
        ("Patient/1/_history/2", "Patient/1", "Patient/1/_history/2"),
        ("Patient/1", "Patient", "Patient/1"),
        ("1/_history/2", "Patient/1", "Patient/1/_history/2"),
        ("/fhir/Patient/1", "Patient", "Patient/1"),
        ("/Patient/1", "Patient", "Patient/1"),
        ("https://elsewhere.example/Patient/1", "Patient", None),
    ],
)
def test_a_relative_location_is_where_the_provider_means_it(location: str, asked: str, mapped: str | None) -> None:
    headers = response_headers(CIMultiDict({"Location": location}), f"{PROVIDER}/{asked}", READ, READER, LINKS)
    assert headers.get("Location") == (None if mapped is None else f"{GATEWAY}/{mapped}")
