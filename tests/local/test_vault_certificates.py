from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from local.vault.certificates import server_context

BROKEN = b"-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n"


def issued(days: int) -> tuple[bytes, bytes]:
    authority, now = trustme.CA(), datetime.now(UTC)
    certificate = authority.issue_cert(
        "127.0.0.1", not_before=now - timedelta(days=30), not_after=now + timedelta(days=days)
    )
    return authority.cert_pem.bytes(), certificate.private_key_and_cert_chain_pem.bytes()


@pytest.mark.parametrize(
    ("files", "is_kept"),
    [
        *((issued(8), True), (issued(6), False), (issued(-1), False)),
        *(((broken, issued(300)[1]), False) for broken in (b"", BROKEN)),
        *(((issued(300)[0], broken), False) for broken in (b"", BROKEN)),
    ],
)
def test_a_certificate_that_ends_soon_or_is_of_no_use_is_made_anew(
    tmp_path: Path, files: tuple[bytes, bytes], is_kept: bool
) -> None:
    paths = tmp_path / "ca.pem", tmp_path / "server.pem"
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(content)
    server_context(tmp_path)
    assert [path.read_bytes() == content for path, content in zip(paths, files, strict=True)] == [is_kept] * 2
