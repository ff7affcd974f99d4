"""How a token request may be spelt (RFC 6749 sections 2.3.1, 3.2 and 4.4.2)."""

import base64
import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.oauth import endpoint
from tests.deployment import FORM, Credentials, Deployment
from tests.oauth.conftest import granted, refused

JSON = "application/json"
FORM_BODY = "grant_type=client_credentials&client_id=a&client_secret=b.c&scope=d"
GRANT = "grant_type=client_credentials"
AWKWARD = "s3cr3t.a:b::%41+c d/=&?ü€"


def basic(text: str | bytes) -> str:
    return f"Basic {base64.b64encode(text.encode() if isinstance(text, str) else text).decode()}"


@pytest.mark.parametrize(
    "content_type",
    [
        FORM,
        f"{FORM};charset=UTF-8",
        f'{FORM.upper()} ; charset="utf-8"',
        *(f"{FORM}; charset={charset}" for charset in ("us-ascii", "ascii", "ISO-8859-1", "windows-1252", "utf-16")),
        *(f"application/json{charset}" for charset in ("", ";charset=utf8", ";charset=latin1")),
    ],
)
@pytest.mark.parametrize("grant_type", ["grant_type", "grant-type"])
async def test_a_form_and_a_json_object_are_taken(
    server: Deployment, client: Credentials, tenant: str, content_type: str, grant_type: str
) -> None:
    form = client.form(tenant)
    parameters = {grant_type: form.pop("grant_type"), **form}
    body = json.dumps(parameters) if "json" in content_type else urlencode(parameters)
    assert granted(await server.oauth(body, content_type=content_type))["expires_in"] == 3600


async def test_basic_is_taken_also_with_json_and_the_same_client_id_in_the_body(
    server: Deployment, client: Credentials, tenant: str
) -> None:
    parameters = {"grant_type": "client_credentials", "scope": tenant}
    for scheme in ("Basic ", "basic ", "BASIC   ", " Basic "):
        authorization = scheme + client.basic().removeprefix("Basic ")
        granted(await server.oauth(urlencode(parameters), authorization=authorization))
    body = json.dumps({**parameters, "client_id": client.client_id})
    granted(await server.oauth(body, content_type=JSON, authorization=client.basic()))


async def test_both_parts_of_basic_are_form_decoded_and_split_at_the_first_colon(
    server: Deployment, tenant: str
) -> None:
    client = await server.client()
    secret = await server.add_secret(client.client_id, AWKWARD)
    body = urlencode({"grant_type": "client_credentials", "scope": tenant})

    granted(await server.oauth(body, authorization=Credentials(client.client_id, secret).basic()))

    plus_for_space = AWKWARD.replace("%", "%25").replace("+", "%2B").replace(" ", "+")
    assert ":b::" in plus_for_space
    granted(await server.oauth(body, authorization=basic(f"{client.client_id}:{plus_for_space}")))
    all_encoded = "".join(f"%{byte:02x}" for byte in client.client_id.encode())
    granted(await server.oauth(body, authorization=basic(f"{all_encoded}:{quote(AWKWARD, safe='')}")))
    in_form = "s3cr3t.a:b::%41+c d/=&?"
    other = await server.client()
    await server.add_secret(other.client_id, in_form)
    granted(await server.request_token(Credentials(other.client_id, in_form), tenant))
    undecoded = await server.oauth(body, authorization=basic(f"{client.client_id}:{AWKWARD}"))
    assert refused(undecoded) == (401, "invalid_client")


async def test_what_is_empty_counts_as_absent(server: Deployment, client: Credentials, tenant: str) -> None:
    form = client.form(tenant)
    empty = "&client_assertion=&client_secret=&scope=&grant_type=&grant-type="
    for authorization in ("", " "):
        granted(await server.oauth(urlencode(form) + empty, authorization=authorization))
    granted(await server.oauth(f"{GRANT}&scope={tenant}{empty}", authorization=client.basic()))
    parameters = {**form, "grant-type": "", "client_assertion": None}
    granted(await server.oauth(json.dumps(parameters), content_type=JSON))
    for name, error in (("grant_type", "invalid_request"), ("scope", "invalid_scope"), ("client_id", "invalid_client")):
        response = await server.oauth(urlencode(form | {name: ""}))
        assert refused(response) == (401 if name == "client_id" else 400, error)


async def test_an_unknown_parameter_is_ignored_even_when_repeated(
    server: Deployment, client: Credentials, tenant: str
) -> None:
    body = urlencode(client.form(tenant))
    granted(await server.oauth(f"{body}&audience=x&audience=y&audience=%C3%BC&&=&Client_Secret=z"))
    granted(await server.oauth(body, query="code=x&a=%ff&&b=%zz"))
    parameters = {**client.form(tenant), "audience": ["x", {"y": 1}], "n": 1, "\ud800": "z"}
    granted(await server.oauth(json.dumps(parameters), content_type=JSON))


@pytest.mark.parametrize(
    ("content_type", "bodies"),
    [
        *((other, [FORM_BODY]) for other in (None, "", "text/plain", "multipart/form-data; x=y", f"{FORM},{JSON}")),
        (FORM, [f"{FORM_BODY}&{name}" for name in ("client_id=a", "client_secret=b.c", "scope=e", "%73cope=f")]),
        (FORM, [f"{FORM_BODY}&{name}" for name in (GRANT, "grant-type=x")]),
        (FORM, [f"{FORM_BODY}&client_assertion=x", f"{FORM_BODY}&client_assertion_type=x"]),
        (FORM, [FORM_BODY.encode() + b"\xff", FORM_BODY.encode("utf-16")]),
        (f"{FORM};charset=utf-16", [FORM_BODY.encode("utf-16")]),
        (f"{FORM};charset=iso-8859-1", [f"{FORM_BODY}&x=ü".encode("latin-1"), f"{FORM_BODY}&x=ü"]),
        (FORM, [f"{FORM_BODY}{more}" for more in ("%ff", "&%ff=x", "%00", "%0d%0aX-Injected: 1", "%C3%BC")]),
        (FORM, [f"{FORM_BODY}&padding={'x' * 16_384}"]),
        (JSON, [b'{"grant_type":"\xff"}', '\ufeff{"grant_type":"client_credentials"}']),
        (JSON, ['{"grant_type":"client_credentials","scope":"\\ud800"}', '[["grant_type","client_credentials"]]']),
        (JSON, ['{"client_id":"a","client_secret":"b.c","scope":"d","scope":"d"}', '{"grant_type":true}']),
        (JSON, ['{"grant_type":["client_credentials"]}', '{"grant_type":{"client_credentials":1}}']),
        (JSON, ['"grant_type"', "null", "", FORM_BODY, "[" * 16_000, '{"a":' * 3_000, '{"a":' + "1" * 5_000 + "}"]),
    ],
)
async def test_a_malformed_body_is_refused(
    server: Deployment, content_type: str | None, bodies: list[bytes | str]
) -> None:
    for body in bodies:
        assert refused(await server.oauth(body, content_type=content_type)) == (400, "invalid_request")


async def test_two_ways_of_authentication_at_once_and_what_is_no_utf_8_are_refused(server: Deployment) -> None:
    for body, authorization in (
        (FORM_BODY, basic("a:b.c")),
        (FORM_BODY, "Bearer x"),
        (f"{GRANT}&client_assertion=x", basic("a:b.c")),
        (f"{GRANT}&client_id=other", basic("a:b.c")),
        (GRANT, basic("a:%ff")),
    ):
        assert refused(await server.oauth(body, authorization=authorization)) == (400, "invalid_request")


async def test_parameters_in_the_url_are_refused(server: Deployment, client: Credentials, tenant: str) -> None:
    body = urlencode(client.form(tenant))
    for query in ("client_secret=x", "scope=", "grant_type", f"grant-type={GRANT}", "a=b&client_id=x", "client%5Fid=x"):
        assert refused(await server.oauth(body, query=query)) == (400, "invalid_request")
    for query in ("client_assertion=x", "%ff=x", "%\udcff=x"):
        assert refused(await server.oauth(body, query=query)) == (400, "invalid_request")


async def test_a_malformed_authorization_header_fails_as_wrong_credentials_do(
    server: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_REFUSAL_SECONDS", 0.001)
    pairs = ("no-colon", b"\xff:\xff", ":", "a:", ":b.c", "a:b.c\0")
    headers = ["", "Basic", "Basic é", "Basic \udcff", "Basic !!!!", "Basic YQ", "Bearer x", "Digest username=a"]
    for authorization in (*headers, *map(basic, pairs), f"{basic('a:b.c')},{basic('a:b.c')}"):
        response = await server.oauth(GRANT, authorization=authorization)
        assert refused(response) == (401, "invalid_client")
        assert response.headers["WWW-Authenticate"].startswith("Basic ")


async def test_another_grant_is_unsupported(server: Deployment, client: Credentials, tenant: str) -> None:
    for grant_type in ("password", "authorization_code", "CLIENT_CREDENTIALS", "client_credentials "):
        body = urlencode(client.form(tenant) | {"grant_type": grant_type})
        assert refused(await server.oauth(body)) == (400, "unsupported_grant_type")


async def test_a_body_that_the_host_lost_because_it_came_in_chunks_is_told_so(
    server: Deployment, client: Credentials, tenant: str
) -> None:
    assert refused(await server.oauth(b"", transfer_encoding="chunked")) == (411, "invalid_request")
    granted(await server.oauth(urlencode(client.form(tenant)), transfer_encoding="chunked"))


async def test_another_method_is_refused_with_allow(server: Deployment) -> None:
    options = await server.oauth(method="OPTIONS", content_type=None)
    assert (options.status, options.headers["Allow"], options.body) == (204, "POST, OPTIONS", b"")
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "post"):
        response = await server.oauth(FORM_BODY, method=method)
        assert response.headers["Allow"] == "POST, OPTIONS"
        if method == "HEAD":
            assert (response.status, response.body) == (405, b"")
        else:
            assert refused(response) == (405, "invalid_request")


@pytest.mark.parametrize(
    "text", ["", "response_type=code", "response_type=token&redirect_uri=https%3A%2F%2Fevil.example"]
)
async def test_the_authorization_endpoint_offers_no_response_type_and_redirects_nobody(
    server: Deployment, text: str
) -> None:
    for response in (
        await server.oauth(query=text, method="GET", path="/oauth2/Authorize/"),
        await server.oauth(text, path="/oauth2/Authorize/"),
    ):
        assert refused(response) == (400, "unsupported_response_type")
        assert "Location" not in response.headers


@pytest.mark.parametrize("path", ["/oauth2/tokens", "/oauth2/token%0A", "/oauth2", "/oauth2/x/token"])
async def test_there_is_nothing_else(server: Deployment, path: str) -> None:
    assert refused(await server.oauth(FORM_BODY, path=path)) == (404, "invalid_request")


parts = st.one_of(
    st.sampled_from([b"grant_type=client_credentials", b"client_id=a", b"client_secret=b.c", b"scope=", b"&", b"%ff"]),
    st.sampled_from([b"{", b"}", b'"grant-type":', b'"client_credentials"', b",", b'"\\ud800"', b"[", b"1e999", b"=+"]),
    st.binary(max_size=20),
)


requests = st.fixed_dictionaries(
    {
        "body": st.lists(parts, max_size=12).map(b"".join),
        "content_type": st.sampled_from([FORM, JSON, f"{FORM}; charset=", f"{JSON}; charset=é", None])
        | st.text(max_size=30),
        "query": st.text(max_size=20) | st.just(""),
        "method": st.sampled_from(["POST"] * 5 + ["GET", "OPTIONS"]) | st.text(max_size=5),
    },
    optional={"authorization": st.text(max_size=30) | st.binary(max_size=30).map(basic)},
)


@settings(max_examples=100)
@given(sent=requests)
async def test_whatever_comes_the_response_is_an_oauth_response(
    server: Deployment, monkeypatch: pytest.MonkeyPatch, sent: dict[str, Any]
) -> None:
    monkeypatch.setattr(endpoint, "_REFUSAL_SECONDS", 0.001)
    response = await server.oauth(**sent)
    if sent["method"] == "OPTIONS":
        assert response.status == 204
    elif sent["method"] == "HEAD":
        assert response.body == b""
    else:
        assert refused(response)[0] in (400, 401, 405)
