"""What takes part: provider, what a user could build instead, and both apps in the local host and the real worker."""

import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from bench import answers
from bench.cores import LOAD_CORE, SERVER_CORE
from bench.process import PROJECT, Running, running
from local.ports import free_port

FLOOR = PROJECT / "bench" / "floor"
WORKER_PYTHON = PROJECT / ".functions-worker" / "bin" / "python"
"""In the environment of the real worker, which `make` installs."""
BATCH_ENTRIES = 7
_FUNCTIONS = ("metadata_fn", "token_fn", "fhir_proxy_fn")

_NGINX = """
daemon off; master_process off; pid {folder}/{name}.pid; error_log {folder}/{name}.log crit;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_buffer_size 64k; default_type application/fhir+json;
  client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy;
  fastcgi_temp_path {folder}/{name}-x; uwsgi_temp_path {folder}/{name}-x; scgi_temp_path {folder}/{name}-x;
  {servers}
}}
"""

# A file is answered to POST as well: nginx makes a 405 of it first.
_PROVIDER = """
  server {{
    listen 127.0.0.1:{port} backlog=4096; root {folder}/answers; error_page 405 =200 $uri;
    location ~ ^/fhir/Patient/ {{ try_files /patient =404; }}
    location = /fhir/Patient {{ try_files /large =404; }}
    location ~ ^/fhir/Observation(/_search)?$ {{ try_files /searchset =404; }}
    location = /fhir/Encounter {{ try_files /paged =404; }}
    location ~ ^/pages/ {{ try_files /searchset =404; }}
    location = /fhir {{ try_files /batch-response =404; }}
    location ~ ^/t/([0-9]+)/fhir/ {{
      sub_filter http://127.0.0.1:{port}/fhir http://127.0.0.1:{port}/t/$1/fhir;
      sub_filter_types application/fhir+json; sub_filter_once off;
      try_files /patient =404;
    }}
  }}
"""

_PROXY = """
  upstream provider {{ server 127.0.0.1:{provider}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location /stu3 {{
      rewrite ^/stu3(.*)$ /fhir$1 break;
      proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffers 64 32k;
    }}
  }}
"""

_HAPROXY = """
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend gateway
  bind 127.0.0.1:{port}
  http-request set-var(txn.token) http_auth_bearer
  http-request set-var(txn.algorithm) var(txn.token),jwt_header_query('$.alg')
  http-request set-var(txn.tenant) var(txn.token),jwt_payload_query('$.scope')
  http-request set-var(txn.expires) var(txn.token),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 unless {{ var(txn.algorithm) -m str ES256 }}
  http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify(txn.algorithm,"{folder}/key.pem") 1 }}
  http-request deny deny_status 401 if {{ var(txn.expires),sub(txn.now) -m int lt 0 }}
  http-request replace-path /stu3(.*) /fhir\\1
  use_backend %[var(txn.tenant),map({folder}/tenants.map)]
backend hospital
  http-reuse always
  server hospital 127.0.0.1:{provider}
"""


@asynccontextmanager
async def provider(folder: Path) -> AsyncIterator[Running]:
    """A FHIR server at /fhir, STU3: nginx with recorded answers. At /t/N/fhir it is the provider of tenant number N."""
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    base = f"{origin}/fhir"
    recorded = folder / "answers"
    recorded.mkdir()
    for name, content in {
        "patient": answers.patient(base),
        "searchset": answers.searchset(base),
        "paged": answers.searchset(base, next_page=f"{origin}/pages/4f1c?after=40"),
        "large": answers.large(base),
        "batch-response": answers.batch_response(base, BATCH_ENTRIES),
    }.items():
        (recorded / name).write_bytes(content)
    async with _nginx(folder, "provider", _PROVIDER.format(folder=folder, port=port), port, LOAD_CORE) as server:
        yield server


@asynccontextmanager
async def reverse_proxy(folder: Path, provider: Running) -> AsyncIterator[Running]:
    """nginx between client and provider, which looks at nothing."""
    port = free_port()
    servers = _PROXY.format(port=port, provider=provider.port)
    async with _nginx(folder, "proxy", servers, port, SERVER_CORE) as server:
        yield server


@asynccontextmanager
async def token_proxy(folder: Path, provider: Running, tenant: str, public_key: bytes) -> AsyncIterator[Running]:
    """HAProxy, which verifies the token and chooses the backend by the tenant in it."""
    port = free_port()
    (folder / "key.pem").write_bytes(public_key)
    (folder / "tenants.map").write_text(f"{tenant} hospital\n")
    configuration = folder / "haproxy.cfg"
    configuration.write_text(_HAPROXY.format(folder=folder, port=port, provider=provider.port))
    async with running(["haproxy", "-db", "-f", str(configuration)], port, core=SERVER_CORE) as server:
        yield server


@asynccontextmanager
async def gateway(environment: Mapping[str, str]) -> AsyncIterator[Running]:
    """The gateway in the local functions host, one process."""
    port = free_port()
    async with running(host_command(PROJECT, port), port, core=SERVER_CORE, environment=environment) as server:
        yield server


@asynccontextmanager
async def floor() -> AsyncIterator[Running]:
    """A function that does nothing in the local functions host, one process."""
    port = free_port()
    async with running(host_command(FLOOR, port), port, core=SERVER_CORE) as server:
        yield server


@asynccontextmanager
async def in_worker(
    root: Path,
    environment: Mapping[str, str] | None = None,
    *,
    more: Iterable[str] = (),
    errors: int | IO[bytes] = DEVNULL,
) -> AsyncIterator[Running]:
    """An app in the real Functions worker, whose process is the one that is measured: its host is with the load.

    `more` are functions besides those that are measured; `errors` is where the host's log goes.
    """
    port = free_port()
    command = [str(WORKER_PYTHON), "-m", "bench.functions_worker", "--port", str(port), "--root", str(root)]
    command += ["--worker-core", str(SERVER_CORE), *_only(root, more)]
    async with running(command, port, core=LOAD_CORE, environment=environment, errors=errors) as host:
        (worker,) = host.process.children()
        yield Running(port, worker)


def host_command(root: Path, port: int) -> list[str]:
    """The local functions host on an app's folder."""
    return [sys.executable, "-m", "local.functions_host", "--port", str(port), "--root", str(root), *_only(root)]


def _only(root: Path, more: Iterable[str] = ()) -> list[str]:
    return [argument for name in (*_FUNCTIONS, *more) if (root / name).is_dir() for argument in ("--only", name)]


@asynccontextmanager
async def _nginx(folder: Path, name: str, servers: str, port: int, core: int) -> AsyncIterator[Running]:
    configuration = folder / f"{name}.conf"
    configuration.write_text(_NGINX.format(folder=folder, name=name, servers=servers))
    async with running(["nginx", "-e", "stderr", "-c", str(configuration)], port, core=core) as server:
        yield server
