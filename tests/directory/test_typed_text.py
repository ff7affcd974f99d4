"""Tenant IDs, files and credentials as people, editors and shells leave them."""

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.directory.typed_text import credential, decoded, parse_tenant_id

GUID = "72f988bf-86f1-41af-91ab-2d7cd011db47"


def test_a_guid_as_people_paste_it_and_nothing_else() -> None:
    for text in (GUID, GUID.upper(), f" {GUID}\n", f"{{{GUID}}}", f" {{ {GUID.upper()} }} ", f"\u00a0{GUID}\u2009"):
        assert parse_tenant_id(text) == GUID
    for text in ("", "{}", GUID[:-1], f"{GUID}0", GUID.replace("-", ""), f"{{{GUID}", f"{GUID}}}", f"{{{{{GUID}}}}}"):
        assert parse_tenant_id(text) is None
    for text in (
        f"({GUID})",
        f"{GUID} {GUID}",
        GUID.replace("7", "\uff17"),
        GUID.replace("f", "g"),
        f"urn:uuid:{GUID}",
    ):
        assert parse_tenant_id(text) is None


@given(st.text() | st.uuids().map(str).map(str.upper) | st.from_regex(r"\{?[0-9A-Fa-f-]{36}\}?"))
def test_what_is_parsed_is_canonical_and_parses_to_itself(text: str) -> None:
    found = parse_tenant_id(text)
    assert found is None or (re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", found, re.ASCII) is not None)
    assert found is None or parse_tenant_id(found) == found


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff")))
def test_a_file_is_text_by_its_mark(encoding: str, text: str) -> None:
    assert decoded(text.encode(encoding)) == text


def test_what_is_no_text_is_no_file() -> None:
    for content in (b"\xff", b"\xe4", b"\xff\xfex", "ü".encode("cp1252")):
        with pytest.raises(UnicodeDecodeError):
            decoded(content)


@pytest.mark.parametrize("value", ["gateway:p4ss", " p4ss ", "-----BEGIN\nx\n-----END-----", "ü"])
def test_a_credential_comes_without_mark_and_last_line_end(value: str) -> None:
    for mark, end in product(("", "\ufeff"), ("", "\n", "\r\n", "\n\n", "\r")):
        assert credential(mark + value + end) == value
