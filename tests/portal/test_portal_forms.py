"""Forms as browsers send them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.message import Request
from shared.portal.errors import BadForm, TooLarge
from shared.portal.forms import MAX_FORM_BYTES, parse_form, parse_upload

FORM = "application/x-www-form-urlencoded; charset=UTF-8"


@pytest.mark.parametrize(
    ("type", "body", "error"),
    [
        *(("", b"a=1", BadForm), ("text/plain", b"a=1", BadForm)),
        *((FORM, b"a=%FF", BadForm), (FORM, "a=ö".encode(), BadForm)),
        (FORM, b"&".join(b"a%d=1" % number for number in range(51)), BadForm),
        (FORM, b"a=" + b"1" * MAX_FORM_BYTES, TooLarge),
    ],
)
def test_a_request_without_a_readable_form_is_refused(type: str, body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_form(Request("POST", "/", "", {"content-type": type}, body))


def upload(*parts: bytes, media_type: str = 'multipart/form-data; boundary="edge"') -> Request:
    body = b"".join(b"--edge\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--edge--\r\n"
    return Request("POST", "/", "", {"content-type": media_type}, body)


@given(st.binary(max_size=3000).filter(lambda content: b"--edge" not in content))
def test_a_file_arrives_byte_for_byte(content: bytes) -> None:
    request = upload(b'name="text"\r\n\r\nsome', b'name="file"; filename="a.csv"\r\n\r\n' + content)
    assert parse_upload(request) == ({"text": "some"}, content)


FRAGMENTS = [
    *(b"--edge", b"--edge--", b"\r\n", b": ", b"\xff", b'; name="a"', b'; filename="b"'),
    *(b"Content-Disposition: form-data", b"Content-Transfer-Encoding: base64"),
]


@given(st.binary(max_size=300) | st.lists(st.sampled_from(FRAGMENTS)).map(b"".join))
def test_any_upload_is_read_or_refused(body: bytes) -> None:
    try:
        fields, file = parse_upload(Request("POST", "/", "", upload().headers, body))
    except BadForm:
        return
    assert all(isinstance(value, str) for value in fields.values())
    assert isinstance(file, bytes)


FILE = b'name="file"; filename="a"\r\n\r\nx'


@pytest.mark.parametrize(
    "request_",
    [
        *(upload(media_type=wrong) for wrong in ("", "multipart/form-data", "multipart/mixed; boundary=edge")),
        upload(*(b'name="a%d"\r\n\r\n1' % number for number in range(51))),
        upload(FILE, FILE),
    ],
)
def test_an_upload_is_multipart_with_a_boundary_fifty_fields_and_one_file(request_: Request) -> None:
    with pytest.raises(BadForm):
        parse_upload(request_)
