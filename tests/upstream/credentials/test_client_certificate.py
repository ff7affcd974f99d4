"""Mutual TLS against servers that demand a client certificate of one authority."""

import asyncio
import base64
import os
import resource
import ssl

import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509 import load_pem_x509_certificate
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.directory.provider import AuthKind, ProviderAuth
from shared.upstream.credentials.client_certificate import client_context
from shared.upstream.credentials.credential import CredentialError

ROOT = trustme.CA()
CLIENT = ROOT.create_child_ca().issue_cert("gateway.example.com")
STRANGER = trustme.CA().issue_cert("gateway.example.com")


def pem(certificate: trustme.LeafCert) -> str:
    return certificate.private_key_and_cert_chain_pem.bytes().decode()


def pkcs12(certificate: trustme.LeafCert, encryption=None) -> str:
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    leaf, *chain = [load_pem_x509_certificate(blob.bytes()) for blob in certificate.cert_chain_pems]
    bundle = serialize_key_and_certificates(None, key, leaf, chain, encryption or NoEncryption())
    return base64.encodebytes(bundle).decode()


ROW = ProviderAuth(certificate="certificate")


@pytest.fixture
async def hospital(serve, tmp_path, monkeypatch) -> str:
    """A server, trusted by the process, that lets in whoever shows a certificate of ROOT."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ROOT.issue_cert("127.0.0.1").configure_cert(server)
    ROOT.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    ROOT.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"access_token": "token", "token_type": "Bearer", "expires_in": 60})

    return await serve(handler, server)


@pytest.mark.parametrize("exported", [pem(CLIENT), pkcs12(CLIENT)], ids=["pem", "pkcs12"])
async def test_the_hospital_lets_the_certificate_in(hospital, client, credentials, vault, provider, exported):
    vault.stored["certificate"] = exported
    context = await credentials.client_context(provider(ROW))
    with await client.request("GET", hospital, {}, tls=context) as response:
        assert response.status == 200


async def test_the_gateway_refuses_an_impostor(serve, client, hospital, credentials, vault, provider):
    vault.stored["certificate"] = pem(CLIENT)
    impostor = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(impostor)

    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    url = await serve(handler, impostor)
    context = await credentials.client_context(provider(ROW))
    with pytest.raises(ssl.SSLCertVerificationError):
        await client.request("GET", url, {}, tls=context)


async def test_token_requests_show_the_certificate_too(hospital, credentials, vault, provider):
    vault.stored.update({"certificate": pem(CLIENT), "stranger": pem(STRANGER), "secret": "s3cret"})
    account = {"token_url": f"{hospital}/token", "client_id": "gateway", "secret": "secret"}
    own, strange = (
        credentials.of(provider(ProviderAuth(AuthKind.CLIENT_SECRET_POST, **account, certificate=certificate)))
        for certificate in ("certificate", "stranger")
    )
    assert await own.headers() == {"Authorization": "Bearer token"}
    with pytest.raises(CredentialError, match="token endpoint can't be reached"):
        await strange.headers()


async def test_the_context_is_the_same_until_the_certificate_changes(credentials, vault, provider):
    vault.stored["certificate"] = pem(CLIENT)
    row = provider(ROW)
    (first,) = set(await asyncio.gather(*(credentials.client_context(row) for _ in range(100))))
    assert await credentials.client_context(row) is first
    vault.stored["certificate"] = pkcs12(CLIENT)
    vault.expire("certificate")
    assert await credentials.client_context(row) is not first
    assert await credentials.client_context(provider(ProviderAuth())) is None


def unusable_certificates() -> list[str]:
    key = load_pem_private_key(CLIENT.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")).decode()
    leaf = CLIENT.cert_chain_pems[0].bytes()
    alone = serialize_key_and_certificates(None, None, load_pem_x509_certificate(leaf), None, NoEncryption())
    return [
        "s3cret",
        base64.b64encode(b"s3cret").decode(),
        leaf.decode(),
        CLIENT.private_key_pem.bytes().decode(),
        STRANGER.private_key_pem.bytes().decode() + leaf.decode(),
        encrypted + leaf.decode(),
        pkcs12(CLIENT, BestAvailableEncryption(b"password")),
        base64.b64encode(alone).decode(),
    ]


@pytest.mark.parametrize("exported", unusable_certificates())
async def test_an_unusable_certificate_is_an_error_that_names_its_secret(credentials, vault, provider, exported):
    vault.stored["certificate"] = exported
    with pytest.raises(CredentialError, match=r"^Key Vault secret certificate ") as caught:
        await credentials.client_context(provider(ROW))
    assert exported not in str(caught.value)


@settings(max_examples=50)
@given(
    st.text()
    | st.binary().map(lambda data: base64.b64encode(data).decode())
    | st.just("-----BEGIN ").flatmap(lambda begin: st.text().map(lambda text: begin + text))
)
def test_any_other_text_is_a_value_error(exported):
    with pytest.raises(ValueError, match=r"PEM|no usable certificate"):
        client_context(exported)


async def test_a_shortage_of_file_descriptors_does_not_outlast_itself(credentials, vault, provider):
    vault.stored["certificate"] = pem(CLIENT)
    row = provider(ROW)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(CredentialError, match="Too many open files"):
            await credentials.client_context(row)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert await credentials.client_context(row)


def test_without_files_in_memory_the_key_is_in_a_private_file_that_is_gone_at_once(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    modes: list[int] = []
    unlink = os.unlink

    def look_and_unlink(path: str) -> None:
        modes.append(os.stat(path).st_mode & 0o777)
        unlink(path)

    monkeypatch.setattr(os, "unlink", look_and_unlink)
    client_context(pem(CLIENT))
    with pytest.raises(ValueError, match="holds no usable certificate"):
        client_context(CLIENT.cert_chain_pems[0].bytes().decode())
    assert modes == [0o600, 0o600]
    assert list(tmp_path.iterdir()) == []
