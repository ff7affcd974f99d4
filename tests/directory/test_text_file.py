"""Files and credentials as editors and shells leave them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.directory.typed_text import credential, decoded


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff")))
def test_a_file_is_text_by_its_mark(encoding: str, text: str) -> None:
    assert decoded(text.encode(encoding)) == text


@pytest.mark.parametrize("content", [b"\xff", b"\xe4", b"\xff\xfex", "ü".encode("cp1252")])
def test_what_is_no_text_is_no_file(content: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        decoded(content)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n", "\r"])
@pytest.mark.parametrize("value", ["gateway:p4ss", " p4ss ", "-----BEGIN\nx\n-----END-----", "ü"])
def test_a_credential_comes_without_mark_and_last_line_end(mark: str, value: str, end: str) -> None:
    assert credential(mark + value + end) == value
