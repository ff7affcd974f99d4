"""Clients of Java and Go that prove themselves by a key. Run by `make clients`."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.clients import installation
from tests.clients.installation import CLIENTS, Unavailable
from tests.oauth.conftest import Endpoint
from tests.oauth.keyed_app import P384, KeyedApp
from tests.oauth.test_token_clients import app, run

__all__ = ["app"]

Start = Callable[[Endpoint, KeyedApp, Path], tuple[list[str], dict[str, str]]]


def spring(endpoint: Endpoint, app: KeyedApp, folder: Path) -> tuple[list[str], dict[str, str]]:
    runtime, *options = installation.java(CLIENTS / "java")
    trusted = folder / "trusted.p12"
    options_of_store = ["-keystore", str(trusted), "-storepass", "changeit", "-noprompt"]
    command = ["keytool", "-importcert", "-alias", "ca", "-file", endpoint.ca, *options_of_store]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    trust = [f"-Djavax.net.ssl.trustStore={trusted}", "-Djavax.net.ssl.trustStorePassword=changeit"]
    return [runtime, *trust, *options, "clients.AssertionClient"], {"JWK": json.dumps(app.private_jwk)}


def go(endpoint: Endpoint, app: KeyedApp, folder: Path) -> tuple[list[str], dict[str, str]]:
    pem = P384.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    named = {"PEM": pem, "KID": "one", "JTI": folder.name, "RESOURCE": f"{endpoint.issuer}/tenant/{app.tenant}"}
    return [*installation.go(CLIENTS / "go_oauth2")], {**named, "SSL_CERT_FILE": endpoint.ca}


@pytest.mark.parametrize("client", [spring, go])
async def test_a_client_with_a_key_gets_a_token(
    endpoint: Endpoint, app: KeyedApp, tmp_path: Path, client: Start
) -> None:
    try:
        command, environment = client(endpoint, app, tmp_path)
    except Unavailable as missing:
        pytest.skip(str(missing))
    named = {"CLIENT_ID": app.client_id, "TOKEN_URL": f"{endpoint.issuer}/oauth2/token"}
    found = await run(command, {}, **named, **environment)
    grant = await endpoint.instance.application.tokens.verify(found["access_token"])
    assert (grant.client_id, grant.tenant) == (app.client_id, app.tenant)
