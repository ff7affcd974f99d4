"""What is between a request and a page: routes, forms and where they come from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.message import Request, Response
from shared.portal.csrf import is_same_origin
from shared.portal.errors import BadForm, TooLarge
from shared.portal.form import MOST_FORM_BYTES, parse_form, parse_upload
from shared.portal.visit import Route, Visit, find_route

FORM = {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}


async def handler(visit: Visit) -> Response:
    return Response(200)


ROUTES = (
    Route("GET", "/clients/new", handler),
    Route("GET", "/clients/{client}", handler),
    Route("POST", "/clients/{client}/secrets/{secret}/delete", handler),
)


@pytest.mark.parametrize(
    ("method", "path", "place", "parameters"),
    [
        ("GET", "/clients/new", 0, {}),
        ("HEAD", "/clients/7", 1, {"client": "7"}),
        ("POST", "/clients/7/secrets/8/delete", 2, {"client": "7", "secret": "8"}),
    ],
)
def test_a_page_is_found_with_its_parameters(method: str, path: str, place: int, parameters: dict[str, str]) -> None:
    assert find_route(ROUTES, method, path) == (ROUTES[place], parameters)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/clients/7"),
        ("GET", "/clients"),
        ("GET", "/clients/7/8"),
        ("GET", "/clients/"),
        ("GET", "x/clients/7"),
    ],
)
def test_what_is_no_page_is_not_found(method: str, path: str) -> None:
    assert find_route(ROUTES, method, path) is None


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"sec-fetch-site": "same-origin", "origin": "https://portal.example"}, True),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"origin": "https://portal.example"}, True),
        ({"origin": "https://PORTAL.example"}, True),
        ({"sec-fetch-site": "same-site", "origin": "https://portal.example"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "null"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "same-origin", "origin": "https://evil.example"}, False),
        ({"origin": "http://portal.example"}, False),
        ({"origin": "https://portal.example.evil.example"}, False),
        ({"origin": "https://portal.example:8443"}, False),
        ({"origin": "null"}, False),
        ({}, False),
    ],
)
def test_a_form_comes_from_the_very_host_or_is_refused(headers: dict[str, str], allowed: bool) -> None:
    assert is_same_origin({"host": "portal.example", **headers}, secure=True) is allowed


def test_without_a_host_nothing_is_of_the_same_origin() -> None:
    assert not is_same_origin({"origin": "https://", "sec-fetch-site": "same-origin"}, secure=True)


def test_a_form_is_read() -> None:
    request = Request("POST", "/", "", FORM, b"name=K%C3%B6ln+S%C3%BCd&empty=&twice=1&twice=2")
    assert parse_form(request) == {"name": "Köln Süd", "empty": "", "twice": "2"}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b"a=1"),
        ({"content-type": "text/plain"}, b"a=1"),
        (FORM, b"a=%FF"),
        (FORM, "a=ö".encode()),
        (FORM, b"&".join(b"a%d=1" % number for number in range(51))),
    ],
)
def test_what_is_no_form_is_refused(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(BadForm):
        parse_form(Request("POST", "/", "", headers, body))


def test_a_form_has_a_limit() -> None:
    with pytest.raises(TooLarge):
        parse_form(Request("POST", "/", "", FORM, b"a=" + b"1" * MOST_FORM_BYTES))


def upload(body: bytes) -> Request:
    return Request("POST", "/", "", {"content-type": 'multipart/form-data; boundary="edge"'}, body)


@given(st.binary(max_size=3000).filter(lambda content: b"--edge" not in content))
def test_a_file_arrives_byte_for_byte(content: bytes) -> None:
    body = (
        b'--edge\r\nContent-Disposition: form-data; name="csrf"\r\n\r\ntoken\r\n'
        b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
        + content
        + b"\r\n--edge--\r\n"
    )
    assert parse_upload(upload(body)) == ({"csrf": "token"}, content)


@given(
    st.binary(max_size=300)
    | st.lists(
        st.sampled_from(
            [
                b"--edge",
                b"--edge--",
                b"\r\n",
                b"Content-Disposition: form-data",
                b'; name="a"',
                b'; filename="b"',
                b": ",
                b"Content-Transfer-Encoding: base64",
                b"\xff",
            ]
        )
    ).map(b"".join)
)
def test_any_upload_is_read_or_refused(body: bytes) -> None:
    try:
        fields, file = parse_upload(upload(body))
    except BadForm:
        return
    assert all(isinstance(value, str) for value in fields.values())
    assert isinstance(file, bytes)


@pytest.mark.parametrize("media_type", ["", "multipart/form-data", "multipart/mixed; boundary=edge"])
def test_an_upload_is_multipart_with_a_boundary(media_type: str) -> None:
    with pytest.raises(BadForm):
        parse_upload(Request("POST", "/", "", {"content-type": media_type}, b"--edge--"))


def test_two_files_are_refused() -> None:
    part = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n'
    with pytest.raises(BadForm):
        parse_upload(upload(part + part + b"--edge--\r\n"))
