from collections.abc import Iterator, Mapping

import azure.functions as func
import pytest
from azure.functions.http import HttpResponseConverter

from shared import functions
from shared.functions import respond
from shared.message import Request, Response

URL = "https://gateway.example/stu3/Observation"


@pytest.fixture(autouse=True)
def https(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A deployment in Azure."""
    yield from deployed(monkeypatch, "https://gateway.example")


def deployed(monkeypatch: pytest.MonkeyPatch, url: str) -> Iterator[None]:
    monkeypatch.setenv("PUBLIC_BASE_URL", url)
    monkeypatch.setenv("KEY_VAULT_URL", "https://127.0.0.1:1")
    monkeypatch.setenv("TABLES_ENDPOINT", "https://tables.example")
    forget()
    yield
    forget()


def forget() -> None:
    functions.application.cache_clear()
    functions._transport_security.cache_clear()


class Handler:
    """Keeps the request, and answers `response`."""

    def __init__(self, response: Response) -> None:
        self.request: Request | None = None
        self._response = response

    async def __call__(self, request: Request) -> Response:
        self.request = request
        return self._response


def request(
    url: str = URL, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes = b""
) -> func.HttpRequest:
    return func.HttpRequest(method, url, headers=headers, params={"patient": "joined"}, body=body)


async def received(sent: func.HttpRequest) -> Request:
    handler = Handler(Response(200))
    await respond(sent, handler)
    assert handler.request is not None
    return handler.request


@pytest.mark.parametrize(
    "query",
    [
        "",
        "_sort:desc=date&patient=1&patient=2&empty=&=&&x",
        "name=a%7Cb|c%20d+e%2Cf%zz%C3%BC",
        "url=https://other.example/a?b=c",
        "q=a;b=c",
    ],
)
async def test_the_query_reaches_the_handler_byte_for_byte(query: str) -> None:
    found = await received(request(f"{URL}?{query}"))
    assert (found.path, found.query) == ("/stu3/Observation", query)


@pytest.mark.parametrize("path", ["/", "/stu3", "/stu3/", "//stu3//Patient", "/stu3/Patient/a%2Fb", "/stu3/a;b@c:d"])
async def test_the_path_reaches_the_handler_as_it_stands(path: str) -> None:
    assert (await received(request(f"https://gateway.example:443{path}?a=b"))).path == path


async def test_method_headers_and_body_reach_the_handler() -> None:
    found = await received(request(method="POST", headers={"Content-Type": "a/b", "X": "1, 2"}, body=b"\x00\xff"))
    assert (found.method, found.body) == ("POST", b"\x00\xff")
    assert (found.headers["content-type"], found.headers.get("x")) == ("a/b", "1, 2")
    assert "authorization" not in found.headers
    assert found.headers.get("authorization") is None


async def test_the_answer_is_the_handlers_with_our_own_headers() -> None:
    answer = Response(207, {"Content-Type": "application/fhir+json", "ETag": 'W/"1"'}, b"\x00\xff")
    given = await respond(request(headers={"X-Request-Id": "r1"}), Handler(answer))
    own = {"X-Request-Id": "r1", "Strict-Transport-Security": "max-age=31536000"}
    assert (given.status_code, dict(given.headers), given.get_body()) == (207, own | answer.headers, answer.body)


async def test_a_laptop_without_https_asks_nobody_to_keep_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_VAULT", "nowhere")
    for _ in deployed(monkeypatch, "http://127.0.0.1:7071"):
        assert "Strict-Transport-Security" not in (await respond(request(), Handler(Response(200)))).headers


@pytest.mark.parametrize("headers", [{"Content-Type": "application/json"}, {"ETag": "1"}])
async def test_a_content_type_is_the_handlers_own_and_none_is_not_called_text(headers: Mapping[str, str]) -> None:
    given = await respond(request(), Handler(Response(200, headers, b"{}")))
    encoded = HttpResponseConverter.encode(given, expected_type=None).value
    assert encoded["headers"]["Content-Type"].value == headers.get("Content-Type", "")
