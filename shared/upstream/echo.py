"""A provider that sends the gateway's credential back, as debugging pages do: its response is not passed on."""

import asyncio
import base64
import binascii
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from msgspec import Struct

MIN_SECRET = 12  # characters; a shorter one may stand in any text by chance
_MAX_SOUGHT = 40  # characters; the end of a token, its signature, is as unmistakable as the whole
_SLICE = 64 * 1024  # bytes looked at between two pauses
_LONGEST_ESCAPE = 16  # `\\u0026#x00000041;`


def secrets_of(proof: Mapping[str, str]) -> frozenset[str]:
    """The secrets in the headers that authenticate the gateway: tokens, passwords and keys. They must not come back."""
    found: set[str] = set()
    for value in proof.values():
        scheme, _, token = value.partition(" ")
        found.add(token.strip() or value)
        if scheme.lower() == "basic":
            try:
                user_and_password = base64.b64decode(token).decode()
            except (binascii.Error, UnicodeDecodeError):
                continue
            found |= {user_and_password, user_and_password.partition(":")[2]}
    return frozenset(secret[-_MAX_SOUGHT:] for secret in found if len(secret) >= MIN_SECRET and secret.isascii())


async def echoes(secrets: Iterable[str], headers: Mapping[str, str], body: bytes) -> bool:
    """Whether headers or body, in UTF-8, hold one of the secrets, in whatever escapes of JSON, XML, HTML or URLs."""
    sought = [_spellings(secret) for secret in secrets]
    if not sought:
        return False
    values = "\n".join(headers.values()).encode("utf-8", "surrogateescape")
    if _any_is_in(sought, values, 0, len(values)):
        return True
    for start in range(0, len(body), _SLICE):
        if start:
            await asyncio.sleep(0)
        if _any_is_in(sought, body, start, start + _SLICE):
            return True
    return False


class _Spellings(Struct, frozen=True):
    """A secret as it is, all its spellings, and what an escape of one of its characters looks like.

    `signs` are how an escape may begin. `places` are those of a character by itself and the byte before it; `reach` is
    the length of the longest spelling.
    """

    plain: bytes
    whole: re.Pattern[bytes]
    escape: re.Pattern[bytes]
    signs: tuple[bytes, ...]
    places: Mapping[tuple[int, int], tuple[int, ...]]
    reach: int


def _any_is_in(sought: Sequence[_Spellings], text: bytes, start: int, end: int) -> bool:
    """Whether a secret stands in the text and begins between `start` and `end`, or a little before."""
    if any(text.find(known.plain, start, end + len(known.plain)) >= 0 for known in sought):
        return True
    limit = end + max(known.reach for known in sought)
    if not any(_holds(text, sign, start, limit) for sign in {sign for known in sought for sign in known.signs}):
        return False
    return any(_is_in(known, text, start, end) for known in sought)


def _holds(text: bytes, sign: bytes, start: int, end: int) -> bool:
    """Whether a sign stands between two places: twenty times as fast as a pattern, and again ten for one byte of it."""
    return all(text.find(byte, start, end) >= 0 for byte in sign) and text.find(sign, start, end) >= 0


def _is_in(known: _Spellings, text: bytes, start: int, end: int) -> bool:
    plain, whole = known.plain, known.whole
    for escape in known.escape.finditer(text, start, min(end + known.reach, len(text))):
        # Up to its first escape the secret is spelt as it is.
        at = escape.start()
        if whole.match(text, at):
            return True
        for character in _decoded(escape) if at else ():
            for place in known.places.get((text[at - 1], character), ()):
                if text.startswith(plain[:place], max(at - place, 0)) and whole.match(text, max(at - place, 0)):
                    return True
    return False


def _decoded(escape: re.Match[bytes]) -> tuple[int, ...]:
    """The characters that an escape may stand for: `\\u0026#65;` is "&" in JSON, and "A" in XML inside JSON."""
    number, letter, percent, entity = escape.groups()
    if letter is not None:
        return (letter[0],)
    if number is not None or percent is not None:
        return (int(number or percent, 16),)
    in_xml = ord(html.unescape(f"&{entity.decode()}"))
    return (in_xml, ord("&")) if escape[0].startswith(b"\\") else (in_xml,)


_ENTITIES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}


@lru_cache(maxsize=256)
def _spellings(secret: str) -> _Spellings:
    plain = secret.encode()
    places: dict[tuple[int, int], tuple[int, ...]] = {}
    for place in range(1, len(plain)):
        key = plain[place - 1], plain[place]
        places[key] = (*places.get(key, ()), place)
    characters = sorted(set(secret))
    numbers = "|".join(map(_hexadecimal, characters))
    entities = "|".join(map(_entity, characters))
    letters = re.escape("".join(set('"\\/') & set(secret)))
    # It begins with a set of characters, which lets `re` skip to the next of them quickly.
    escape = (
        rf"[&\\%](?:(?<=\\)(?:u00(?=2|3|4|5|6|7)({numbers})(?!(?<=26)(?:{entities}))"
        rf"{f'|([{letters}])' if letters else '|(?!)()'})|(?<=%)({numbers})|(?:(?<=&)|(?<=\\)u0026)({entities}))"
    )
    whole = "".join(f"(?:{re.escape(character)}|{_escapes(character)})" for character in secret)
    signs = [rb"\u00", b"&#", b"%"]
    signs += [f"\\{letter}".encode() for letter in '"\\/' if letter in secret]
    signs += [f"&{name};".encode() for character, name in _ENTITIES.items() if character in secret]
    return _Spellings(
        plain,
        re.compile(whole.encode()),
        re.compile(escape.encode()),
        tuple(signs),
        places,
        _LONGEST_ESCAPE * len(plain),
    )


def _hexadecimal(character: str) -> str:
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{ord(character):02x}")


def _entity(character: str) -> str:
    """The pattern of a character reference after its "&"."""
    named = f"|{_ENTITIES[character]};" if character in _ENTITIES else ""
    return f"#0*+{ord(character)};|#[xX]0*+{_hexadecimal(character)};{named}"


def _escapes(character: str) -> str:
    number = _hexadecimal(character)
    letter = rf"|\\{re.escape(character)}" if character in '"\\/' else ""
    return rf"\\u00{number}|%{number}|(?:&|\\u0026)(?:{_entity(character)}){letter}"
