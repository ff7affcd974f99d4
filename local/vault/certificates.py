"""The TLS certificate of the Key Vault stand-in, and the CA that a client needs to trust it."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from local import secret_file

_HOSTS = ("127.0.0.1", "localhost")
_LIFETIME = timedelta(days=365)
_MIN_LEFT = timedelta(days=7)


def server_context(folder: Path) -> ssl.SSLContext:
    """The server's TLS context, from `server.pem` in `folder`, whose issuer is `ca.pem`.

    Both are made when they are missing, unusable, about to expire, or not for 127.0.0.1 and localhost.
    """
    ca, server = folder / "ca.pem", folder / "server.pem"
    if not _usable(ca, server):
        authority = trustme.CA()
        certificate = authority.issue_cert(*_HOSTS, not_after=datetime.now(UTC) + _LIFETIME)
        secret_file.write(ca, authority.cert_pem.bytes())
        secret_file.write(server, certificate.private_key_and_cert_chain_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    return context


def _usable(ca: Path, server: Path) -> bool:
    try:
        authority = x509.load_pem_x509_certificate(ca.read_bytes())
        pem = server.read_bytes()
        certificate = x509.load_pem_x509_certificate(pem)
        certificate.verify_directly_issued_by(authority)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = load_pem_private_key(pem, password=None)
    except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    hosts = {str(host) for kind in (x509.IPAddress, x509.DNSName) for host in names.get_values_for_type(kind)}
    return (
        key.public_key() == certificate.public_key()
        and hosts.issuperset(_HOSTS)
        and certificate.not_valid_after_utc > datetime.now(UTC) + _MIN_LEFT
    )
