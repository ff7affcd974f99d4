"""Every regular expression of `shared`, against strings made to take it back and forth: each ends in a fraction of the
time that a quadratic way through them takes. It is the processor's time: other work on the machine does not count.
"""

import ast
import importlib
import pkgutil
import re
import signal
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import shared

_SECONDS = 0.3
_HEADER, _BODY = 8_192, 20_000
# Only these see bodies; everything else sees no more than a URL, a header, a form's field or a row's column.
_OF_BODIES = (
    "shared.fhir.json_", "shared.fhir.xml_parser", "shared.fhir.charsets", "shared.fhir.xml_writer",
    "shared.fhir.rewriting", "shared.fhir.batch_response", "shared.oauth.token_request",
)  # fmt: skip
# It sees no string without an end, for what it reads was parsed before; tests/fhir/rewriting has its hostile shapes.
_AFTER_PARSING = ("shared.fhir.rewriting.json_links._TOKEN.finditer",)
_METHODS = ("match", "fullmatch", "search", "findall", "finditer", "sub", "subn", "split")
# What repeats, beside the pattern's own characters; each is tried by itself and with each other.
_ALWAYS = ("a", " ", "0", '"')


def uses() -> Iterator[tuple[str, str, str]]:
    """Every compiled pattern among the modules' globals, with each method that its module calls: all by their names."""
    for module in pkgutil.walk_packages(shared.__path__, "shared."):
        loaded = importlib.import_module(module.name)
        patterns = {name for name, value in vars(loaded).items() if isinstance(value, re.Pattern)}
        for node in ast.walk(ast.parse(Path(str(loaded.__file__)).read_text())):
            is_use = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in _METHODS
            if is_use and node.value.id in patterns:
                yield module.name, node.value.id, node.attr


def attacks(pattern: str, length: int) -> Iterator[str]:
    """Strings that begin as the pattern may, repeat what it may repeat, and end as it may not."""
    literals = sorted({character for character in pattern if not character.isalnum() and character.isascii()})
    pieces = [*_ALWAYS, *(character for character in literals if character not in _ALWAYS)]
    opening = re.match(r"[^\\\[(?*+|{]*", pattern)
    starts = {"", opening[0] if opening else "", "<a", '"'}
    for start, (one, two), end in product(starts, product(pieces, pieces), ("", "\0")):
        piece = one if one == two else one + two
        yield start + piece * (length // len(piece)) + end


def give_up(number: int, frame: FrameType | None) -> None:
    raise TimeoutError


@pytest.fixture
def limit() -> Iterator[None]:
    before = signal.signal(signal.SIGVTALRM, give_up)
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


def apply(pattern: re.Pattern[Any], method: str, text: str) -> None:
    given: Any = text if isinstance(pattern.pattern, str) else text.encode()
    if method in ("sub", "subn"):
        pattern.sub(given[:0], given)
    elif method == "finditer":
        for _ in pattern.finditer(given):
            pass
    else:
        getattr(pattern, method)(given)


@pytest.mark.parametrize(
    ("module", "name", "method"), sorted(use for use in set(uses()) if ".".join(use) not in _AFTER_PARSING)
)
def test_no_string_sends_a_pattern_back_and_forth(module: str, name: str, method: str, limit: None) -> None:
    pattern: re.Pattern[Any] = getattr(importlib.import_module(module), name)
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode()
    for text in attacks(source, _BODY if module.startswith(_OF_BODIES) else _HEADER):
        signal.setitimer(signal.ITIMER_VIRTUAL, _SECONDS)
        try:
            apply(pattern, method, text)
        except TimeoutError:
            pytest.fail(f"{text[:20]!r} and so on, {len(text)} characters, takes too long")
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
