import gzip
import json
import zlib
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.content_coding import Decoder, TooLarge, Undecodable, encoded
from shared.message import Response

BODY = json.dumps({"resourceType": "Patient", "text": "x" * 5_000}).encode()
RESPONSE = Response(200, {"Content-Type": "application/fhir+json; charset=utf-8"}, BODY)


@pytest.mark.parametrize(
    ("takes_gzip", "accepted"),
    [
        *((True, accepted) for accepted in ("gzip", "gzip, deflate, br", "br;q=1.0, gzip;q=0.8, *;q=0.1", "*")),
        *((True, accepted) for accepted in ("GZIP ; q=1", "x-gzip", "gzip;q=0.001")),
        *((False, accepted) for accepted in (None, "", "identity", "br, deflate", "gzip;q=0", "gzip;q=0.0, *")),
        *((False, accepted) for accepted in ("*;q=0", "notgzip", "gzip;x=1")),
    ],
)
async def test_a_client_that_takes_gzip_gets_it_and_no_other_does(takes_gzip: bool, accepted: str | None) -> None:
    response = await encoded(RESPONSE, accepted)
    coding = {"Content-Encoding": "gzip"} if takes_gzip else {}
    assert response.headers == {**RESPONSE.headers, "Vary": "Accept-Encoding", **coding}
    assert (gzip.decompress(response.body) if takes_gzip else response.body) == BODY
    assert len(response.body) < len(BODY) / 10 or not takes_gzip


async def test_what_fits_into_a_packet_or_has_a_strong_etag_keeps_its_bytes() -> None:
    small = Response(404, {}, b"x" * 1_000)
    assert await encoded(small, "gzip") is small
    tagged = Response(200, {"ETag": '"5"'}, BODY)
    assert await encoded(tagged, "gzip") is tagged
    weak = await encoded(Response(200, {"ETag": 'W/"5"'}, BODY), "gzip")
    assert weak.headers["ETag"] == 'W/"5"'
    assert weak.headers["Content-Encoding"] == "gzip"


LARGE = b"".join(b'{"value":%d}' % number for number in range(100_000))


@given(st.text(), st.binary(min_size=0, max_size=4_000))
@example("gzip", LARGE)
async def test_any_header_and_any_body_come_out_whole(accepted: str, body: bytes) -> None:
    answer = await encoded(Response(200, {}, body), accepted)
    plain = gzip.decompress(answer.body) if "Content-Encoding" in answer.headers else answer.body
    assert plain == body


def deflated(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-15)
    return coder.compress(data) + coder.flush()


CODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "X-Gzip": lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]) + bytes(8),
    "deflate": zlib.compress,
    " DEFLATE ": deflated,
    "identity": bytes,
    "": bytes,
}


def decoded(coding: str, body: bytes, part: int, limit: int = 10_000_000) -> bytes:
    decoder = Decoder(coding, limit)
    pieces = [piece for at in range(0, len(body), part) for piece in decoder.decode(body[at : at + part])]
    decoder.end()
    assert max(map(len, pieces), default=0) <= 262_144
    return b"".join(pieces)


@given(st.binary(), st.lists(st.sampled_from(sorted(CODERS)), max_size=3), st.integers(1, 50))
def test_codings_are_undone_the_last_first(data: bytes, codings: list[str], part: int) -> None:
    body = data
    for coding in codings:
        body = CODERS[coding](body)
    assert decoded(",".join(codings), body, part) == data


@pytest.mark.parametrize("coding", ["br", "gzip, br", "gzip,gzip,gzip,gzip", "g zip", "gzip;q=1"])
def test_an_unknown_coding_is_refused(coding: str) -> None:
    with pytest.raises(Undecodable):
        Decoder(coding, 1)


@pytest.mark.parametrize(
    "body",
    [gzip.compress(BODY)[:-1], BODY, gzip.compress(b"") * 1001, gzip.compress(BODY) + b"x"],
    ids=["cut short", "not packed", "too many members", "more after it"],  # gzip's header has the time in it
)
def test_a_body_that_is_not_what_its_coding_says_is_refused(body: bytes) -> None:
    with pytest.raises(Undecodable):
        decoded("gzip", body, 100)


def test_no_step_unpacks_to_more_than_the_limit() -> None:
    zeros = bytes(3_000_000)
    assert decoded("gzip", gzip.compress(zeros), 500, limit=3_000_000) == zeros
    for body in (gzip.compress(gzip.compress(zeros)), gzip.compress(gzip.compress(b"") + zeros)):
        with pytest.raises(TooLarge):
            decoded("gzip, gzip", body, 500, limit=2_999_999)
