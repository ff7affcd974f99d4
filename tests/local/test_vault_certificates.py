import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from local.vault.certificates import server_context


def contents(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "ca.pem").read_bytes(), (folder / "server.pem").read_bytes()


def put(folder: Path, certificate: trustme.LeafCert, ca: trustme.CA) -> None:
    (folder / "ca.pem").write_bytes(ca.cert_pem.bytes())
    (folder / "server.pem").write_bytes(certificate.private_key_and_cert_chain_pem.bytes())


def test_a_usable_certificate_is_kept(tmp_path: Path) -> None:
    server_context(tmp_path)
    made = contents(tmp_path)
    server_context(tmp_path)
    assert contents(tmp_path) == made


@pytest.mark.parametrize(
    ("hosts", "days"), [(("127.0.0.1", "localhost"), 6), (("127.0.0.1", "localhost"), -1), (("localhost",), 300)]
)
def test_a_certificate_that_ends_soon_or_lacks_a_host_is_made_anew(
    tmp_path: Path, hosts: tuple[str, ...], days: int
) -> None:
    ca = trustme.CA()
    now = datetime.now(UTC)
    certificate = ca.issue_cert(*hosts, not_before=now - timedelta(days=30), not_after=now + timedelta(days=days))
    put(tmp_path, certificate, ca)
    before = contents(tmp_path)
    server_context(tmp_path)
    assert contents(tmp_path) != before


def test_a_certificate_of_another_ca_is_made_anew(tmp_path: Path) -> None:
    put(tmp_path, trustme.CA().issue_cert("127.0.0.1", "localhost"), trustme.CA())
    before = contents(tmp_path)
    server_context(tmp_path)
    assert contents(tmp_path) != before


@pytest.mark.parametrize("name", ["ca.pem", "server.pem"])
@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n"])
def test_a_broken_file_is_made_anew(tmp_path: Path, name: str, content: bytes) -> None:
    server_context(tmp_path)
    (tmp_path / name).write_bytes(content)
    server_context(tmp_path)
    assert all(pem.startswith(b"-----BEGIN") and b"????" not in pem for pem in contents(tmp_path))
    assert ssl.create_default_context(cafile=tmp_path / "ca.pem").get_ca_certs()
