"""The rewriting of JSON against a slow reference that walks the parsed document, on generated documents."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.fhir.document import run
from shared.fhir.json_escapes import plain as undone
from shared.fhir.rewriting import LinkMap, rewrite_json

HERE = "https://provider.example/fhir"
THERE = "https://gateway.example/stu3"
DOWN = LinkMap((HERE,), THERE)

NAMES = [
    *("reference", "fullUrl", "location", "url", "link", "request", "implementation", "photo", "valueAttachment"),
    *("content", "div", "diagnostics", "details", "text", "extension", "resource", "entry", "system", "display"),
    *("", 'x"reference', "link\\", "é", "Reference", "_reference"),
]
CANONICAL = [HERE, f"{HERE}/Patient/1", f"{HERE}?_getpages=1&x=|", f"{HERE}/", f"{HERE}/1.2/_history/3#x"]
OTHERS = [
    *(f"{HERE}2/x", f"{HERE}/../x", f"{HERE}/.", f"{HERE}/%2E%2e/x", f"{HERE}/a/..%2fb", f"{HERE}\\x", f" {HERE}"),
    *("https://provider.example:8080/fhir", "https://u@provider.example/fhir", "ftp://provider.example/fhir"),
    *("urn:uuid:1", "/r4/Patient?page=2", "", "é\U0001f600", '"reference":"' + HERE, "\\", '"', "{[", "}]", "link"),
    f"{HERE}?next={HERE}/x",
]
SPELLINGS = [
    "http://Provider.EXAMPLE:80/fhir/x",
    "HTTPS://provider.example:443/fhir",
    "https://provider.example:/fhir/x",
]
TEXTS = [f"no {HERE}/Patient/1.", f"({HERE}), {HERE}2", f"{HERE}: down", f"x{HERE} {HERE}/../x {HERE}"]
DIVS = [
    f"<div xmlns='http://www.w3.org/1999/xhtml'><a href=\"{HERE}/1?a=1&amp;b=2\" title='{HERE}'>{HERE}</a></div>",
    f"<div><!-- <a href='{HERE}'> --><img alt='>' src='{HERE}/Binary/1'/>href='{HERE}'<a href='{HERE}2'/></div>",
]

IN_TEXT = {
    TEXTS[0]: f"no {THERE}/Patient/1.",
    TEXTS[1]: f"({THERE}), {HERE}2",
    TEXTS[2]: f"{THERE}: down",
    TEXTS[3]: f"x{HERE} {HERE}/../x {THERE}",
    DIVS[0]: DIVS[0].replace(HERE, THERE),
    DIVS[1]: DIVS[1].replace(HERE, THERE).replace(f"{THERE}2", f"{HERE}2"),
    f" {HERE}": f" {THERE}",
    f"{HERE}\\x": f"{THERE}\\x",
    f'"reference":"{HERE}': f'"reference":"{THERE}',
    f"{HERE}?next={HERE}/x": f"{THERE}?next={THERE}/x",
}
IN_DIV = {
    DIVS[0]: DIVS[0].replace(f'href="{HERE}', f'href="{THERE}'),
    DIVS[1]: DIVS[1].replace(f"src='{HERE}", f"src='{THERE}").replace(f"<a href='{HERE}'", f"<a href='{THERE}'"),
}


class Members(tuple[tuple[str, Any], ...]):
    """A JSON object with its members in order, repeated ones too."""


class Number(str):
    """A number as it was written."""


def strings(urls: list[str]) -> st.SearchStrategy[str]:
    return st.sampled_from(urls + OTHERS + TEXTS + DIVS)


def documents(urls: list[str]) -> st.SearchStrategy[Any]:
    numbers = st.sampled_from(["72.0", "1.10", "1E400", "-0.0", "0", "12345678901234567890"]).map(Number)
    scalars = strings(urls) | numbers | st.sampled_from([None, True, False])
    return st.recursive(
        scalars,
        lambda children: (
            st.lists(children, max_size=4)
            | st.lists(st.tuples(st.sampled_from(NAMES), children), max_size=5).map(Members)
        ),
        max_leaves=25,
    )


@dataclass(frozen=True)
class Writer:
    """How a serializer writes: the space between tokens, and each character of a string."""

    space: Callable[[], str]
    character: Callable[[str], str]

    def write(self, node: Any) -> str:
        space = self.space
        if isinstance(node, Number):
            return str(node)
        if isinstance(node, str):
            return '"' + "".join(map(self.character, node)) + '"'
        if isinstance(node, Members):
            members = (f"{space()}{self.write(name)}{space()}:{self._item(value)}" for name, value in node)
            return "{" + (",".join(members) or space()) + "}"
        if isinstance(node, list):
            return "[" + (",".join(map(self._item, node)) or space()) + "]"
        return json.dumps(node)

    def _item(self, node: Any) -> str:
        return f"{self.space()}{self.write(node)}{self.space()}"


def escaped(character: str) -> str:
    return "".join(f"\\u{unit:04x}" for unit in memoryview(character.encode("utf-16-le")).cast("H"))


def plain(character: str) -> str:
    return {'"': '\\"', "\\": "\\\\", "\n": "\\n"}.get(character, character)


def dotnet(character: str) -> str:
    return escaped(character) if character in "\"'<>&+`" or character > "~" else plain(character)


def php(character: str) -> str:
    return "\\/" if character == "/" else plain(character)


STABLE = [plain, dotnet, php]


@st.composite
def bodies(draw: st.DrawFn, urls: list[str], characters: list[Callable[[str], str]]) -> bytes:
    random = draw(st.randoms(use_true_random=False))
    spaces = draw(st.sampled_from([[""], ["", " "], ["\r\n\t ", "", "\n"]]))
    character = draw(st.sampled_from(characters))
    document = draw(documents(urls))
    if draw(st.booleans()):
        one_link = st.tuples(st.tuples(st.just("url"), strings(urls))).map(Members)
        links = draw(st.lists(documents(urls) | one_link, max_size=4) | st.lists(one_link, max_size=3) | one_link)
        around = draw(st.lists(st.tuples(st.sampled_from(NAMES), documents(urls)), max_size=2))
        members = [("type", "x"), ("link", links), ("entry", document), *around]
        document = Members(draw(st.permutations(members)))

    def some(text: str) -> str:
        return escaped(text) if random.random() < 0.1 else plain(text)

    writer = Writer(lambda: random.choice(spaces), some if character is escaped else character)
    return writer.write(document).encode()


def parse(body: bytes) -> Any:
    return json.loads(body, object_pairs_hook=Members, parse_float=Number, parse_int=Number)


# --- the slow reference -----------------------------------------------------------------------------------------------


def expected_url(url: str) -> str:
    parts = re.fullmatch(r"(https?)://([^/?#]*)([^?#]*)(.*)", url, re.DOTALL | re.IGNORECASE)
    if parts is None or not re.fullmatch(r"provider\.example(:(80|443)?)?", parts[2].lower()):
        return url
    path = parts[3]
    if path != "/fhir" and not path.startswith("/fhir/"):
        return url
    decoded = path
    while unquote(decoded) != decoded:
        decoded = unquote(decoded)
    if {".", ".."} & {segment.split(";")[0] for segment in decoded.replace("\\", "/").split("/")}:
        return url
    return THERE + path.removeprefix("/fhir") + parts[4]


def expected_text(text: str) -> str:
    return IN_TEXT.get(text, expected_url(text))


def expected_div(text: str) -> str:
    return IN_DIV.get(text, text)


def expected(value: str, name: str, above: list[str]) -> str:
    if name == "url":
        linking = ("link", "request", "implementation", "photo", "valueAttachment", "content")
        return expected_url(value) if above[-1] in linking else value
    if name in ("reference", "fullUrl", "location"):
        return expected_url(value)
    if name == "diagnostics" or (name == "text" and above[-1] == "details"):
        return expected_text(value)
    return expected_div(value) if name == "div" else value


def walk(node: Any, name: str = "", above: tuple[str, ...] = ()) -> Any:
    """`node` as it should be; `above` are the names of the open objects and lists, a list's items have the list's."""
    inside = (*above, name)
    if isinstance(node, list):
        return [walk(item, name, inside) for item in node]
    if not isinstance(node, Members):
        return node
    return Members(
        (key, expected(value, key, list(inside)) if type(value) is str else walk(value, key, inside))
        for key, value in node
    )


# --- the properties ---------------------------------------------------------------------------------------------------


def mapped(body: bytes, link_map: LinkMap = DOWN) -> bytes:
    return run(rewrite_json(run(undone(body)), link_map))


@settings(max_examples=300, deadline=None)
@given(bodies(CANONICAL + SPELLINGS, [*STABLE, escaped]))
def test_links_are_those_a_walk_over_the_parsed_document_finds(body: bytes) -> None:
    assert parse(mapped(body)) == walk(parse(body))


@settings(max_examples=200, deadline=None)
@given(bodies(CANONICAL, STABLE))
def test_there_and_back_is_the_identity(body: bytes) -> None:
    assert mapped(mapped(body), DOWN.inverse) == run(undone(body))


@settings(max_examples=100, deadline=None)
@given(bodies(CANONICAL, STABLE))
def test_only_bases_change(body: bytes) -> None:
    def without_bases(text: bytes) -> bytes:
        plain_slashes = text.replace(b"\\/", b"/")
        return plain_slashes.replace(THERE.encode(), b"@").replace(HERE.encode(), b"@")

    assert without_bases(mapped(body)) == without_bases(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text() | st.sampled_from(NAMES), children),
)


@settings(deadline=None)
@given(json_values, st.booleans(), st.sampled_from([None, 2]))
def test_any_json_without_the_base_stays_the_same_object(document: Any, ascii_only: bool, indent: int | None) -> None:
    body = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    assert run(rewrite_json(body, DOWN)) is body
