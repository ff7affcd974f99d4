from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from local.vault.certificates import server_context

BROKEN = b"-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n"


def issued(days: int) -> tuple[bytes, bytes]:
    authority, now = trustme.CA(), datetime.now(UTC)
    begin, end = now - timedelta(days=30), now + timedelta(days=days)
    certificate = authority.issue_cert("127.0.0.1", not_before=begin, not_after=end)
    return authority.cert_pem.bytes(), certificate.private_key_and_cert_chain_pem.bytes()


@pytest.mark.parametrize(
    ("files", "is_kept"),
    [
        *((issued(8), True), (issued(6), False), (issued(-1), False)),
        *(((broken, issued(300)[1]), False) for broken in (b"", BROKEN)),
        *(((issued(300)[0], broken), False) for broken in (b"", BROKEN)),
    ],
)
def test_a_certificate_that_ends_soon_or_is_broken_is_made_anew(tmp_path: Path, files: Any, is_kept: bool) -> None:
    paths = tmp_path / "ca.pem", tmp_path / "server.pem"
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(content)
    server_context(tmp_path)
    assert [path.read_bytes() == content for path, content in zip(paths, files, strict=True)] == [is_kept] * 2
