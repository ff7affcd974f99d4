"""The HTTP server of the Functions host: from a request to a call of a function, and from its result to a response."""

import asyncio
import os
import re
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable, Sequence
from http.cookies import SimpleCookie
from typing import Any, TypeVar
from urllib.parse import quote

from aiohttp import hdrs, web
from azure.functions import HttpRequest, HttpResponse
from azure.functions.http import HttpResponseConverter
from multidict import CIMultiDict

from local.functions_host.functions import Function, LoadedFunction
from local.functions_host.logs import running_function
from local.functions_host.routes import decode_path, encode_path, query_params

MAX_URL = 4096
MAX_HEADERS = 100
MAX_BODY = 104_857_600  # lowered by FUNCTIONS_REQUEST_BODY_SIZE_LIMIT
KEY_STORE = "LOCAL_KEY_STORE"
"""The variable that has this host play an app whose storage account, where function keys are, is `unavailable`."""

_HOST = re.compile(r"[A-Za-z0-9\-._~!$&'()*+;=%\[\]]+(?::[0-9]*)?")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")

F = TypeVar("F", bound=Function)


class ResponseError(Exception):
    """A function returned what the host can't send."""


def create_runner(functions: Sequence[F], invoke: Callable[[F, HttpRequest], Awaitable[web.Response]]) -> web.AppRunner:
    """A server of the functions, tried in their order; a request that none takes is a 404 without a body.

    `invoke` calls a function; any error that it raises is a 500 without a body. A stop waits 5 s for open requests.
    """
    max_body = int(os.environ.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", MAX_BODY))
    keys_unavailable = os.environ.get(KEY_STORE) == "unavailable"

    async def handle(request: web.Request) -> web.Response:
        target = request.raw_path
        if len(target) > MAX_URL:
            return web.Response(status=414)
        if len(request.headers) > MAX_HEADERS:
            return web.Response(status=431)
        raw_path, mark, query = target.partition("?")
        try:
            path = decode_path(raw_path)
            headers = _request_headers(request)
        except ValueError:
            return web.Response(status=400)
        host = headers.get("host", "")
        if not raw_path.startswith("/") or not _HOST.fullmatch(host):
            return web.Response(status=400)
        if re.match(r"/(admin|runtime)(/|\Z)", path, re.IGNORECASE):
            return web.Response(status=401)  # the host's own paths, whatever a catch-all says
        if request.method == "OPTIONS" and {"origin", "access-control-request-method"} <= headers.keys():
            return web.Response(status=204)  # on Flex Consumption no preflight reaches a function
        found = _find(functions, request.method, path)
        if found is None:
            return web.Response(status=404)
        # The host hands on a body only if its length was announced: one sent in chunks arrives empty.
        length = request.content_length or 0
        if length > max_body:
            return web.Response(status=500)  # azure-functions-host#10519
        params = query_params(query) if query else {}
        if keys_unavailable and ("x-functions-key" in headers or "code" in map(str.lower, params)):
            return web.Response(status=500)  # the host looks for a key, for an anonymous function too
        function, route_params = found
        forwarded = HttpRequest(
            method=request.method,
            url=f"http://{host}{encode_path(path)}{mark}{query.replace('#', '%23')}",
            headers=headers,
            params=params,
            route_params=route_params,
            body=await request.read() if length else b"",
        )
        try:
            return await invoke(function, forwarded)
        except Exception:
            print(f"{function.name} failed:", file=sys.stderr)
            traceback.print_exc()
            return web.Response(status=500)

    app = web.Application(client_max_size=max_body)
    app.router.add_route("*", r"/{path:[\s\S]*}", handle)  # a line break is a character of a path as any
    app.on_response_prepare.append(_drop_empty_content_type)
    # A body stays as it was sent; aiohttp waits for a handler twice as long as `shutdown_timeout`.
    return web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        max_line_size=65_536,
        max_field_size=32_768,
        lingering_time=5,
        shutdown_timeout=2.5,
    )


async def invoke(function: LoadedFunction, request: HttpRequest) -> web.Response:
    """Calls a function in this process, and makes of its result what worker and host make of it."""
    running_function.set(function.name)
    call = {function.trigger: request}
    result = await function.main(**call) if function.is_async else await asyncio.to_thread(function.main, **call)
    response = HttpResponse(result) if isinstance(result, str) else result
    encoded: dict[str, Any] = HttpResponseConverter.encode(response, expected_type=None).value
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in encoded["headers"].items():
        headers.setdefault(name, value.value)
    for cookies in encoded["cookies"] or ():
        for cookie in _set_cookies(cookies):
            headers.add(hdrs.SET_COOKIE, cookie)
    return checked_response(request.method, int(encoded["status_code"].value), headers, encoded["body"].value)


def checked_response(method: str, status: int, headers: CIMultiDict[str], body: bytes) -> web.Response:
    """The response to a request of this method, checked as Kestrel checks it before it sends. Raises ResponseError."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ResponseError(f"the header {name!r} has a character that can't be sent")
    if hdrs.TRANSFER_ENCODING in headers:
        raise ResponseError("Transfer-Encoding is the host's to set")
    # A response to HEAD, and a 304, announce the length of a body that is not there.
    announced = headers.get(hdrs.CONTENT_LENGTH)
    if announced is not None and announced != str(len(body)) and method != hdrs.METH_HEAD and status != 304:
        raise ResponseError(f"Content-Length is {announced}, the body has {len(body)} bytes")
    return web.Response(status=status, headers=headers, body=body)


def _set_cookies(cookies: SimpleCookie) -> Iterable[str]:
    """The host writes each cookie anew, such as `id=a%20b; domain=; path=/; samesite=lax; httponly`.

    The value is percent-encoded; the domain, which the worker sends empty where there is none, is always there.
    """
    for cookie in cookies.values():
        attributes = {name: str(cookie[name]) for name in ("expires", "max-age", "domain", "path", "samesite")}
        attributes["path"] = attributes["path"] or "/"
        named = [f"{name}={value.lower()}" for name, value in attributes.items() if value or name == "domain"]
        flags = [name for name in ("secure", "httponly") if cookie[name]]
        yield "; ".join([f"{cookie.key}={quote(cookie.value, safe='')}", *named, *flags])


async def _drop_empty_content_type(request: web.Request, response: web.StreamResponse) -> None:
    """ASP.NET Core takes an empty Content-Type for none (DefaultHttpResponse.ContentType)."""
    if response.headers.get(hdrs.CONTENT_TYPE) == "":
        del response.headers[hdrs.CONTENT_TYPE]


def _find(functions: Iterable[F], method: str, path: str) -> tuple[F, dict[str, str]] | None:
    for function in functions:
        if method in function.methods and (route_params := function.route.match(path)) is not None:
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
