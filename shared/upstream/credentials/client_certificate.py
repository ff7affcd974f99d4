"""Client certificates for mutual TLS (RFC 8705), kept in Key Vault."""

import asyncio
import base64
import hashlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from cachetools import LRUCache
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from shared.upstream.credentials.credential import CredentialError, Secrets

# A context holds the system's certificate authorities: 0.8 MB.
_MAX_CONTEXTS = 128


class ClientCertificates:
    """One TLS context per secret and value. It stays the same object, because connections are pooled by it."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._made: LRUCache[tuple[str, bytes], asyncio.Task[ssl.SSLContext | str]] = LRUCache(_MAX_CONTEXTS)

    async def context(self, secret: str) -> ssl.SSLContext:
        """A context that shows the certificate in `secret`; raises CredentialError or StoreUnavailable."""
        value = await self._secrets.value(secret)
        key = secret, hashlib.sha256(value.encode()).digest()
        made = self._made.get(key)
        if made is None:
            # In a thread: reading the certificate authorities takes tens of milliseconds.
            made = self._made[key] = asyncio.create_task(asyncio.to_thread(_context_or_problem, value))
        try:
            outcome = await asyncio.shield(made)
        except OSError as error:
            # No file descriptor left, say: not the certificate's fault, so the next request tries again.
            self._made.pop(key, None)
            raise CredentialError(f"Key Vault secret {secret} can't be loaded ({error.strerror})") from None
        if isinstance(outcome, str):
            raise CredentialError(f"Key Vault secret {secret} {outcome}")
        return outcome


def _context_or_problem(exported: str) -> ssl.SSLContext | str:
    """The context, or what is wrong with the certificate: kept as well, lest every request finds it out again."""
    try:
        return client_context(exported)
    except ValueError as error:
        return str(error)


def client_context(exported: str) -> ssl.SSLContext:
    """A context that verifies servers as usual and shows the certificate chain in `exported`.

    `exported` is a Key Vault certificate read as a secret: PEM with the chain and the private key, or PKCS#12 in
    base64. ValueError when it is neither, or the key does not belong to the certificate.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    with _private_file(_pem(exported)) as path:
        try:
            # The empty password keeps OpenSSL from asking for one on the terminal.
            context.load_cert_chain(path, password="")
        except ssl.SSLError as error:
            raise ValueError(f"holds no usable certificate with its private key ({error.reason})") from None
    return context


def certificate_end(exported: str) -> datetime:
    """When the first of the certificates in `exported` to end does (UTC). Raises ValueError when there is none.

    Opening a PKCS #12 file takes tens of milliseconds: not for an event loop.
    """
    from cryptography.x509 import load_pem_x509_certificates  # here: it costs a start 15 ms

    return min(each.not_valid_after_utc for each in load_pem_x509_certificates(_pem(exported)))


def _pem(exported: str) -> bytes:
    if "-----BEGIN " in exported:
        return exported.encode()
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

    try:
        bundle = load_pkcs12(base64.b64decode(exported), None)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is neither PEM nor PKCS#12 in base64 (without a password)") from None
    if bundle.key is None or bundle.cert is None:
        raise ValueError("is a PKCS#12 without a certificate or without its private key")
    key = bundle.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain = [bundle.cert, *bundle.additional_certs]
    return key + b"".join(member.certificate.public_bytes(Encoding.PEM) for member in chain)


@contextmanager
def _private_file(content: bytes) -> Iterator[str]:
    """The path of a file that only this process can read, gone on leaving; OpenSSL's loader takes only paths."""
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("client-certificate"), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
        return
    descriptor, path = tempfile.mkstemp()
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        yield path
    finally:
        os.unlink(path)
