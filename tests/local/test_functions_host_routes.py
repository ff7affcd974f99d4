from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.functions_host.functions import find
from local.functions_host.routes import RouteError, parse_route

ROUTES = {function.name: function.route for function in find(Path(__file__).parents[2])}
METADATA, PROXY, TOKEN = ROUTES["metadata_fn"], ROUTES["fhir_proxy_fn"], ROUTES["token_fn"]
PORTAL, HEALTH, ROOT = ROUTES["portal_fn"], ROUTES["health_fn"], ROUTES["root_fn"]


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("/stu3/metadata", {"base": "stu3", "document": "metadata"}),
        ("/fhir/metadata/", {"base": "fhir", "document": "metadata"}),
        ("/R4/Metadata", {"base": "R4", "document": "Metadata"}),
        (
            "/r4/.well-known/smart-configuration",
            {"base": "r4", "document": ".well-known", "name": "smart-configuration"},
        ),
    ],
)
def test_the_statement_and_the_smart_configuration_are_the_metadata_functions(
    path: str, values: dict[str, str]
) -> None:
    assert METADATA.match(path) == values
    assert PROXY.match(path) is None


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("/stu3", {"base": "stu3"}),
        ("/stu3/", {"base": "stu3"}),
        ("/fhir/Patient", {"base": "fhir", "type": "Patient"}),
        ("/fhir/Patient/", {"base": "fhir", "type": "Patient"}),
        ("/dstu2/Patient/_search", {"base": "dstu2", "type": "Patient", "rest": "_search"}),
        (
            "/r4/Patient/1/_history/2/",
            {"base": "r4", "type": "Patient", "rest": "1/_history/2/"},
        ),
        ("/r4/metadata2", {"base": "r4", "type": "metadata2"}),
        ("/r4/Patient/metadata", {"base": "r4", "type": "Patient", "rest": "metadata"}),
        ("/r4/Patient/a//b", {"base": "r4", "type": "Patient", "rest": "a//b"}),
        ("/r4/a%2Fb/1", {"base": "r4", "type": "a%2Fb", "rest": "1"}),
        ("/r4/a\nb/c\nd", {"base": "r4", "type": "a\nb", "rest": "c\nd"}),
        ("/r4/metadata\n", {"base": "r4", "type": "metadata\n"}),
    ],
)
def test_everything_else_below_a_base_is_the_proxys(path: str, values: dict[str, str]) -> None:
    assert PROXY.match(path) == values
    assert METADATA.match(path) is None


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/fhirs/Patient",
        "/xfhir",
        "/dſtu2/Patient",
        "/fhir\n/Patient",
        "/r5/metadata",
        "/Patient/1",
        "/oauth2\n/token",
    ],
)
def test_what_is_not_below_a_base_is_the_roots(path: str) -> None:
    assert [name for name, route in ROUTES.items() if route.match(path) is not None] == ["root_fn"]


@pytest.mark.parametrize(
    "path",
    [
        "//fhir",
        "/r4//Patient",
        "/r4//",
        "/r4/Patient//",
        "/r4/Patient//1",
        "/portal//x",
        "/oauth2",
        "/oauth2/token\n",
        "/health/x",
        "/admin/host/status",
        "/Admin",
        "/runtime/webhooks",
    ],
)
def test_what_is_the_hosts_own_or_has_an_empty_segment_is_nobodys(path: str) -> None:
    assert [name for name, route in ROUTES.items() if route.match(path) is not None] == []


segments = st.sampled_from(
    [
        "fhir",
        "R4",
        "dstu2",
        "oauth2",
        "token",
        "authorize",
        "health",
        "portal",
        "metadata",
        ".well-known",
        "admin",
        "Patient",
    ]
) | st.text(max_size=3)


@given(
    st.lists(st.tuples(segments, st.sampled_from(["", "\n", "\r", " ", "/"])).map("".join), max_size=4).map("/".join)
)
def test_no_path_is_two_functions(path: str) -> None:
    assert len([name for name, route in ROUTES.items() if route.match(f"/{path}") is not None]) < 2


def test_a_required_parameter_must_be_there() -> None:
    assert TOKEN.match("/oauth2/token") == {"endpoint": "token"}
    assert TOKEN.match("/OAuth2/KEYS/") == {"endpoint": "KEYS"}
    assert TOKEN.match("/oauth2") is None
    assert TOKEN.match("/oauth2/tokens") is None
    assert TOKEN.match("/oauth2/token/x") is None


def test_a_catch_all_matches_the_empty_path_and_keeps_its_slashes() -> None:
    assert PORTAL.match("/portal") == {}
    assert PORTAL.match("/portal/") == {}
    assert PORTAL.match("/portal//") is None
    assert PORTAL.match("/portal/a/b/") == {"path": "a/b/"}
    assert PORTAL.match("/portals") is None


def test_a_literal_is_the_whole_path() -> None:
    assert HEALTH.match("/health") == {}
    assert HEALTH.match("/HEALTH/") == {}
    assert HEALTH.match("/health/x") is None
    assert parse_route("a.c").match("/abc") is None


def test_a_constraint_is_searched_for_and_anchors_are_its_own_affair() -> None:
    assert parse_route("{x:regex(b)}").match("/abc") == {"x": "abc"}


def test_the_end_of_a_text_is_dotnets() -> None:
    assert [parse_route(rf"{{x:regex(^a{end})}}").match("/a\n") is not None for end in ("$", r"\Z", r"\z", r"\\z")] == [
        True,
        True,
        False,
        False,
    ]
    assert parse_route(r"{x:regex(^a\\z)}").match("/a\\z") is not None


def test_braces_of_a_regex_are_doubled_and_a_slash_may_stand_in_it() -> None:
    route = parse_route(r"{year:regex(^\d{{4}}$)}/{x:regex(^[^/(){{}}|?]+$)?}")
    assert route.match("/2024/a") == {"year": "2024", "x": "a"}
    assert route.match("/2024") == {"year": "2024"}
    assert route.match("/20245") is None
    assert route.match("/2024/{") is None


def test_an_optional_parameter_before_a_required_segment_must_be_there() -> None:
    route = parse_route("{a?}/b")
    assert route.match("/x/b") == {"a": "x"}
    assert route.match("/b") is None


def test_a_constrained_catch_all_does_not_match_the_empty_path() -> None:
    route = parse_route("x/{*rest:regex(.)}")
    assert route.match("/x/y") == {"rest": "y"}
    assert route.match("/x") is None


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("a/{id:int}", "'int'"),
        ("a/{id:regex}", "'regex'"),
        ("a/{id:regex(()}", "not a regular expression"),
        ("a/{id:regex(a):regex(b)}", "ends a constraint early"),
        (r"a/{id:regex(\d{4})}", "not a literal or one parameter"),
        ("a/{id", "not a literal or one parameter"),
        ("a/id}", "not a literal or one parameter"),
        ("a/{id}}", "not a literal or one parameter"),
        ("a/{id}.json", "not a literal or one parameter"),
        ("a/v{id}", "not a literal or one parameter"),
        ("a//b", "not a literal or one parameter"),
        ("/a", "not a literal or one parameter"),
        ("a?", "not a literal or one parameter"),
        ("", "not a literal or one parameter"),
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


def reference(template: list[str], path: str) -> dict[str, str] | None:
    """ASP.NET Core's RoutePatternMatcher, segment by segment, for templates without constraints."""
    segments = path[1:].removesuffix("/").split("/") if len(path) > 1 else []
    values: dict[str, str] = {}
    for position, part in enumerate(template):
        if part.startswith("*"):
            rest = path.split("/", position + 1)[position + 1 :]
            if position < len(segments) and not segments[position]:
                return None
            return values | ({part[1:]: rest[0]} if rest and rest[0] else {})
        if position >= len(segments):
            if not part.startswith("?"):
                return None
            continue
        if not segments[position]:
            return None
        if part.startswith(("!", "?")):
            values[part[1:]] = segments[position]
        elif segments[position] != part:
            return None
    return values if len(segments) <= len(template) else None


@given(
    st.lists(st.sampled_from(["a", "b", "!", "?"]), min_size=1, max_size=4),
    st.booleans(),
    st.text("ab/", max_size=9).map("/".__add__),
)
def test_templates_match_as_a_walk_over_the_segments_does(kinds: list[str], catch_all: bool, path: str) -> None:
    parts = [f"{kind}p{index}" if kind in "!?" else kind for index, kind in enumerate(kinds)]
    parts += ["*rest"] if catch_all else []
    spelled = {"!": "{%s}", "?": "{%s?}", "*": "{*%s}"}
    template = "/".join(spelled[part[0]] % part[1:] if part[0] in spelled else part for part in parts)
    assert parse_route(template).match(path) == reference(parts, path)
