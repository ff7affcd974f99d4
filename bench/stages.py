"""The time of a request in the gateway's process, stage by stage."""

import inspect
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any
from unittest.mock import patch

from bench.wrk import Prepared
from shared import gateway
from shared.application import Application
from shared.audit import AuditLog
from shared.directory.traffic import Traffic
from shared.gateway import Gateway
from shared.message import Request
from shared.oauth import endpoint
from shared.oauth.access_token import AccessTokens
from shared.upstream import provider_client
from shared.upstream.provider_client import ProviderClient
from shared.upstream.transport import Transport

_WARM_UP = 50
_ROUNDS = 7

STAGES: dict[str, tuple[tuple[Any, str], ...]] = {
    "token verified, client looked up": ((Gateway, "_authenticate"),),
    "tenant looked up": ((Gateway, "_provider"),),
    "format negotiated": ((gateway, "negotiate"),),
    "interaction and policy": ((gateway, "parse"), (gateway, "authorize")),
    "links mapped up": ((gateway, "rewrite_form"), (gateway, "resource_body"), (gateway, "form_body")),
    "provider's credential": ((ProviderClient, "_authentication"),),
    "HTTP to the provider": ((Transport, "send"),),
    "answer checked": ((provider_client, "check_response"),),
    "links of paging": ((provider_client, "write_links"),),
    "answer read, links mapped down": ((provider_client, "paused"),),
    "request parsed": (
        (endpoint, "parse_token_request"),
        (endpoint, "parse_scope_request"),
        (endpoint, "parse_resource"),
    ),
    "client authenticated": ((endpoint, "authenticate"),),
    "token signed": ((AccessTokens, "issue"),),
    "audit line": ((AuditLog, "_write_together"),),
    "traffic counted": ((Traffic, "fhir_request"), (Traffic, "token_request")),
}
_REST = "everything else"


async def stages(application: Application, prepared: Prepared, requests: int) -> dict[str, float]:
    """Microseconds of CPU of one request by stage, one after the other in flight: waiting does not count.

    The median of several rounds of `requests` each; the last stage is what no other one accounts for.
    """
    path, _, query = prepared.target.partition("?")
    headers = {name.lower(): value for name, value in prepared.headers.items()} | {"host": "127.0.0.1"}
    request = Request(prepared.method, path, query, headers, prepared.body)
    handler = application.oauth if path.startswith("/oauth2/") else application.gateway
    with _audit_lines_written():
        for _ in range(_WARM_UP):
            response = await handler(request)
            if response.status != 200:
                raise ValueError(f"response {response.status}")
        rounds: list[dict[str, float]] = []
        for _ in range(_ROUNDS):
            spent: dict[str, float] = defaultdict(float)
            with _timed(spent):
                began = time.thread_time()
                for _ in range(requests):
                    await handler(request)
                total = time.thread_time() - began
            spent[_REST] = total - sum(spent.values())
            rounds.append({stage: seconds / requests * 1e6 for stage, seconds in spent.items()})
    return {stage: median(each[stage] for each in rounds) for stage in (*STAGES, _REST) if stage in rounds[0]}


@contextmanager
def _timed(spent: dict[str, float]) -> Iterator[None]:
    with ExitStack() as patched:
        for stage, functions in STAGES.items():
            for owner, name in functions:
                patched.enter_context(patch.object(owner, name, _counted(stage, getattr(owner, name), spent)))
        yield


def _counted(stage: str, function: Callable[..., Any], spent: dict[str, float]) -> Callable[..., Any]:
    @contextmanager
    def counting() -> Iterator[None]:
        began = time.thread_time()
        try:
            yield
        finally:
            spent[stage] += time.thread_time() - began

    async def counted_async(*arguments: Any, **named: Any) -> Any:
        with counting():
            return await function(*arguments, **named)

    def counted(*arguments: Any, **named: Any) -> Any:
        with counting():
            return function(*arguments, **named)

    return counted_async if inspect.iscoroutinefunction(function) else counted


@contextmanager
def _audit_lines_written() -> Iterator[None]:
    """As the functions host writes them, but to nowhere."""
    log = logging.getLogger("gateway.audit")
    with open("/dev/null", "w") as nowhere:
        handler = logging.StreamHandler(nowhere)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
        try:
            yield
        finally:
            log.removeHandler(handler)
            log.propagate = True
