from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.functions_host.target import decode_path, encode_path, query_params

segments = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: text not in (".", "..")
)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/", "/"),
        ("/stu3/Patient%20x", "/stu3/Patient x"),
        ("/%73tu3", "/stu3"),
        ("/a%2Fb%2fc", "/a%2Fb%2fc"),
        ("/%252F", "/%2F"),
        ("/%C3%BC", "/ü"),
        ("/%C3%2F%fC%41", "/%C3%2F%fCA"),
        ("/%E4%B8", "/%E4%B8"),
        ("/%ED%A0%80", "/%ED%A0%80"),
        ("/100%", "/100%"),
        ("/%zz", "/%zz"),
        ("/a\\b", "/a\\b"),
        ("/a/../b", "/b"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/..%2Fb", "/a/..%2Fb"),
        ("/../../a", "/a"),
        ("/..", "/"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/a/./b/", "/a/b/"),
        ("/a//../b", "/a/b"),
        ("/a/.b/..c", "/a/.b/..c"),
    ],
)
def test_a_path_is_decoded_once_and_then_loses_its_dot_segments(raw: str, path: str) -> None:
    assert decode_path(raw) == path


def test_a_null_character_is_refused() -> None:
    with pytest.raises(ValueError, match="null"):
        decode_path("/a%00b")


@pytest.mark.parametrize(
    ("path", "encoded"),
    [
        ("/stu3/Patient/1", "/stu3/Patient/1"),
        ("/a b", "/a%20b"),
        ("/a|b", "/a%7Cb"),
        ("/ü", "/%C3%BC"),
        ("/a%2Fb%2fc", "/a%2Fb%2fc"),
        ("/100%", "/100%25"),
        ("/%zz", "/%25zz"),
        ("/a?b#c\\", "/a%3Fb%23c%5C"),
        ("/$!&'()*+,-.:;=@_~", "/$!&'()*+,-.:;=@_~"),
    ],
)
def test_a_url_has_the_path_encoded_anew(path: str, encoded: str) -> None:
    assert encode_path(path) == encoded


@given(segments)
def test_any_text_survives_decoding_except_the_slash(text: str) -> None:
    assert decode_path("/" + quote(text, safe="")) == "/" + text.replace("/", "%2F")


@given(st.text("ab%./24CcFf", max_size=30).map("/".__add__))
def test_a_handed_on_path_is_ascii_and_has_no_dot_segments_left(raw: str) -> None:
    handed_on = encode_path(decode_path(raw))
    assert handed_on.startswith("/")
    assert handed_on.isascii()
    assert not {".", ".."} & set(handed_on.split("/"))


@given(segments)
def test_encoding_loses_nothing(text: str) -> None:
    assert unquote(encode_path("/" + text.replace("%", ""))) == "/" + text.replace("%", "")


def test_params_join_repeats_merge_spellings_and_lose_empty_values() -> None:
    query = "date=ge2020&date=le2021&_sort:desc=date&Name=a&name=b&empty=&bare&x=1%2C2+3"
    assert query_params(query) == {"date": "ge2020,le2021", "_sort:desc": "date", "Name": "a,b", "x": "1,2 3"}
