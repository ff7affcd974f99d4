"""Small apps on disk, served by the host and asked over real connections."""

import asyncio
import gzip
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import aiohttp
import pytest
from yarl import URL

from local.functions_host.functions import LoadedFunction, LoadError, apply_settings, load
from local.functions_host.server import create_runner, invoke
from local.serving import serving as serve

PROJECT = Path(__file__).parents[2]
ECHO = """
    async def main(req: func.HttpRequest) -> func.HttpResponse:
        seen = {"function": __name__, "method": req.method, "url": req.url, "headers": dict(req.headers)}
        seen |= {"params": dict(req.params), "route_params": dict(req.route_params), "body": req.get_body().hex()}
        return func.HttpResponse(json.dumps(seen), mimetype="application/json")
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
    config = {
        "scriptFile": "__init__.py",
        "bindings": [trigger, {"type": "http", "direction": "out", "name": "$return"}],
    }
    (root / name).mkdir()
    (root / name / "function.json").write_text(json.dumps(config))
    (root / name / "__init__.py").write_text(
        "import json, asyncio, time\nimport azure.functions as func\n" + dedent(code)
    )
    (root / "host.json").write_text('{"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}')
    return name


def answering(expression: str) -> str:
    """The code of a function that returns the value of an expression."""
    return f"\nasync def main(req: func.HttpRequest) -> func.HttpResponse:\n{indent(expression, '    return ')}\n"


@asynccontextmanager
async def serving(functions: list[LoadedFunction]) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    async with serve(create_runner(functions, invoke)) as port, aiohttp.ClientSession() as session:
        yield session, f"http://127.0.0.1:{port}"


async def ask(root: Path, target: str, method: str = "GET", **options: Any) -> tuple[aiohttp.ClientResponse, bytes]:
    async with (
        serving(load(root)) as (session, base),
        session.request(method, URL(base + target, encoded=True), allow_redirects=False, **options) as response,
    ):
        return response, await response.read()


async def ask_raw(root: Path, request: bytes) -> bytes:
    async with serving(load(root)) as (_, base):
        reader, writer = await asyncio.open_connection("127.0.0.1", URL(base).port)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        # Closed from here, so that all that is to come is what was sent already.
        writer.write_eof()
        answer = head + await reader.read()
        writer.close()
        return answer


# Routing


async def test_functions_are_tried_in_the_order_of_their_names_and_not_by_precision(tmp_path: Path) -> None:
    add_function(tmp_path, "b_literal", ECHO, "patients/mine")
    catch_all = add_function(tmp_path, "A_catch_all", ECHO, "patients/{*rest}")
    _, body = await ask(tmp_path, "/patients/mine")
    assert json.loads(body)["function"] == catch_all


async def test_underscores_sort_after_letters_as_in_the_host(tmp_path: Path) -> None:
    add_function(tmp_path, "fhir_x", ECHO, "same")
    letters = add_function(tmp_path, "fhirx", ECHO, "same")
    _, body = await ask(tmp_path, "/same")
    assert json.loads(body)["function"] == letters


async def test_a_wrong_method_falls_through_to_the_next_route_and_in_the_end_is_404(tmp_path: Path) -> None:
    add_function(tmp_path, "a", ECHO, "same", methods=["get"])
    posts = add_function(tmp_path, "b", ECHO, "same", methods=["post"])
    _, body = await ask(tmp_path, "/same", "POST")
    assert json.loads(body)["function"] == posts
    for method in ("PUT", "HEAD", "OPTIONS"):
        response, body = await ask(tmp_path, "/same", method)
        assert (response.status, body) == (404, b"")


async def test_the_hosts_own_paths_reach_no_function(tmp_path: Path) -> None:
    add_function(tmp_path, "all", ECHO, "{*path}")
    for path, status in {"/admin": 404, "/Admin/host/status": 404, "/x/../admin/": 404, "/administer": 200}.items():
        response, _ = await ask(tmp_path, path)
        assert response.status == status


async def test_the_prefix_is_api_unless_the_host_file_names_one(tmp_path: Path) -> None:
    name = add_function(tmp_path, "plain", ECHO)
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    assert (await ask(tmp_path, f"/api/{name}"))[0].status == 200
    (tmp_path / "host.json").write_text('{"version": "2.0", "extensions": {"http": {"routePrefix": "v1/"}}}')
    assert (await ask(tmp_path, f"/v1/{name}"))[0].status == 200
    assert (await ask(tmp_path, f"/api/{name}"))[0].status == 404


# Requests


async def test_a_request_arrives_as_the_host_hands_it_on(tmp_path: Path) -> None:
    add_function(tmp_path, "echo", ECHO, "{base}/{type?}/{*rest}")
    headers = [("Host", "gateway.example:8080"), ("X-One", "1"), ("x-one", "2"), ("X-Empty", "")]
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    query = "_sort:desc=date&d=ge1&d=le2&n=a|b%7Cc&empty=&%2f+x"
    target = f"/stu3/./%50atient/a%2Fb|c/?{query}#y"
    answer = await ask_raw(
        tmp_path,
        f"POST {target} HTTP/1.1\r\n{lines}Content-Length: 3\r\nConnection: close\r\n\r\n\0ab".encode(),
    )
    seen = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert seen["method"] == "POST"
    assert seen["url"] == f"http://gateway.example:8080/stu3/Patient/a%2Fb%7Cc/?{query}%23y"
    assert seen["params"] == {"_sort:desc": "date", "d": "ge1,le2", "n": "a|b|c"}
    assert seen["route_params"] == {"base": "stu3", "type": "Patient", "rest": "a%2Fb|c/"}
    assert seen["body"] == b"\0ab".hex()
    assert seen["headers"]["x-one"] == "1,2"
    assert seen["headers"]["x-empty"] == ""
    assert seen["headers"]["host"] == "gateway.example:8080"


async def test_a_compressed_body_is_not_touched(tmp_path: Path) -> None:
    add_function(tmp_path, "echo", ECHO, "echo")
    sent = gzip.compress(b"{}")
    _, body = await ask(tmp_path, "/echo", "POST", data=sent, headers={"Content-Encoding": "gzip"})
    assert json.loads(body)["body"] == sent.hex()


async def test_a_chunked_body_arrives_empty(tmp_path: Path) -> None:
    add_function(tmp_path, "echo", ECHO, "echo")
    head = b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    answer = await ask_raw(tmp_path, head + b"2\r\nab\r\n0\r\n\r\n")
    seen = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert seen["body"] == ""
    assert seen["headers"]["transfer-encoding"] == "chunked"


async def test_an_url_may_have_4096_characters(tmp_path: Path) -> None:
    add_function(tmp_path, "echo", ECHO, "echo")
    response, _ = await ask(tmp_path, "/echo?" + "x" * 4090)
    assert response.status == 200
    for length in (4091, 20_000):
        response, body = await ask(tmp_path, "/echo?" + "x" * length)
        assert (response.status, body) == (414, b"")


async def test_a_body_may_have_100_megabytes(tmp_path: Path) -> None:
    add_function(tmp_path, "size", answering("func.HttpResponse(str(len(req.get_body())))"), "size")
    _, body = await ask(tmp_path, "/size", "POST", data=bytes(104_857_600))
    assert body == b"104857600"
    answer = await ask_raw(tmp_path, b"POST /size HTTP/1.1\r\nHost: h\r\nContent-Length: 104857601\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ")


async def test_a_setting_lowers_what_a_body_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", "9")
    add_function(tmp_path, "size", answering("func.HttpResponse(str(len(req.get_body())))"), "size")
    assert (await ask(tmp_path, "/size", "POST", data=bytes(9)))[1] == b"9"
    response, body = await ask(tmp_path, "/size", "POST", data=bytes(10))
    assert (response.status, body) == (500, b"")


@pytest.mark.parametrize(
    "request_lines",
    [
        b"GET /echo%00 HTTP/1.1\r\nHost: h",
        b"GET /echo HTTP/1.1\r\nHost: a/../b",
        b"GET /echo HTTP/1.1\r\nHost: a?b",
        b"GET /echo HTTP/1.1\r\nHost: h\r\nHost: i",
        b"GET http://h/./echo HTTP/1.1\r\nHost: h",
        b"GET /echo HTTP/1.1\r\nHost: h\r\nX-Latin: \xfc",
    ],
)
async def test_what_the_real_server_refuses_is_refused(tmp_path: Path, request_lines: bytes) -> None:
    add_function(tmp_path, "echo", ECHO, "{*path}")
    answer = await ask_raw(tmp_path, request_lines + b"\r\nConnection: close\r\n\r\n")
    assert answer.split(b" ")[1] == b"400"


# Responses


async def test_an_answer_is_sent_with_its_status_headers_and_body(tmp_path: Path) -> None:
    code = answering(
        "func.HttpResponse(b'{}', status_code=201, headers={'ETag': 'W/\"1\"'}, mimetype='application/fhir+json')"
    )
    add_function(tmp_path, "made", code, "made")
    response, body = await ask(tmp_path, "/made")
    assert (response.status, body) == (201, b"{}")
    assert response.headers["ETag"] == 'W/"1"'
    assert response.headers["Content-Type"] == "application/fhir+json"
    assert response.headers["Content-Length"] == "2"


@pytest.mark.parametrize(
    ("expression", "content_type"),
    [
        ("func.HttpResponse('x')", "text/plain; charset=utf-8"),
        ("'x'", "text/plain; charset=utf-8"),
        ("func.HttpResponse('x', mimetype='text/html')", "text/html; charset=utf-8"),
        ("func.HttpResponse('x', mimetype='text/html', headers={'content-type': 'image/png'})", "image/png"),
        ("func.HttpResponse('x', headers={'Content-Type': ''})", None),
    ],
)
async def test_the_content_types_header_wins_over_the_mimetype(
    tmp_path: Path, expression: str, content_type: str | None
) -> None:
    add_function(tmp_path, "typed", answering(expression), "typed")
    response, body = await ask(tmp_path, "/typed")
    assert body == b"x"
    assert response.headers.getall("Content-Type", []) == ([content_type] if content_type else [])


@pytest.mark.parametrize("status", [200, 201, 204, 304])
@pytest.mark.parametrize(("given", "sent"), [("", None), ("application/fhir+json", "application/fhir+json")])
async def test_an_answer_without_a_body_has_the_content_type_that_it_names(
    tmp_path: Path, status: int, given: str, sent: str | None
) -> None:
    expression = f"func.HttpResponse(status_code={status}, headers={{'Content-Type': {given!r}}})"
    add_function(tmp_path, "bare", answering(expression), "bare", methods=["get", "head"])
    for method in ("GET", "HEAD"):
        response, body = await ask(tmp_path, "/bare", method)
        assert (response.status, body, response.headers.get("Content-Type")) == (status, b"", sent)


async def test_a_header_has_one_value(tmp_path: Path) -> None:
    code = """
        async def main(req):
            response = func.HttpResponse()
            response.headers.add("X-Two", "1")
            response.headers.add("X-Two", "2")
            response.headers.add("x-two", "3")
            return response
    """
    add_function(tmp_path, "twice", code, "twice")
    response, _ = await ask(tmp_path, "/twice")
    assert response.headers.getall("X-Two") == ["2"]


async def test_cookies_are_several_and_written_anew_by_the_host(tmp_path: Path) -> None:
    code = """
        async def main(req):
            response = func.HttpResponse()
            response.headers.add("Set-Cookie", "session=a/b=; HttpOnly; Secure; SameSite=Lax")
            response.headers.add("Set-Cookie", "other=1; Path=/portal")
            return response
    """
    add_function(tmp_path, "cookies", code, "cookies")
    response, _ = await ask(tmp_path, "/cookies")
    session, other = response.headers.getall("Set-Cookie")
    assert set(session.split("; ")) == {"session=a%2Fb%3D", "HttpOnly", "Secure", "SameSite=Lax", "Path=/"}
    assert other == "other=1; Path=/portal"


@pytest.mark.parametrize(
    "expression",
    [
        "1 / 0",
        "None",
        "{'a': 1}",
        "func.HttpResponse('x', headers={'X-Name': 'Müller'})",
        "func.HttpResponse('x', headers={'X-Name': 'a\\r\\nSet-Cookie: b=1'})",
        "func.HttpResponse('x', headers={'X Name': 'a'})",
        "func.HttpResponse('x', headers={'Content-Length': '2'})",
        "func.HttpResponse('x', headers={'Transfer-Encoding': 'chunked'})",
        "func.HttpResponse('x', status_code='many')",
    ],
)
async def test_what_the_host_cant_send_is_a_500_without_a_body_and_a_traceback_on_stderr(
    tmp_path: Path, expression: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = add_function(tmp_path, "failing", answering(expression), "failing")
    response, body = await ask(tmp_path, "/failing?patient=secret")
    assert (response.status, body) == (500, b"")
    printed = capsys.readouterr().err
    assert f"{name} failed:\nTraceback" in printed
    assert "secret" not in printed


async def test_a_right_content_length_is_sent_once(tmp_path: Path) -> None:
    add_function(tmp_path, "sized", answering("func.HttpResponse('x', headers={'Content-Length': '1'})"), "sized")
    response, body = await ask(tmp_path, "/sized")
    assert body == b"x"
    assert response.headers.getall("Content-Length") == ["1"]


async def test_an_answer_to_head_has_the_length_but_no_body(tmp_path: Path) -> None:
    add_function(tmp_path, "head", answering("func.HttpResponse('seven b')"), "head", methods=["head"])
    answer = await ask_raw(tmp_path, b"HEAD /head HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert b"\r\nContent-Length: 7\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")
    code = answering("func.HttpResponse(headers={'Content-Length': '1234'})")
    add_function(tmp_path, "head", code, "announced", methods=["head"])
    response, _ = await ask(tmp_path, "/announced", "HEAD")
    assert response.headers["Content-Length"] == "1234"


async def test_a_304_may_announce_the_length_of_what_it_does_not_send(tmp_path: Path) -> None:
    code = answering("func.HttpResponse(status_code=304, headers={'Content-Length': '1234'})")
    add_function(tmp_path, "unchanged", code, "unchanged")
    response, body = await ask(tmp_path, "/unchanged")
    assert (response.status, body) == (304, b"")


@pytest.mark.parametrize("status", [204, 304])
async def test_a_204_and_a_304_have_no_body(tmp_path: Path, status: int) -> None:
    add_function(tmp_path, "bare", answering(f"func.HttpResponse('x', status_code={status})"), "bare")
    answer = await ask_raw(tmp_path, b"GET /bare HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert answer.endswith(b"\r\n\r\n")


async def test_sync_functions_run_beside_each_other_and_async_ones_on_one_loop(tmp_path: Path) -> None:
    meeting = """
        import threading
        barrier = threading.Barrier(2, timeout=30)
        def main(req):
            barrier.wait()
            return func.HttpResponse("met")
    """
    waiting = """
        both = asyncio.Barrier(2)
        async def main(req):
            async with asyncio.timeout(30):
                await both.wait()
            return func.HttpResponse("met")
    """
    add_function(tmp_path, "sync", meeting, "sync")
    add_function(tmp_path, "async", waiting, "async")
    async with serving(load(tmp_path)) as (session, base):
        for path in ("/sync", "/async"):
            responses = await asyncio.gather(session.get(base + path), session.get(base + path))
            assert [await response.text() for response in responses] == ["met", "met"]


# Loading


def test_only_and_without_select_functions_and_must_name_one(tmp_path: Path) -> None:
    first = add_function(tmp_path, "first", ECHO)
    second = add_function(tmp_path, "second", ECHO)
    assert [function.name for function in load(tmp_path)] == [first, second]
    assert [function.name for function in load(tmp_path, only=[second])] == [second]
    assert [function.name for function in load(tmp_path, without=[second])] == [first]
    with pytest.raises(LoadError, match="no such function: portal"):
        load(tmp_path, without=["portal"])


@pytest.mark.parametrize(
    ("variable", "value", "is_served"),
    [
        ("AzureWebJobs.{}.Disabled", "true", False),
        ("AzureWebJobs.{}.Disabled", "1", False),
        ("AzureWebJobs_{}_Disabled", "True", False),
        ("AzureWebJobs.{}.Disabled", "false", True),
    ],
)
def test_a_setting_switches_a_function_off_unimported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, is_served: bool
) -> None:
    name = add_function(tmp_path, "switched", ECHO)
    monkeypatch.setenv(variable.format(name), value)
    assert bool(load(tmp_path)) is is_served
    assert (name in sys.modules) is is_served


def test_functions_share_the_modules_of_the_root(tmp_path: Path) -> None:
    module = f"module_{next(_numbers)}"
    (tmp_path / f"{module}.py").write_text("seen = []")
    for name in ("one", "two"):
        add_function(
            tmp_path, name, f"from {module} import seen\nseen.append(1)\nasync def main(req): return str(seen)"
        )
    load(tmp_path)
    assert sys.modules[module].seen == [1, 1]


def test_a_script_and_an_entry_point_of_other_names_are_found(tmp_path: Path) -> None:
    name = add_function(tmp_path, "named", "VALUE = 1")
    config = json.loads((tmp_path / name / "function.json").read_text())
    config |= {"scriptFile": "entry.py", "entryPoint": "serve"}
    (tmp_path / name / "function.json").write_text(json.dumps(config))
    (tmp_path / name / "entry.py").write_text("from . import VALUE\ndef serve(req): return str(VALUE)")
    (function,) = load(tmp_path)
    assert function.main(None) == "1"
    assert not function.is_async


def test_folders_without_an_http_trigger_are_no_business_of_the_host(tmp_path: Path) -> None:
    add_function(tmp_path, "timer", ECHO, type="timerTrigger")
    (tmp_path / "shared").mkdir()
    assert load(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "changes", "complaint"),
    [
        (ECHO, {"route": "admin/x"}, "must not begin with admin or runtime"),
        (ECHO, {"route": "Runtime"}, "must not begin with admin or runtime"),
        (ECHO, {"route": "{id:int}"}, "not a constraint this host knows, 'int'"),
        (ECHO, {"authLevel": "function"}, "authLevel must be anonymous"),
        (ECHO, {"methods": []}, "methods are missing"),
        (ECHO, {"name": "request"}, "must take exactly one argument, request"),
        ("x = 1", {}, "has no function main"),
        ("raise ValueError('KEY_VAULT_URL is not set')", {}, "ValueError: KEY_VAULT_URL is not set"),
        ("import no_such_module", {}, "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_an_app_that_azure_would_not_serve_so_is_an_error_that_names_the_function(
    tmp_path: Path, code: str, changes: dict[str, Any], complaint: str
) -> None:
    name = add_function(tmp_path, "wrong", code, **changes)
    with pytest.raises(LoadError) as raised:
        load(tmp_path)
    assert str(raised.value).startswith(f"{name}: ")
    assert complaint in str(raised.value)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda config: config["bindings"].pop(), "named $return is missing"),
        (lambda config: config.update(scriptFile="../host.json"), "scriptFile is not in the function's folder"),
        (lambda config: config.update(scriptFile="absent.py"), "scriptFile is not in the function's folder"),
    ],
)
def test_a_wrong_function_file_is_an_error(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], complaint: str
) -> None:
    name = add_function(tmp_path, "wrong", ECHO)
    path = tmp_path / name / "function.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    with pytest.raises(LoadError) as raised:
        load(tmp_path)
    assert complaint in str(raised.value)


def test_a_function_with_the_name_of_a_module_is_an_error(tmp_path: Path) -> None:
    (tmp_path / add_function(tmp_path, "wrong", ECHO)).rename(tmp_path / "json")
    with pytest.raises(LoadError, match="json: another module has this name"):
        load(tmp_path)


def test_a_host_file_must_be_there_and_sound(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"host\.json"):
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
        *(sys.executable, "-m", "local.functions_host", "--root", str(root), "--port", "0", *options),
        cwd=PROJECT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
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


async def started(process: asyncio.subprocess.Process) -> tuple[list[str], str]:
    """The lines about the functions, and the address."""
    lines = [await line(process)]
    while not lines[-1].startswith("Functions host listening on http://127.0.0.1:"):
        lines.append(await line(process))
    return lines[:-1], lines[-1].rpartition(" ")[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_stopped_host_ends_the_requests_it_has_and_takes_no_more(
    tmp_path: Path, number: signal.Signals
) -> None:
    code = """
        import sys
        async def main(req):
            print("entered", flush=True)
            return await asyncio.to_thread(sys.stdin.readline)
    """
    name = add_function(tmp_path, "slow", code, "slow")
    add_function(tmp_path, "not_served", ECHO, "not-served")
    async with command(tmp_path, "--only", name) as process, aiohttp.ClientSession() as session:
        lines, base = await started(process)
        assert lines == [f"{name}: GET,POST /slow"]
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
        _, base = await started(process)
        answer = asyncio.create_task(session.get(f"{base}/endless"))
        assert await line(process) == "entered"
        process.terminate()
        async with asyncio.timeout(60):
            assert await process.wait() == 0
        with pytest.raises(aiohttp.ClientError):
            await answer


async def test_settings_of_the_root_reach_the_functions(tmp_path: Path) -> None:
    code = "import os\nasync def main(req): return os.environ['HOST_TEST_GREETING']"
    add_function(tmp_path, "greeting", code, "greeting")
    (tmp_path / "local.settings.json").write_text('{"IsEncrypted": false, "Values": {"HOST_TEST_GREETING": "hello"}}')
    async with command(tmp_path) as process, aiohttp.ClientSession() as session:
        _, base = await started(process)
        async with session.get(f"{base}/greeting") as response:
            assert await response.text() == "hello"


async def test_logs_go_to_stderr_at_the_levels_of_the_host_file(tmp_path: Path) -> None:
    code = """
        import logging
        async def main(req):
            logging.getLogger("audit").info("an audit line")
            logging.getLogger("audit").debug("a quiet line")
            return ""
    """
    name = add_function(tmp_path, "logging", code, "logging")
    add_function(tmp_path, "quiet", code, "quiet")
    host = json.loads((tmp_path / "host.json").read_text())
    levels = {"default": "Warning", f"Function.{name}.User": "Information", "audit": "Information"}
    host["logging"] = {"logLevel": levels}
    (tmp_path / "host.json").write_text(json.dumps(host))
    async with command(tmp_path) as process, aiohttp.ClientSession() as session:
        _, base = await started(process)
        for route in ("logging?name=ruth", "quiet"):
            async with session.get(f"{base}/{route}") as response:
                assert response.status == 200
        process.terminate()
        _, errors = await process.communicate()
        assert errors == b"INFO audit: an audit line\n"


async def test_an_app_that_cant_be_loaded_ends_the_start_with_one_line(tmp_path: Path) -> None:
    name = add_function(tmp_path, "broken", "raise ValueError('KEY_VAULT_URL is not set')")
    async with command(tmp_path) as process:
        output, errors = await process.communicate()
        assert (process.returncode, output) == (1, b"")
        assert errors.decode() == f"{name}: ValueError: KEY_VAULT_URL is not set\n"


async def test_a_port_that_is_taken_ends_the_start_with_one_line(tmp_path: Path) -> None:
    add_function(tmp_path, "echo", ECHO)
    async with serving(load(tmp_path)) as (_, base), command(tmp_path, "--port", str(URL(base).port)) as process:
        _, errors = await process.communicate()
        assert process.returncode == 1
        assert len(errors.splitlines()) == 1
        assert b"address already in use" in errors
