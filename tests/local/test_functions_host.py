"""Small apps on disk, served by the host and asked over real connections."""

import asyncio
import gzip
import itertools
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import aiohttp
import pytest
from yarl import URL

from local.functions_host.functions import LoadError, apply_settings, load
from local.functions_host.server import KEY_STORE, create_runner, invoke
from local.serving import serving

PROJECT = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]
HOST = '{"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}'
ECHO = """
    async def main(req: func.HttpRequest) -> func.HttpResponse:
        seen = {"function": __name__, "method": req.method, "url": req.url, "headers": dict(req.headers)}
        seen |= {"params": dict(req.params), "route_params": dict(req.route_params), "body": req.get_body().hex()}
        return func.HttpResponse(json.dumps(seen), mimetype="application/json")
"""
COOKIE = "a=a%2Fb%3D; domain=; path=/; samesite=lax; secure; httponly"
SIZE = "async def main(req): return str(len(req.get_body()))"
# Returns the value of the expression in the header `make`: most tests of responses are one.
MAKE = """
    def headers(*pairs, **options):
        response = func.HttpResponse(**options)
        for name, value in pairs:
            response.headers.add(name, value)
        return response

    async def main(req):
        return eval(req.headers["make"])
"""
MEET = """
    import threading
    barrier = threading.Barrier(2, timeout=30)
    def main(req):
        barrier.wait()
        return "met"
"""
MEET_ASYNC = """
    both = asyncio.Barrier(2)
    async def main(req):
        async with asyncio.timeout(30):
            await both.wait()
        return "met"
"""

# Modules stay imported for the whole run, so every app's functions get names of their own.
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _restored_path() -> Iterator[None]:
    path = sys.path.copy()
    yield
    sys.path[:] = path


def add_function(root: Path, name: str, code: str, route: str | None = None, /, **changes: Any) -> str:
    """Writes a function folder (its name gets a suffix, which is returned with it) and a host.json without a prefix."""
    name = f"{name}_{next(_numbers)}"
    trigger = {"type": "httpTrigger", "direction": "in", "name": "req", "authLevel": "anonymous", "route": route}
    trigger |= {"methods": ["get", "post"]} | changes
    bindings = [trigger, {"type": "http", "direction": "out", "name": "$return"}]
    (root / name).mkdir()
    (root / name / "function.json").write_text(json.dumps({"scriptFile": "__init__.py", "bindings": bindings}))
    code = "import json, asyncio, time\nimport azure.functions as func\n" + dedent(code)
    (root / name / "__init__.py").write_text(code)
    (root / "host.json").write_text(HOST)
    return name


@asynccontextmanager
async def served(root: Path) -> AsyncIterator[str]:
    async with serving(create_runner(load(root), invoke)) as port:
        yield f"http://127.0.0.1:{port}"


async def send(base: str, target: str, method: str = "GET", **options: Any) -> tuple[aiohttp.ClientResponse, bytes]:
    url = URL(base + target, encoded=True)
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, allow_redirects=False, **options) as response,
    ):
        return response, await response.read()


async def send_raw(base: str, request: bytes) -> tuple[int, bytes, bytes]:
    """Sends the bytes of a request; its response's status, head and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(base).port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    # Closed from here, so that all that is to come is what was sent already.
    writer.write_eof()
    body = await reader.read()
    writer.close()
    return int(head.split(b" ")[1]), head, body


@pytest.fixture(scope="module")
async def base(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """An app with all the functions below, served."""
    root = tmp_path_factory.mktemp("app")
    for name, code, route, *methods in (
        ("b_literal", ECHO, "patients/mine"),
        ("A_catch_all", ECHO, "patients/{*rest}"),
        ("fhir_x", ECHO, "same"),
        ("fhirx", ECHO, "same"),
        ("got", ECHO, "methods", "get"),
        ("posted", ECHO, "methods", "post"),
        ("echo", ECHO, "echo/{base?}/{type?}/{*rest}"),
        ("size", SIZE, "size"),
        ("make", MAKE, "make", "get", "head"),
        ("met", MEET, "met"),
        ("met_async", MEET_ASYNC, "met-async"),
    ):
        add_function(root, name, code, route, methods=methods or ["get", "post"])
    async with served(root) as base:
        yield base


# Routing


@pytest.mark.parametrize(
    ("method", "target", "name"),
    [
        ("GET", "/patients/mine", "A_catch_all"),  # by the order of their names, not by precision
        ("GET", "/same", "fhirx"),  # the host compares names in upper case, where "_" comes after the letters
        ("GET", "/methods", "got"),
        ("POST", "/methods", "posted"),  # a wrong method falls through to the next route
        *((method, "/methods", "") for method in ("PUT", "HEAD", "OPTIONS")),
    ],
)
async def test_the_first_function_with_method_and_route_is_called(
    base: str, method: str, target: str, name: str
) -> None:
    response, body = await send(base, target, method)
    if not name:
        assert (response.status, body) == (404, b"")
    else:
        assert json.loads(body)["function"].startswith(f"{name}_")


# What the real host (4.1037, as on Flex Consumption) answers before any function is asked: the request, the status.
BEFORE_A_FUNCTION = [
    (b"GET /all HTTP/1.1", 200),
    *((b"GET %b HTTP/1.1" % path, 401) for path in (b"/admin", b"/Admin/host/status", b"/x/../admin/", b"/runtime/x")),
    (b"GET /administer HTTP/1.1", 200),
    (b"OPTIONS /all HTTP/1.1\r\nOrigin: https://a\r\nAccess-Control-Request-Method: GET", 204),
    (b"OPTIONS /all HTTP/1.1\r\nOrigin: https://a", 200),
    (b"GET /all HTTP/1.1\r\nOrigin: https://a", 200),
    (b"GET /all HTTP/1.1" + b"\r\nX: 1" * 98, 200),  # with Host and Connection: a hundred
    (b"GET /all HTTP/1.1" + b"\r\nX: 1" * 99, 431),
    *((b"GET /all?%b HTTP/1.1" % query, 500) for query in (b"code=8867-4", b"patient=1&Code=1", b"cod%65=1")),
    (b"GET /all?codes=1&x=code HTTP/1.1", 200),
    (b"GET /all HTTP/1.1\r\nX-Functions-Key: 1", 500),
    (b"POST /all HTTP/1.1\r\nContent-Length: 10", 500),
    (b"POST /all HTTP/1.1\r\nContent-Length: 9\r\n\r\n123456789", 200),
    (b"PUT /all HTTP/1.1", 404),
    *((b"GET %b HTTP/1.1" % b"/all?".ljust(length, b"x"), status) for length, status in ((4096, 200), (4097, 414))),
    *((line, 400) for line in (b"GET /all%00 HTTP/1.1", b"GET http://h/./all HTTP/1.1")),
    *((b"GET /all HTTP/1.1\r\n%b" % line, 400) for line in (b"Host: a/../b", b"Host: a?b", b"X-Latin: \xfc")),
    (b"GET /all HTTP/1.1\r\nHost: h\r\nHost: i", 400),
]


async def test_the_host_answers_before_any_function_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", "9")
    monkeypatch.setenv(KEY_STORE, "unavailable")
    add_function(tmp_path, "all", SIZE, "{*path}", methods=["get", "post", "options"])
    async with served(tmp_path) as base:
        for request, status in BEFORE_A_FUNCTION:
            line, end, rest = request.partition(b"\r\n")
            host = b"" if b"Host:" in request else b"\r\nHost: h"
            sent = b"%b%b\r\nConnection: close%b%b" % (line, host, end, rest)
            sent += b"" if b"\r\n\r\n" in rest else b"\r\n\r\n"
            found, _, body = await send_raw(base, sent)
            assert found == status, request
            assert status == 400 or (body != b"") == (status == 200), request


@pytest.mark.parametrize(("host", "prefix"), [("{}", "api"), (HOST.replace('""', '"v1/"'), "v1"), (HOST, "")])
def test_the_prefix_is_api_unless_the_host_file_names_one(tmp_path: Path, host: str, prefix: str) -> None:
    name = add_function(tmp_path, "plain", ECHO)
    (tmp_path / "host.json").write_text(host)
    assert load(tmp_path)[0].route.template == f"{prefix}/{name}".lstrip("/")


# Requests


async def test_a_request_arrives_as_the_host_hands_it_on(base: str) -> None:
    headers = [("Host", "gateway.example:8080"), ("X-One", "1"), ("x-one", "2"), ("X-Empty", "")]
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    query = "_sort:desc=date&d=ge1&d=le2&n=a|b%7Cc&empty=&%2f+x"
    target = f"/echo/stu3/./%50atient/a%2Fb|c/?{query}#y"
    head = f"POST {target} HTTP/1.1\r\n{lines}Content-Length: 3\r\nConnection: close\r\n\r\n"
    seen = json.loads((await send_raw(base, head.encode() + b"\0ab"))[2])
    assert seen["method"] == "POST"
    assert seen["url"] == f"http://gateway.example:8080/echo/stu3/Patient/a%2Fb%7Cc/?{query}%23y"
    assert seen["params"] == {"_sort:desc": "date", "d": "ge1,le2", "n": "a|b|c"}
    assert seen["route_params"] == {"base": "stu3", "type": "Patient", "rest": "a%2Fb|c/"}
    assert seen["body"] == b"\0ab".hex()
    assert (seen["headers"]["x-one"], seen["headers"]["x-empty"]) == ("1,2", "")
    assert seen["headers"]["host"] == "gateway.example:8080"


async def test_a_compressed_body_is_not_touched_and_a_chunked_one_arrives_empty(base: str) -> None:
    sent = gzip.compress(b"{}")
    _, body = await send(base, "/echo", "POST", data=sent, headers={"Content-Encoding": "gzip"})
    assert json.loads(body)["body"] == sent.hex()
    head = b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    seen = json.loads((await send_raw(base, head + b"2\r\nab\r\n0\r\n\r\n"))[2])
    assert (seen["body"], seen["headers"]["transfer-encoding"]) == ("", "chunked")


async def test_a_body_may_have_100_megabytes(base: str) -> None:
    assert (await send(base, "/size", "POST", data=bytes(104_857_600)))[1] == b"104857600"
    assert (await send_raw(base, b"POST /size HTTP/1.1\r\nHost: h\r\nContent-Length: 104857601\r\n\r\n"))[0] == 500


# Responses


@pytest.mark.parametrize(
    ("expression", "status", "sent", "headers"),
    [
        (
            "func.HttpResponse(b'{}', status_code=201, headers={'ETag': 'W/1'}, mimetype='application/fhir+json')",
            *(201, b"{}", {"ETag": ["W/1"], "Content-Type": ["application/fhir+json"], "Content-Length": ["2"]}),
        ),
        ("func.HttpResponse('x')", 200, b"x", {"Content-Type": ["text/plain; charset=utf-8"]}),
        ("'x'", 200, b"x", {"Content-Type": ["text/plain; charset=utf-8"]}),
        ("headers(body='x', mimetype='text/html')", 200, b"x", {"Content-Type": ["text/html; charset=utf-8"]}),
        # A header wins over the mimetype, and an empty one is none.
        (
            "headers(('content-type', 'image/png'), body='x', mimetype='a/b')",
            *(200, b"x", {"Content-Type": ["image/png"]}),
        ),
        *(
            (f"headers(('Content-Type', {given!r}), status_code={status})", status, b"", {"Content-Type": sent})
            for status in (200, 201, 204, 304)
            for given, sent in (("", []), ("application/fhir+json", ["application/fhir+json"]))
        ),
        ("headers(('X-Two', '1'), ('X-Two', '2'), ('x-two', '3'))", 200, b"", {"X-Two": ["2"]}),
        (
            "headers(('Set-Cookie', 'a=a/b=; HttpOnly; Secure; SameSite=Lax'), ('Set-Cookie', 'b=1; Path=/portal'))",
            *(200, b"", {"Set-Cookie": [COOKIE, "b=1; domain=; path=/portal"]}),  # written anew by the host
        ),
        ("headers(('Content-Length', '1'), body='x')", 200, b"x", {"Content-Length": ["1"]}),
        ("headers(('Content-Length', '1234'), status_code=304)", 304, b"", {}),
    ],
)
async def test_a_response_is_sent_with_its_status_headers_and_body(
    base: str, expression: str, status: int, sent: bytes, headers: dict[str, list[str]]
) -> None:
    response, body = await send(base, "/make", headers={"make": expression})
    assert (response.status, body) == (status, sent)
    assert {name: response.headers.getall(name, []) for name in headers} == headers
    head, body = await send(base, "/make", "HEAD", headers={"make": expression})
    assert (head.status, body) == (status, b"")
    assert head.headers.get("Content-Type") == response.headers.get("Content-Type")


@pytest.mark.parametrize(
    "expression",
    [
        *("1 / 0", "None", "{'a': 1}", "headers(status_code='many')", "headers(('X Name', 'a'))"),
        *("headers(('X-Name', 'M\\xfcller'))", "headers(('X-Name', 'a\\r\\nSet-Cookie: b=1'))"),
        *("headers(('Content-Length', '2'), body='x')", "headers(('Transfer-Encoding', 'chunked'), body='x')"),
    ],
)
async def test_what_cant_be_sent_is_a_500_and_a_traceback(base: str, expression: str, capsys: Capture) -> None:
    response, body = await send(base, "/make?patient=secret", headers={"make": expression})
    assert (response.status, body) == (500, b"")
    printed = capsys.readouterr().err
    assert re.match(r"make_\d+ failed:\nTraceback", printed)
    assert "secret" not in printed


@pytest.mark.parametrize(
    ("method", "expression", "line"),
    [
        ("HEAD", "'seven b'", b"Content-Length: 7\r\n"),
        ("HEAD", "headers(('Content-Length', '1234'))", b"Content-Length: 1234\r\n"),
        ("GET", "headers(body='x', status_code=204)", b" 204 "),
        ("GET", "headers(body='x', status_code=304)", b" 304 "),
    ],
)
async def test_no_body_follows_where_there_must_be_none(base: str, method: str, expression: str, line: bytes) -> None:
    request = f"{method} /make HTTP/1.1\r\nHost: h\r\nmake: {expression}\r\nConnection: close\r\n\r\n"
    _, head, body = await send_raw(base, request.encode())
    assert (line in head, body) == (True, b"")


@pytest.mark.parametrize("path", ["/met", "/met-async"])
async def test_sync_functions_run_beside_each_other_and_async_ones_on_one_loop(base: str, path: str) -> None:
    assert [body for _, body in await asyncio.gather(send(base, path), send(base, path))] == [b"met", b"met"]


# Loading


def test_only_and_without_select_http_functions_and_must_name_one(tmp_path: Path) -> None:
    first, second = (add_function(tmp_path, name, ECHO) for name in ("first", "second"))
    add_function(tmp_path, "timer", ECHO, type="timerTrigger")
    (tmp_path / "shared").mkdir()
    for options, names in (({}, [first, second]), ({"only": [second]}, [second]), ({"without": [second]}, [first])):
        assert [function.name for function in load(tmp_path, **options)] == names
    with pytest.raises(LoadError, match="no such function: portal"):
        load(tmp_path, without=["portal"])


@pytest.mark.parametrize(
    ("variable", "is_served"),
    [
        *(("AzureWebJobs.{}.Disabled=true", 0), ("AzureWebJobs_{}_Disabled=True", 0)),
        *(("AzureWebJobs.{}.Disabled=1", 0), ("AzureWebJobs.{}.Disabled=false", 1)),
    ],
)
def test_a_setting_switches_a_function_off_unimported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, is_served: int
) -> None:
    name = add_function(tmp_path, "switched", ECHO)
    monkeypatch.setenv(*variable.format(name).split("="))
    assert (len(load(tmp_path)), name in sys.modules) == (is_served, is_served)


def test_a_script_and_an_entry_point_of_other_names_are_found(tmp_path: Path) -> None:
    name = add_function(tmp_path, "named", "VALUE = 1")
    config = json.loads((tmp_path / name / "function.json").read_text())
    config |= {"scriptFile": "entry.py", "entryPoint": "serve"}
    (tmp_path / name / "function.json").write_text(json.dumps(config))
    (tmp_path / name / "entry.py").write_text("from . import VALUE\ndef serve(req): return str(VALUE)")
    (function,) = load(tmp_path)
    assert (function.main(None), function.is_async) == ("1", False)


@pytest.mark.parametrize(
    ("code", "change", "complaint"),
    [
        *((ECHO, {"route": route}, "must not begin with admin or runtime") for route in ("admin/x", "Runtime")),
        (ECHO, {"route": "{id:int}"}, "not a constraint this host knows, 'int'"),
        (ECHO, {"authLevel": "function"}, "authLevel must be anonymous"),
        (ECHO, {"methods": []}, "methods are missing"),
        (ECHO, {"name": "request"}, "must take exactly one argument, request"),
        ("x = 1", {}, "has no function main"),
        ("raise ValueError('KEY_VAULT_URL is not set')", {}, "ValueError: KEY_VAULT_URL is not set"),
        ("import no_such_module", {}, "ModuleNotFoundError: No module named 'no_such_module'"),
        (ECHO, {"bindings": [{"type": "httpTrigger", "authLevel": "anonymous"}]}, "named $return is missing"),
        (ECHO, {"scriptFile": "../host.json"}, "scriptFile is not in the function's folder"),
        (ECHO, {"scriptFile": "absent.py"}, "scriptFile is not in the function's folder"),
    ],
)
def test_an_app_that_azure_would_not_serve_so_is_an_error_that_names_the_function(
    tmp_path: Path, code: str, change: dict[str, Any], complaint: str
) -> None:
    name = add_function(tmp_path, "wrong", code, **change)
    file = tmp_path / name / "function.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(LoadError, match=f"^{name}: .*{re.escape(complaint)}"):
        load(tmp_path)


def test_the_name_of_a_module_and_a_broken_host_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"host\.json"):
        load(tmp_path)
    (tmp_path / add_function(tmp_path, "wrong", ECHO)).rename(tmp_path / "json")
    with pytest.raises(LoadError, match="json: another module has this name"):
        load(tmp_path)
    (tmp_path / "host.json").write_text("{")
    with pytest.raises(LoadError, match=r"host\.json"):
        load(tmp_path)


def test_settings_fill_the_environment_where_it_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"HOST_TEST_SET": "environment"})
    apply_settings(tmp_path)
    (tmp_path / "local.settings.json").write_text('{"Values": {"HOST_TEST_SET": "file", "HOST_TEST_UNSET": "file"}}')
    apply_settings(tmp_path)
    assert os.environ == {"HOST_TEST_SET": "environment", "HOST_TEST_UNSET": "file"}
    (tmp_path / "local.settings.json").write_text('{"Values": {"HOST_TEST_NUMBER": 1}}')
    with pytest.raises(LoadError, match=r"local\.settings\.json: Values must be an object of strings"):
        apply_settings(tmp_path)


# The command line


@asynccontextmanager
async def command(root: Path, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "local.functions_host", "--root", str(root), "--port", "0"),
        *options,
        cwd=PROJECT,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    read = await process.stdout.readline()
    assert read, "the host ended"
    return read.decode().rstrip()


async def address(process: asyncio.subprocess.Process) -> str:
    while not (read := await line(process)).startswith("Functions host listening on http://127.0.0.1:"):
        pass
    return read.rpartition(" ")[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_stopped_host_ends_the_requests_it_has_and_takes_no_more(tmp_path: Path, number: int) -> None:
    code = """
        import sys
        async def main(req):
            print("entered", flush=True)
            return await asyncio.to_thread(sys.stdin.readline)
    """
    name = add_function(tmp_path, "slow", code, "slow")
    add_function(tmp_path, "not_served", ECHO, "not-served")
    async with command(tmp_path, "--only", name) as process, aiohttp.ClientSession() as session:
        assert await line(process) == f"{name}: GET,POST /slow"
        base = await address(process)
        answer = asyncio.create_task(session.get(f"{base}/slow"))
        assert await line(process) == "entered"
        process.send_signal(number)
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", URL(base).port)
            except ConnectionRefusedError:
                break
            writer.close()
            await asyncio.sleep(0.01)
        assert process.stdin is not None
        process.stdin.write(b"done\n")
        assert await (await answer).text() == "done\n"
        assert await process.wait() == 0


async def test_a_stopped_host_does_not_wait_for_what_never_ends(tmp_path: Path) -> None:
    code = """
        import threading
        def main(req):
            print("entered", flush=True)
            threading.Event().wait()
    """
    add_function(tmp_path, "endless", code, "endless")
    async with command(tmp_path) as process, aiohttp.ClientSession() as session:
        base = await address(process)
        answer = asyncio.create_task(session.get(f"{base}/endless"))
        assert await line(process) == "entered"
        process.terminate()
        async with asyncio.timeout(60):
            assert await process.wait() == 0
        with pytest.raises(aiohttp.ClientError):
            await answer


async def test_settings_and_log_levels_are_those_of_the_files(tmp_path: Path) -> None:
    code = """
        import logging, os
        async def main(req):
            logging.getLogger("audit").info("an audit line")
            logging.getLogger("audit").debug("a quiet line")
            return os.environ["HOST_TEST_GREETING"]
    """
    name = add_function(tmp_path, "logging", code, "logging")
    add_function(tmp_path, "quiet", code, "quiet")
    levels = {"default": "Warning", f"Function.{name}.User": "Information", "audit": "Information"}
    (tmp_path / "host.json").write_text(json.dumps({**json.loads(HOST), "logging": {"logLevel": levels}}))
    (tmp_path / "local.settings.json").write_text('{"IsEncrypted": false, "Values": {"HOST_TEST_GREETING": "hello"}}')
    async with command(tmp_path) as process:
        base = await address(process)
        for target in ("/logging?name=ruth", "/quiet"):
            assert (await send(base, target))[1] == b"hello"
        process.terminate()
        _, errors = await process.communicate()
        assert errors == b"INFO audit: an audit line\n"


async def test_an_app_that_cant_be_loaded_ends_the_start_with_one_line(tmp_path: Path) -> None:
    name = add_function(tmp_path, "broken", "raise ValueError('KEY_VAULT_URL is not set')")
    async with command(tmp_path) as process:
        output, errors = await process.communicate()
        assert (process.returncode, output) == (1, b"")
        assert errors.decode() == f"{name}: ValueError: KEY_VAULT_URL is not set\n"


async def test_a_port_that_is_taken_ends_the_start_with_one_line(base: str, tmp_path: Path) -> None:
    add_function(tmp_path, "echo", ECHO)
    async with command(tmp_path, "--port", str(URL(base).port)) as process:
        _, errors = await process.communicate()
        assert process.returncode == 1
        assert len(errors.splitlines()) == 1
        assert b"address already in use" in errors
