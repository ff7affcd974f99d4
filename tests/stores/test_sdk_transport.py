"""Azure's SDKs over the gateway's own HTTP client."""

import asyncio
import re
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trustme

from shared.settings import Settings
from shared.stores.errors import StoreUnavailable
from shared.stores.identity import azure_credential
from tests.deployment import GATEWAY
from tests.stores.test_vault import vault_at

ENVIRONMENT = {"PUBLIC_BASE_URL": GATEWAY, "TABLES_ENDPOINT": "https://account.table.core.windows.net"}

Serve = Callable[[bytes, ssl.SSLContext | None], Awaitable[str]]


@pytest.fixture
def asked() -> list[bytes]:
    """The heads of the requests that reached the servers of `serve`."""
    return []


@pytest.fixture
async def serve(asked: list[bytes]) -> AsyncIterator[Serve]:
    """Starts servers that respond to each request with some bytes, and end the connection; their host and port."""
    servers: list[asyncio.Server] = []

    async def start(response: bytes, tls: ssl.SSLContext | None) -> str:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(response)
            writer.close()

        servers.append(await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls))
        return f"127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """Of a vault whose folder is `tmp_path`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "token").write_text("token")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        (b"", "did not answer (ServiceRequestError)"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "did not answer (ServiceResponseError)"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", "did not answer (ServiceResponseError)"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n" + bytes(5_000_000),
            "did not answer (ServiceResponseError)",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{", "answered 200"),
    ],
    ids=["nothing", "no HTTP", "cut off", "too large", "no JSON"],
)
async def test_a_vault_whose_response_can_not_be_used_is_unavailable(
    serve: Serve, tls: ssl.SSLContext, tmp_path: Path, response: bytes, problem: str
) -> None:
    vault = vault_at(f"https://{await serve(response, tls)}", tmp_path)
    with pytest.raises(StoreUnavailable, match=f"^{re.escape(f'Key Vault {problem}')}$"):
        await vault.get("name")
    await vault.close()


async def test_an_impostor_of_the_vault_is_told_nothing(serve: Serve, tls: ssl.SSLContext, tmp_path: Path) -> None:
    url = f"https://{await serve(b'', tls)}"
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    vault = vault_at(url, tmp_path)
    with pytest.raises(StoreUnavailable, match="ServiceRequestError"):
        await vault.get("name")
    await vault.close()


async def test_the_apps_identity_gets_its_token(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"access_token": "t", "expires_on": "%d", "resource": "r", "token_type": "Bearer"}' % (
        time.time() + 86_400
    )
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://{await serve(head + body, None)}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "of-this-app")
    credential = azure_credential(Settings.from_environment({**ENVIRONMENT, "KEY_VAULT_URL": "https://vault.example"}))
    assert (await credential.get_token("https://vault.azure.net/.default")).token == "t"
    await credential.close()


async def test_a_proxy_that_the_environment_names_is_used(
    serve: Serve, asked: list[bytes], tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("https_proxy", f"http://{await serve(b'HTTP/1.1 403 Forbidden', None)}")
    vault = vault_at("https://127.0.0.1:1", tmp_path)
    with pytest.raises(StoreUnavailable):
        await vault.get("name")
    await vault.close()
    assert asked[0].startswith(b"CONNECT 127.0.0.1:1 ")


def test_tokens_and_reads_do_without_aiohttp(tls: ssl.SSLContext, tmp_path: Path) -> None:
    script = """
import sys
from shared.application import Application
application = Application.from_environment()
application.oauth, application.gateway
sys.exit("aiohttp" in sys.modules)
"""
    environment = {**ENVIRONMENT, "KEY_VAULT_URL": "https://127.0.0.1:1", "LOCAL_VAULT": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", script], env=environment, timeout=60).returncode == 0
