"""A credential that comes back is found however it is spelt, and nothing else is taken for one."""

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.upstream.echo import MIN_SECRET, echoes, secrets_of

TOKEN = 'eyJ0eXAi+/=.a&b"c\\d-_~<e>'


def numbered(text: str) -> str:
    return "".join(f"\\u{ord(character):04X}" for character in text)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON with slashes escaped": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON by numbers": numbered,
    "JSON as .NET writes it": lambda text: json.dumps(text)[1:-1].replace("+", "\\u002B").replace("&", "\\u0026"),
    "XML": html.escape,
    "XML by decimals": lambda text: "".join(f"&#{ord(character)};" for character in text),
    "XML by hexadecimals": lambda text: "".join(f"&#x00{ord(character):x};" for character in text),
    "XML in JSON": lambda text: "".join(f"\\u0026#{ord(character)};" for character in text),
    "a URL": lambda text: quote(text, safe=""),
    "its last character escaped": lambda text: text[:-1] + numbered(text[-1]),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("size", [0, 10, 262_144 - 30, 300_000])
async def test_a_secret_is_found_in_every_spelling(spelling: str, size: int) -> None:
    body = b" " * size + SPELLINGS[spelling](TOKEN).encode() + b" " * 100
    assert await echoes({TOKEN}, {}, body)
    assert not await echoes({TOKEN[:-1] + "x"}, {}, body)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=MIN_SECRET, max_size=40), st.data())
async def test_any_mixture_of_escapes_is_seen_through(secret: str, data: st.DataObject) -> None:
    ways = list(SPELLINGS.values())
    body = "".join(data.draw(st.sampled_from(ways))(character) for character in secret)
    assert await echoes({secret}, {}, f'{{"x": "{body}"}}'.encode())


async def test_a_secret_in_a_header_is_found() -> None:
    assert await echoes({TOKEN}, {"X-Debug": f"Bearer {TOKEN}"}, b"{}")
    assert not await echoes({TOKEN}, {"X-Debug": "Bearer"}, b"{}")


def test_what_must_not_come_back_is_long_enough_to_be_unmistakable() -> None:
    basic = base64.b64encode(b"gateway:correct horse").decode()
    assert secrets_of({"Authorization": "Bearer abcdefghijklmnop"}) == {"abcdefghijklmnop"}
    assert secrets_of({"Authorization": f"Basic {basic}"}) == {basic, "gateway:correct horse", "correct horse"}
    assert secrets_of({"X-Api-Key": "abcdefghijklmnop"}) == {"abcdefghijklmnop"}
    assert secrets_of({"X-Api-Key": "short"}) == secrets_of({}) == frozenset()
