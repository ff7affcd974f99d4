"""The HTTP side of the Functions host: a request becomes a call of one function, what it returns becomes the answer."""

import asyncio
import re
import sys
import traceback
from collections.abc import Iterable, Sequence
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import quote

from aiohttp import hdrs, web
from azure.functions import HttpRequest, HttpResponse
from azure.functions.http import HttpResponseConverter
from multidict import CIMultiDict

from local.functions_host.functions import Function
from local.functions_host.target import decode_path, encode_path, query_params

MAX_URL = 4096
MAX_BODY = 104_857_600

_HOST = re.compile(r"[A-Za-z0-9\-._~!$&'()*+;=%\[\]]+(?::[0-9]*)?")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")


class ResponseError(Exception):
    """A function returned what the host can't send."""


def create_app(functions: Sequence[Function]) -> web.Application:
    """An application that serves the functions, tried in their order; what none takes is a 404 without a body."""

    async def handle(request: web.Request) -> web.Response:
        target = request.raw_path
        if len(target) > MAX_URL:
            return web.Response(status=414)
        raw_path, mark, query = target.partition("?")
        try:
            path = decode_path(raw_path)
            headers = _request_headers(request)
        except ValueError:
            return web.Response(status=400)
        host = headers.get("host", "")
        if not raw_path.startswith("/") or not _HOST.fullmatch(host):
            return web.Response(status=400)
        found = _find(functions, request.method, path)
        if found is None:
            return web.Response(status=404)
        # The host hands on a body only if its length was announced: one sent in chunks arrives empty.
        length = request.content_length or 0
        if length > MAX_BODY:
            return web.Response(status=413)
        function, route_params = found
        return await _answer(
            function,
            HttpRequest(
                method=request.method,
                url=f"http://{host}{encode_path(path)}{mark}{query.replace('#', '%23')}",
                headers=headers,
                params=query_params(query) if query else {},
                route_params=route_params,
                body=await request.read() if length else b"",
            ),
        )

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_route("*", "/{path:.*}", handle)
    return app


def create_runner(functions: Sequence[Function]) -> web.AppRunner:
    """The application with the server's settings: a body stays as it was sent, and a stop waits 5 s for requests."""
    return web.AppRunner(
        create_app(functions),
        access_log=None,
        auto_decompress=False,
        max_line_size=65_536,
        max_field_size=32_768,
        lingering_time=5,
        # aiohttp waits for a handler twice this long.
        shutdown_timeout=2.5,
    )


def _find(functions: Iterable[Function], method: str, path: str) -> tuple[Function, dict[str, str]] | None:
    # The host keeps /admin for itself, whatever a catch-all says.
    if path.lower().startswith("/admin") and path[6:7] in ("", "/"):
        return None
    for function in functions:
        if method not in function.methods:
            continue
        route_params = function.route.match(path)
        if route_params is not None:
            return function, route_params
    return None


def _request_headers(request: web.Request) -> dict[str, str]:
    """Names in lower case, repeats joined; raises ValueError for bytes that are not UTF-8."""
    headers: dict[str, str] = {}
    for spelling, value in request.headers.items():
        if not value.isascii():
            value.encode()
        name = spelling.lower()
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


async def _answer(function: Function, request: HttpRequest) -> web.Response:
    try:
        call = {function.trigger: request}
        result = await function.main(**call) if function.is_async else await asyncio.to_thread(function.main, **call)
        return _response(request.method, result)
    except Exception:
        print(f"{function.name} failed:", file=sys.stderr)
        traceback.print_exc()
        return web.Response(status=500)


def _response(method: str, result: HttpResponse | str) -> web.Response:
    """What the worker makes of a return value, checked as Kestrel checks it before it sends."""
    answer = HttpResponse(result) if isinstance(result, str) else result
    encoded: dict[str, Any] = HttpResponseConverter.encode(answer, expected_type=None).value
    status = int(encoded["status_code"].value)
    body: bytes = encoded["body"].value
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in encoded["headers"].items():
        headers.setdefault(name, value.value)
    for cookies in encoded["cookies"] or ():
        for cookie in _set_cookies(cookies):
            headers.add(hdrs.SET_COOKIE, cookie)
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ResponseError(f"the header {name!r} has a character that can't be sent")
    if hdrs.TRANSFER_ENCODING in headers:
        raise ResponseError("Transfer-Encoding is the host's to set")
    # An answer to HEAD, and a 304, announce the length of a body that is not there.
    announced = headers.get(hdrs.CONTENT_LENGTH)
    if announced is not None and announced != str(len(body)) and method != hdrs.METH_HEAD and status != 304:
        raise ResponseError(f"Content-Length is {announced}, the body has {len(body)} bytes")
    return web.Response(status=status, headers=headers, body=body)


def _set_cookies(cookies: SimpleCookie) -> Iterable[str]:
    """The host writes each cookie anew: the value percent-encoded, for the path "/" unless another one is named."""
    for cookie in cookies.values():
        cookie.set(cookie.key, cookie.value, quote(cookie.value, safe=""))
        cookie["path"] = cookie["path"] or "/"
        yield cookie.OutputString()
