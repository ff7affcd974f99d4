"""FHIR bodies in other charsets than UTF-8, as older servers send them."""

import codecs
import re

from shared.fhir.document import Steps, Unreadable

# Those that servers use beside UTF-8. Python knows others, and one (punycode) takes minutes for a megabyte.
CHARSETS = frozenset({"iso-8859-1", "iso-8859-15", "latin1", "windows-1252", "utf-16", "utf-16le", "utf-16be"})
_UTF8 = frozenset({"utf-8", "utf8", "us-ascii"})
_SLICE = 500_000
# `<?xml version="1.0" encoding="ISO-8859-1"`, with what stands before the encoding, and the encoding
_DECLARATION = re.compile(r"""(<\?xml\s[^<>?]*?)\sencoding\s*=\s*(?:"([^"<>?]*)"|'([^'<>?]*)')""")
_MAX_DECLARATION = 200  # bytes


def to_utf8(body: bytes, charset: str | None) -> Steps[bytes]:
    """The body in UTF-8 without a byte order mark; `charset` is the Content-Type's, if it has one.

    XML that declares an encoding is read in that where the Content-Type has no charset (RFC 7303 section 3), and does
    not declare it any more. Raises Unreadable.
    """
    named = charset and charset.lower()
    if body.startswith(codecs.BOM_UTF8):
        body, named = body[len(codecs.BOM_UTF8) :], "utf-8"
        if body.startswith(codecs.BOM_UTF8):
            raise Unreadable("it has two byte order marks")
    elif body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        named = "utf-16"
    elif (named is None or named in _UTF8) and not body.startswith(b"<?xml"):
        return body
    start = body[:_MAX_DECLARATION].decode(named if named in CHARSETS else "latin-1", "replace")
    declared = _DECLARATION.match(start)
    if named is None:
        named = (declared[2] or declared[3]).lower() if declared else "utf-8"
    if named in _UTF8:
        if declared and (declared[2] or declared[3]).lower() != "utf-8":
            return declared[1].encode() + body[declared.end() :]
        return body
    if named not in CHARSETS:
        raise Unreadable("it is in a charset that can't be read")
    decoder = codecs.getincrementaldecoder(named)()
    parts = []
    try:
        for at in range(0, len(body), _SLICE):
            text = decoder.decode(body[at : at + _SLICE], at + _SLICE >= len(body))
            if at == 0 and (declared := _DECLARATION.match(text)):
                text = declared[1] + text[declared.end() :]
            parts.append(text.encode())
            yield
    except UnicodeError:
        raise Unreadable("it is not in the charset that it names") from None
    return b"".join(parts)
