from urllib.parse import parse_qsl, quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.errors import FhirError
from shared.fhir.negotiation import content_accept, content_type, media_type_format, negotiate, spelled_format
from shared.fhir.versions import FhirFormat, FhirVersion

JSON, XML = FhirFormat.JSON, FhirFormat.XML
STU3 = FhirVersion.STU3

JSON_SPELLINGS = ["application/fhir+json", "application/json+fhir", "application/json", "text/json"]
XML_SPELLINGS = ["application/fhir+xml", "application/xml+fhir", "application/xml", "text/xml"]
SPELLINGS = [(media, JSON) for media in JSON_SPELLINGS] + [(media, XML) for media in XML_SPELLINGS]

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def refusal(query: str, accept: str | None, version: FhirVersion = STU3) -> FhirError:
    with pytest.raises(FhirError) as caught:
        negotiate(query, accept, version)
    assert (caught.value.status, caught.value.code) == (406, "not-supported")
    return caught.value


@pytest.mark.parametrize("version", FhirVersion)
@pytest.mark.parametrize(("media", "format"), SPELLINGS)
def test_every_spelling_is_understood_on_every_base(media: str, format: FhirFormat, version: FhirVersion) -> None:
    assert negotiate("", media.upper(), version) is format
    assert negotiate(f"_format={media.upper()}", None, version) is format
    assert negotiate(f"_format={media.replace('+', '%2B').replace('/', '%2F')}", None, version) is format
    assert negotiate(f"_format={media.replace('+', '%20')}", None, version) is format
    assert media_type_format(f"{media.title()} ; charset=utf-8") is format


@pytest.mark.parametrize("version", FhirVersion)
@pytest.mark.parametrize(("media", "format"), SPELLINGS)
@pytest.mark.parametrize("parameters", ["", "; fhirVersion=9.9"])
@pytest.mark.parametrize("name", ["_format", "%5fformat", "_f%6Frmat"])
def test_a_media_type_is_spelled_anew_in_the_versions_own_way_and_nothing_else_is(
    version: FhirVersion, media: str, format: FhirFormat, parameters: str, name: str
) -> None:
    own, short = version.media_type(format), ("json", "XML", "", "html", "ttl", "application/pdf")
    for text in (f"{name}={value}&a=%2b" for value in (*short, own, quote(own))):
        assert spelled_format(text, version) == text
    for value in (quote(media + parameters), quote(media + parameters, safe=""), media.replace("+", "%20").upper()):
        spelled = spelled_format(f"a=%41;&=&{name}={value}&&b", version)
        assert parse_qsl(spelled)[1] == ("_format", version.media_type(format))
        assert spelled == f"a=%41;&=&{name}={spelled.split('=')[3].partition('&')[0]}&&b"


@given(st.text("_format=&%2Bapplication/json+fhir;5F") | st.text(), st.sampled_from(FhirVersion))
def test_spelling_anew_keeps_all_else_and_is_done_once(text: str, version: FhirVersion) -> None:
    spelled = spelled_format(text, version)
    assert spelled_format(spelled, version) == spelled
    pairs = list(zip(text.split("&"), spelled.split("&"), strict=True))
    assert all(old == new or unquote(old.partition("=")[0]) == "_format" for old, new in pairs)


@pytest.mark.parametrize(
    ("query", "format"),
    [
        ("_format=json", JSON), ("_format=XML", XML), ("name=a&_format=xml&_count=2", XML), ("%5Fformat=xml", XML),
        ("_format=&_format=xml", XML), ("_format=application/fhir%2Bxml;fhirVersion=3.0", XML),
        ("_format=application/fhir+xml;+fhirVersion=3.0", XML),
        ("_format=application%2Ffhir%2Bxml%3B%20charset%3Dutf-8", XML),
    ],
)  # fmt: skip
def test_the_parameter_overrides_accept_and_decides_only_where_there_is_one(query: str, format: FhirFormat) -> None:
    other = JSON if format is XML else XML
    assert negotiate(query, f"application/{other.value}", STU3) is format
    assert negotiate(query, "image/png", STU3) is format
    for without in ("", "_format=", "_formatted=xml", "x=_format=xml", f"x{query}"):
        assert negotiate(without, f"application/{format.value}", STU3) is format


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        *(
            (accept, JSON)
            for accept in (None, "", " ", ",", "*/*", "*/*;q=0.1", "application/*", "image/png, */*;q=0.1")
        ),
        (BROWSER, JSON),
        (f"{BROWSER},application/fhir+xml", XML),
        ("application/json;q=0.2, application/xml;q=0.3", XML),
        ("application/xml;q=0.2, application/json;q=0.3", JSON),
        ("application/xml;q=0.3, */*;q=0.5", JSON),
        ("*/*, application/fhir+xml", XML),
        ("application/*, application/fhir+xml", XML),
        ("*/*;q=0.5, application/*;q=0.4", JSON),
        ("application/fhir+xml, application/fhir+json", XML),
        ("application/fhir+json, application/fhir+xml", JSON),
        ("application/fhir+json;q=0, */*", XML),
        ("application/json;q=0, application/fhir+json, */*", JSON),
        ("application/fhir+xml ; q = 0.9 , application/json; q=0.8", XML),
        ('text/plain;note="a,application/fhir+json,b", application/fhir+xml', XML),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", JSON),
        ("application/fhir+xml;q=high, application/fhir+json;q=0.1", JSON),
    ],
)
def test_quality_then_specificity_then_order_decide(accept: str | None, format: FhirFormat) -> None:
    assert negotiate("", accept, STU3) is format


@pytest.mark.parametrize(
    ("query", "accept"),
    [
        ("_format=html", None), ("_format=ttl", "application/json"), ("_format=text/turtle", None),
        ("_format=*/*", None), ("", "text/html"), ("", "text/*"), ("", "json"), ("", "application/fhir+json;q=0"),
        ("", "*/*;q=0"), ("", "application/fhir+json;q=nan"), ("", '"'),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_not_acceptable(query: str, accept: str | None) -> None:
    refusal(query, accept)


@pytest.mark.parametrize("version", FhirVersion)
def test_the_version_parameter_must_be_the_bases(version: FhirVersion) -> None:
    for other in FhirVersion:
        media = f"application/fhir+xml; fhirVersion={other.release}"
        if other.release in version.releases:
            assert negotiate("", media, version) is XML
            assert negotiate(f"_format={media}", None, version) is XML
            assert negotiate("", media.replace(other.release, f'"{other.release}"'), version) is XML
        else:
            assert f"FHIR {version.release}" in refusal("", media, version).diagnostics
            assert f"FHIR {version.release}" in refusal(f"_format={media}", None, version).diagnostics


def test_a_version_may_be_named_in_full_r4_serves_r4b_and_another_is_passed_over() -> None:
    r4 = FhirVersion.R4
    for named, version in (("4.3", r4), ("4.3.0", r4), ("4.0.1", r4), ("3.0.2", STU3)):
        assert negotiate("", f"application/fhir+xml;fhirVersion={named}", version) is XML
    for named in ("4.33", "4", "4.", "4.1", ""):
        refusal("", f"application/fhir+xml;fhirVersion={named}", r4)
    either = "application/fhir+json;fhirVersion=4.0, application/fhir+xml;fhirVersion=3.0;q=0.5"
    assert (negotiate("", either, r4), negotiate("", either, STU3)) == (JSON, XML)


@given(st.text(max_size=200), st.none() | st.text(max_size=200))
def test_any_text_gives_a_format_or_an_error_that_does_not_repeat_it(query: str, accept: str | None) -> None:
    try:
        answer: FhirFormat | str = negotiate(query, accept, STU3)
    except FhirError as error:
        answer = error.diagnostics
    assert answer in (JSON, XML, refusal("_format=html", None).diagnostics)


@given(
    st.lists(
        st.tuples(st.sampled_from([*dict(SPELLINGS), "*/*", "application/*"]), st.sampled_from([0, 0.1, 0.5, 1])),
        min_size=1,
    )
)
def test_what_a_client_refuses_is_never_sent_and_what_it_takes_is(ranges: list[tuple[str, float]]) -> None:
    def takes(spellings: list[str]) -> bool:
        """Whether one of the most specific ranges that cover `spellings` has a quality."""
        for names in (spellings, ["application/*"], ["*/*"]):
            if qualities := [quality for media, quality in ranges if media in names]:
                return any(qualities)
        return False

    taken = [format for format, spellings in ((JSON, JSON_SPELLINGS), (XML, XML_SPELLINGS)) if takes(spellings)]
    accept = ", ".join(f"{media};q={quality}" for media, quality in ranges)
    if taken:
        assert negotiate("", accept, STU3) in taken
    else:
        refusal("", accept)


def test_a_body_is_spelled_as_its_version_registers_it() -> None:
    for other in (None, "", "text/html", "application/x-www-form-urlencoded", "json", "application/fhir"):
        assert media_type_format(other) is None
    assert content_type(FhirVersion.DSTU2, JSON) == "application/json+fhir; charset=utf-8"
    assert content_type(FhirVersion.R4, XML) == "application/fhir+xml; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "content"),
    [
        (None, "*/*"), ("", "*/*"), ("x" * 3000, "*/*"), ("\u00fc/x", "*/*"), ("*/*", "*/*"),
        ("application/pdf", "application/pdf"),
        ("application/pdf, application/fhir+json;q=0.5", "application/pdf, application/fhir+json;q=0.5"),
        ("application/fhir+xml;q=0, image/*", "application/fhir+xml;q=0, image/*"), ("application/fhir+json", None),
        ("application/json, text/plain, */*", None), ("application/xml+fhir;q=0.1, */*", None),
    ],
)  # fmt: skip
def test_a_binarys_content_is_for_who_does_not_ask_for_fhir(accept: str | None, content: str | None) -> None:
    assert content_accept("", accept) == content
    assert content_accept("_format=json", accept) is None
