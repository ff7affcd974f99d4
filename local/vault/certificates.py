"""The TLS certificate of the Key Vault stand-in, and the CA that a client needs to trust it."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509

from local import secret_file

_LIFETIME = timedelta(days=365)
_MIN_LEFT = timedelta(days=7)


def server_context(folder: Path) -> ssl.SSLContext:
    """The server's TLS context, from `server.pem` in `folder`, whose issuer is `ca.pem`.

    Both are made when they are missing, unreadable or about to expire.
    """
    ca, server = folder / "ca.pem", folder / "server.pem"
    if not _usable(ca, server):
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "localhost", not_after=datetime.now(UTC) + _LIFETIME)
        secret_file.write(ca, authority.cert_pem.bytes())
        secret_file.write(server, certificate.private_key_and_cert_chain_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    return context


def _usable(ca: Path, server: Path) -> bool:
    try:
        x509.load_pem_x509_certificate(ca.read_bytes())
        certificate = x509.load_pem_x509_certificate(server.read_bytes())
    except (OSError, ValueError):
        return False
    return certificate.not_valid_after_utc > datetime.now(UTC) + _MIN_LEFT
