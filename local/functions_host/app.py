"""The functions in this process: a request becomes a call of `main`, what it returns becomes the answer."""

import asyncio
from collections.abc import Iterable, Sequence
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import quote

from aiohttp import hdrs, web
from azure.functions import HttpRequest, HttpResponse
from azure.functions.http import HttpResponseConverter
from multidict import CIMultiDict

from local.functions_host import front
from local.functions_host.functions import LoadedFunction
from local.functions_host.logs import running


def create_app(functions: Sequence[LoadedFunction]) -> web.Application:
    """An application that serves the functions, tried in their order."""
    return front.create_app(functions, _invoke)


def create_runner(functions: Sequence[LoadedFunction]) -> web.AppRunner:
    """The application with the server's settings."""
    return front.create_runner(create_app(functions))


async def _invoke(function: LoadedFunction, request: HttpRequest) -> web.Response:
    running.set(function.name)
    call = {function.trigger: request}
    result = await function.main(**call) if function.is_async else await asyncio.to_thread(function.main, **call)
    return _response(request.method, result)


def _response(method: str, result: HttpResponse | str) -> web.Response:
    """What the worker makes of a return value."""
    answer = HttpResponse(result) if isinstance(result, str) else result
    encoded: dict[str, Any] = HttpResponseConverter.encode(answer, expected_type=None).value
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in encoded["headers"].items():
        headers.setdefault(name, value.value)
    for cookies in encoded["cookies"] or ():
        for cookie in _set_cookies(cookies):
            headers.add(hdrs.SET_COOKIE, cookie)
    return front.checked_response(method, int(encoded["status_code"].value), headers, encoded["body"].value)


def _set_cookies(cookies: SimpleCookie) -> Iterable[str]:
    """The host writes each cookie anew: the value percent-encoded, for the path "/" unless another one is named."""
    for cookie in cookies.values():
        cookie.set(cookie.key, cookie.value, quote(cookie.value, safe=""))
        cookie["path"] = cookie["path"] or "/"
        yield cookie.OutputString()
