import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from local.vault.certificates import server_context

BROKEN = b"-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n"
HOSTS = ("127.0.0.1", "localhost")


def contents(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "ca.pem").read_bytes(), (folder / "server.pem").read_bytes()


def issued(*hosts: str, days: int = 300, ca: trustme.CA | None = None) -> tuple[bytes, bytes]:
    authority, now = trustme.CA(), datetime.now(UTC)
    not_before, not_after = now - timedelta(days=30), now + timedelta(days=days)
    certificate = (ca or authority).issue_cert(*hosts, not_before=not_before, not_after=not_after)
    return authority.cert_pem.bytes(), certificate.private_key_and_cert_chain_pem.bytes()


def test_a_usable_certificate_is_kept(tmp_path: Path) -> None:
    server_context(tmp_path)
    made = contents(tmp_path)
    server_context(tmp_path)
    assert contents(tmp_path) == made


@pytest.mark.parametrize(
    "files",
    [
        issued(*HOSTS, days=6),
        issued(*HOSTS, days=-1),
        issued("localhost"),
        issued(*HOSTS, ca=trustme.CA()),
        *((broken, issued(*HOSTS)[1]) for broken in (b"", BROKEN)),
        *((issued(*HOSTS)[0], broken) for broken in (b"", BROKEN)),
    ],
)
def test_a_certificate_that_ends_soon_or_is_of_no_use_is_made_anew(tmp_path: Path, files: tuple[bytes, bytes]) -> None:
    (tmp_path / "ca.pem").write_bytes(files[0])
    (tmp_path / "server.pem").write_bytes(files[1])
    server_context(tmp_path)
    ca, server = contents(tmp_path)
    assert (ca != files[0], server != files[1]) == (True, True)
    assert ssl.create_default_context(cadata=ca.decode()).get_ca_certs()
