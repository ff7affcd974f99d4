from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.functions_host.functions import find
from local.functions_host.routes import RouteError, decode_path, encode_path, parse_route, query_params
from shared.fhir.versions import FhirVersion, fhir_bases

BASES = fhir_bases(FhirVersion.STU3)
ROUTES = {function.name: function.route for function in find(Path(__file__).parents[2])}
WELL_KNOWN = {"base": "r4", "document": ".well-known", "name": "smart-configuration"}


@pytest.mark.parametrize(
    ("path", "function", "values"),
    [
        ("/stu3/metadata", "metadata_fn", {"base": "stu3", "document": "metadata"}),
        ("/fhir/metadata/", "metadata_fn", {"base": "fhir", "document": "metadata"}),
        ("/R4/Metadata", "metadata_fn", {"base": "R4", "document": "Metadata"}),
        ("/r4/.well-known/smart-configuration", "metadata_fn", WELL_KNOWN),
        ("/stu3", "fhir_proxy_fn", {"base": "stu3"}),
        ("/stu3/", "fhir_proxy_fn", {"base": "stu3"}),
        *((f"/{base}/metadata", "metadata_fn", {"base": base, "document": "metadata"}) for base in BASES),
        *((f"/{base}/Patient/1", "fhir_proxy_fn", {"base": base, "type": "Patient", "rest": "1"}) for base in BASES),
        ("/fhir/Patient/", "fhir_proxy_fn", {"base": "fhir", "type": "Patient"}),
        ("/dstu2/Patient/_search", "fhir_proxy_fn", {"base": "dstu2", "type": "Patient", "rest": "_search"}),
        ("/r4/Patient/1/_history/2/", "fhir_proxy_fn", {"base": "r4", "type": "Patient", "rest": "1/_history/2/"}),
        ("/r4/metadata2", "fhir_proxy_fn", {"base": "r4", "type": "metadata2"}),
        ("/r4/Patient/metadata", "fhir_proxy_fn", {"base": "r4", "type": "Patient", "rest": "metadata"}),
        ("/r4/Patient/a//b", "fhir_proxy_fn", {"base": "r4", "type": "Patient", "rest": "a//b"}),
        ("/r4/a%2Fb/1", "fhir_proxy_fn", {"base": "r4", "type": "a%2Fb", "rest": "1"}),
        ("/r4/a\nb/c\nd", "fhir_proxy_fn", {"base": "r4", "type": "a\nb", "rest": "c\nd"}),
        ("/r4/metadata\n", "fhir_proxy_fn", {"base": "r4", "type": "metadata\n"}),
        ("/oauth2/token", "token_fn", {"endpoint": "token"}),
        ("/OAuth2/KEYS/", "token_fn", {"endpoint": "KEYS"}),
        *((path, "discovery_fn", {}) for path in ("/.well-known", "/.well-known/")),
        ("/.Well-Known/a/b", "discovery_fn", {"path": "a/b"}),
        ("/portal", "portal_fn", {}),
        ("/portal/", "portal_fn", {}),
        ("/portal/a/b/", "portal_fn", {"path": "a/b/"}),
        ("/health", "health_fn", {}),
        ("/HEALTH/", "health_fn", {}),
        *(
            (path, "root_fn", None)
            for path in ("/", "/fhirs/Patient", "/xfhir", "/dſtu2/Patient", "/fhir\n/Patient", "/r6/metadata")
        ),
        *((path, "root_fn", None) for path in ("/Patient/1", "/oauth2\n/token", "/portals")),
        *((path, None, None) for path in ("//fhir", "/r4//Patient", "/r4//", "/r4/Patient//", "/r4/Patient//1")),
        *((path, None, None) for path in ("/portal//x", "/portal//", "/oauth2", "/oauth2/tokens", "/oauth2/token/x")),
        *((path, None, None) for path in ("/oauth2/token\n", "/health/x", "/admin/host/status", "/Admin")),
        ("/runtime/webhooks", None, None),
    ],
)
def test_a_path_is_one_functions_or_nobodys(path: str, function: str | None, values: dict[str, str] | None) -> None:
    found = {name: match for name, route in ROUTES.items() if (match := route.match(path)) is not None}
    assert list(found) == ([function] if function else [])
    assert values is None or found[str(function)] == values


words = "fhir R4 R4B r5 dstu2 oauth2 token authorize health portal metadata .well-known admin Patient"
segments = st.tuples(st.text(max_size=3) | st.sampled_from(words.split()), st.sampled_from(["", "\n", "\r", " ", "/"]))


@given(st.lists(segments.map("".join), max_size=4).map("/".join))
def test_no_path_is_two_functions(path: str) -> None:
    assert len([name for name, route in ROUTES.items() if route.match(f"/{path}") is not None]) < 2


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("a.c", "/abc", None),
        # A constraint is searched for: anchors are its own affair, and .NET's.
        ("{x:regex(b)}", "/abc", {"x": "abc"}),
        ("{x:regex(^a$)}", "/a\n", {"x": "a\n"}),
        (r"{x:regex(^a\Z)}", "/a\n", {"x": "a\n"}),
        (r"{x:regex(^a\z)}", "/a\n", None),
        (r"{x:regex(^a\\z)}", "/a\n", None),
        (r"{x:regex(^a\\z)}", "/a\\z", {"x": "a\\z"}),
        # Braces of a regex are doubled, and a slash may stand in it.
        (r"{year:regex(^\d{{4}}$)}/{x:regex(^[^/(){{}}|?]+$)?}", "/2024/a", {"year": "2024", "x": "a"}),
        (r"{year:regex(^\d{{4}}$)}/{x:regex(^[^/(){{}}|?]+$)?}", "/2024", {"year": "2024"}),
        (r"{year:regex(^\d{{4}}$)}/{x:regex(^[^/(){{}}|?]+$)?}", "/20245", None),
        (r"{year:regex(^\d{{4}}$)}/{x:regex(^[^/(){{}}|?]+$)?}", "/2024/{", None),
        # An optional parameter before a required segment must be there.
        ("{a?}/b", "/x/b", {"a": "x"}),
        ("{a?}/b", "/b", None),
        *(("a/{x}/{y?}/{*z}", path, None) for path in ("/a", "/a/", "/a//b", "/b/c")),
        ("a/{x}/{y?}/{*z}", "/a/b/", {"x": "b"}),
        ("a/{x}/{y?}/{*z}", "/a/b/c/d//e/", {"x": "b", "y": "c", "z": "d//e/"}),
        # A constrained catch-all does not match the empty path.
        ("x/{*rest:regex(.)}", "/x/y", {"rest": "y"}),
        ("x/{*rest:regex(.)}", "/x", None),
    ],
)
def test_a_template_matches_as_in_the_host(template: str, path: str, values: dict[str, str] | None) -> None:
    assert parse_route(template).match(path) == values


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("a/{id:int}", "'int'"),
        ("a/{id:regex}", "'regex'"),
        ("a/{id:regex(()}", "not a regular expression"),
        ("a/{id:regex(a):regex(b)}", "ends a constraint early"),
        (r"a/{id:regex(\d{4})}", "not a literal or one parameter"),
        *(
            (template, "not a literal or one parameter")
            for template in ("a/{id", "a/id}", "a/{id}}", "a/{id}.json", "a/v{id}", "a//b", "/a", "a?", "")
        ),
        ("a/{}", "not a parameter"),
        ("a/{id=1}", "not a parameter"),
        ("{*rest}/a", "must come last"),
        ("{*rest?}", "can't be optional"),
        ("{id}/{ID}", "used twice"),
    ],
)
def test_a_template_that_would_not_mean_the_same_in_azure_is_an_error(template: str, complaint: str) -> None:
    with pytest.raises(RouteError) as raised:
        parse_route(template)
    assert complaint in str(raised.value)
    assert template in str(raised.value)


@given(st.text("a/{}:()?*regx|^$=.", max_size=40))
def test_any_template_is_refused_or_never_takes_an_empty_segment(template: str) -> None:
    try:
        route = parse_route(template)
    except RouteError:
        return
    assert route.match("//") is None


# The target of a request line


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=3)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        *(("/", "/"), ("/stu3/Patient%20x", "/stu3/Patient x"), ("/%73tu3", "/stu3"), ("/%C3%BC", "/ü")),
        *(("/a%2Fb%2fc", "/a%2Fb%2fc"), ("/%252F", "/%2F"), ("/%C3%2F%fC%41", "/%C3%2F%fCA")),
        *((kept, kept) for kept in ("/%E4%B8", "/%ED%A0%80", "/100%", "/%zz", "/a\\b", "/a/..%2Fb", "/a/.b/..c")),
        *(("/a/../b", "/b"), ("/a/%2e%2E/b", "/b"), ("/../../a", "/a"), ("/..", "/"), ("/a/..", "/")),
        *(("/a/b/..", "/a/"), ("/a/.", "/a/"), ("/a/./b/", "/a/b/"), ("/a//../b", "/a/b")),
    ],
)
def test_a_path_is_decoded_once_and_then_loses_its_dot_segments(raw: str, path: str) -> None:
    assert decode_path(raw) == path


@pytest.mark.parametrize(
    ("path", "encoded"),
    [
        *((kept, kept) for kept in ("/stu3/Patient/1", "/a%2Fb%2fc", "/$!&'()*+,-.:;=@_~")),
        *(("/a b", "/a%20b"), ("/a|b", "/a%7Cb"), ("/ü", "/%C3%BC"), ("/100%", "/100%25")),
        *(("/%zz", "/%25zz"), ("/a?b#c\\", "/a%3Fb%23c%5C")),
    ],
)
def test_a_url_has_the_path_encoded_anew(path: str, encoded: str) -> None:
    assert encode_path(path) == encoded


@given(texts)
def test_any_text_survives_decoding_and_encoding_except_the_slash(text: str) -> None:
    assert decode_path("/" + quote(text, safe="")) == "/" + text.replace("/", "%2F")
    assert unquote(encode_path("/" + text.replace("%", ""))) == "/" + text.replace("%", "")


@given(st.text("ab%./24CcFf", max_size=30).map("/".__add__))
def test_a_handed_on_path_is_ascii_and_has_no_dot_segments_left(raw: str) -> None:
    handed_on = encode_path(decode_path(raw))
    assert handed_on.startswith("/")
    assert handed_on.isascii()
    assert not {".", ".."} & set(handed_on.split("/"))


def test_params_join_repeats_merge_spellings_and_lose_empty_values() -> None:
    query = "date=ge2020&date=le2021&_sort:desc=date&Name=a&name=b&empty=&bare&x=1%2C2+3"
    assert query_params(query) == {"date": "ge2020,le2021", "_sort:desc": "date", "Name": "a,b", "x": "1,2 3"}
