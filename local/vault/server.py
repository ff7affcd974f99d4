"""The Key Vault secrets protocol over HTTPS on 127.0.0.1, as Azure's SDK speaks it.

https://learn.microsoft.com/rest/api/keyvault/secrets/operation-groups. Backup and restore are not served.
"""

import asyncio
import base64
import hmac
import re
import secrets
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from local import secret_file
from local.vault.certificates import server_context
from local.vault.store import RECOVERABLE_DAYS, Secret, SecretVersion, Store, VaultError

T = TypeVar("T")

_MAX_RESULTS = 25
_PAGE_SIZES = {str(size): size for size in range(1, _MAX_RESULTS + 1)}
_API_VERSION = re.compile(r"(7\.\d|\d{4}-\d{2}-\d{2})(-preview(\.\d)?)?")
_CHALLENGE = (
    'Bearer authorization="https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000", '
    'resource="https://vault.azure.net"'
)


class VaultServer:
    """A running vault. Its `folder` holds the bearer token (`token`), the CA to trust (`ca.pem`) and all secrets."""

    def __init__(self, folder: Path, url: str, runner: web.AppRunner) -> None:
        self.folder = folder
        self.url = url
        self._runner = runner

    @classmethod
    async def start(cls, folder: Path, port: int = 0) -> "VaultServer":
        """Serves the vault kept in `folder` on `port` (0: any free one). Raises OSError if the port is taken."""
        app, context = await asyncio.to_thread(_open, folder)
        # No access log: paths hold the names of secrets.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
        except BaseException:
            await runner.cleanup()
            raise
        return cls(folder, f"https://127.0.0.1:{runner.addresses[0][1]}", runner)

    async def stop(self) -> None:
        """Ends open requests within 2 s and closes the port."""
        await self._runner.cleanup()


def create_app(store: Store, token: str) -> web.Application:
    """The vault's application, for requests with the bearer `token`; others get Key Vault's challenge."""
    operations = _Operations(store)
    app = web.Application(middlewares=[_guard(token)])
    # The SDK asks for the latest version by an empty one.
    secret, version = "/secrets/{name}", "/secrets/{name}/{version:[^/]*}"
    deleted = "/deletedsecrets/{name}"
    app.add_routes(
        [
            web.get("/secrets", operations.list_secrets),
            web.put(secret, operations.set_secret),
            web.delete(secret, operations.delete_secret),
            web.get(f"{secret}/versions", operations.list_versions),
            *(web.get(path, operations.get_secret) for path in (secret, version)),
            *(web.patch(path, operations.update_secret) for path in (secret, version)),
            web.get("/deletedsecrets", operations.list_deleted_secrets),
            web.get(deleted, operations.get_deleted_secret),
            web.delete(deleted, operations.purge_secret),
            web.post(f"{deleted}/recover", operations.recover_secret),
        ]
    )
    return app


def _open(folder: Path) -> tuple[web.Application, ssl.SSLContext]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    token = secret_file.read_or_create(folder / "token", lambda: secrets.token_urlsafe(32))
    return create_app(Store(folder / "secrets.json"), token), server_context(folder)


class _Attributes(msgspec.Struct):
    enabled: bool | None = None
    nbf: int | None = None
    exp: int | None = None


class _Body(msgspec.Struct, rename={"content_type": "contentType"}):
    """The body of a set or an update; what is absent or null is not changed."""

    value: str | None = None
    attributes: _Attributes | None = None
    tags: dict[str, str | None] | None = None
    content_type: str | None = None

    @classmethod
    async def of(cls, request: web.Request) -> "_Body":
        try:
            return msgspec.json.decode(await request.read(), type=cls)
        except (msgspec.DecodeError, RecursionError) as error:
            raise VaultError(f"The request body is malformed: {error}") from None

    def properties(self) -> dict[str, Any]:
        attributes = self.attributes or _Attributes()
        tags = None if self.tags is None else {name: value or "" for name, value in self.tags.items()}
        given: dict[str, Any] = {"enabled": attributes.enabled, "not_before": attributes.nbf, "expires": attributes.exp}
        given |= {"tags": tags, "content_type": self.content_type}
        return {name: value for name, value in given.items() if value is not None}


class _Operations:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def set_secret(self, request: web.Request) -> web.Response:
        body = await _Body.of(request)
        if body.value is None:
            raise VaultError("Property 'value' is required.")
        version = self._store.set(request.match_info["name"], body.value, **body.properties())
        return web.json_response(_bundle(request, version) | {"value": version.value})

    async def get_secret(self, request: web.Request) -> web.Response:
        version = self._store.get(**request.match_info)
        return web.json_response(_bundle(request, version) | {"value": version.value})

    async def update_secret(self, request: web.Request) -> web.Response:
        version = self._store.update(**request.match_info, **(await _Body.of(request)).properties())
        return web.json_response(_bundle(request, version))

    async def delete_secret(self, request: web.Request) -> web.Response:
        return web.json_response(_deleted_bundle(request, self._store.delete(**request.match_info)))

    async def get_deleted_secret(self, request: web.Request) -> web.Response:
        return web.json_response(_deleted_bundle(request, self._store.deleted(**request.match_info)))

    async def recover_secret(self, request: web.Request) -> web.Response:
        return web.json_response(_bundle(request, self._store.recover(**request.match_info)))

    async def purge_secret(self, request: web.Request) -> web.Response:
        self._store.purge(**request.match_info)
        return web.Response(status=204)

    async def list_secrets(self, request: web.Request) -> web.Response:
        return _page(request, self._store.secrets(), _item)

    async def list_deleted_secrets(self, request: web.Request) -> web.Response:
        return _page(request, self._store.secrets(deleted=True), lambda *each: _deleted_bundle(*each) | _item(*each))

    async def list_versions(self, request: web.Request) -> web.Response:
        return _page(request, self._store.versions(**request.match_info), _bundle)


def _guard(token: str) -> Middleware:
    expected = token.encode()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected):
            response = _error(401, "Unauthorized", "AKV10000: Request is missing a valid Bearer token.")
            response.headers["WWW-Authenticate"] = _CHALLENGE
            return response
        try:
            version = request.query.get("api-version", "")
            if not _API_VERSION.fullmatch(version):
                raise VaultError(f"api-version must be specified; the specified version ({version}) is not recognized.")
            return await handler(request)
        except VaultError as error:
            return _error(error.status, error.code, str(error), error.inner_code)
        except web.HTTPException as error:
            return _error(error.status, error.reason.replace(" ", ""), error.reason)

    return guard


def _error(status: int, code: str, message: str, inner_code: str | None = None) -> web.Response:
    error: dict[str, object] = {"code": code, "message": message}
    if inner_code:
        error["innererror"] = {"code": inner_code}
    return web.json_response({"error": error}, status=status)


def _origin(request: web.Request) -> str:
    """The vault's own base, under the host name by which the client knows it."""
    return f"{request.scheme}://{request.host}"


def _bundle(request: web.Request, version: SecretVersion) -> dict[str, Any]:
    times = {"nbf": version.not_before, "exp": version.expires, "created": version.created, "updated": version.updated}
    attributes: dict[str, Any] = {name: time for name, time in times.items() if time is not None}
    recovery = {"recoveryLevel": "Recoverable+Purgeable", "recoverableDays": RECOVERABLE_DAYS}
    attributes |= {"enabled": version.enabled, **recovery}
    content_type = {} if version.content_type is None else {"contentType": version.content_type}
    id = f"{_origin(request)}/secrets/{version.name}/{version.id}"
    return {"id": id, "attributes": attributes, "tags": version.tags, **content_type}


def _item(request: web.Request, secret: Secret) -> dict[str, Any]:
    return _bundle(request, secret.latest) | {"id": f"{_origin(request)}/secrets/{secret.latest.name}"}


def _deleted_bundle(request: web.Request, secret: Secret) -> dict[str, Any]:
    deleted = secret.deleted or 0
    return _bundle(request, secret.latest) | {
        "recoveryId": f"{_origin(request)}/deletedsecrets/{secret.latest.name}",
        "deletedDate": deleted,
        "scheduledPurgeDate": deleted + RECOVERABLE_DAYS * 86_400,
    }


def _page(request: web.Request, items: Mapping[str, T], show: Callable[[web.Request, T], Any]) -> web.Response:
    """The items whose keys come after the request's skip token, and a link to those beyond `maxresults`."""
    size = _PAGE_SIZES.get(request.query.get("maxresults", str(_MAX_RESULTS)))
    if size is None:
        raise VaultError(f"maxresults must be a number from 1 to {_MAX_RESULTS}.")
    token = request.query.get("$skiptoken", "")
    try:
        after = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except ValueError:
        raise VaultError("The $skiptoken is not one of this vault's.") from None
    keys = [key for key in items if key > after]
    link = None
    if len(keys) > size:
        token = base64.urlsafe_b64encode(keys[size - 1].encode()).decode().rstrip("=")
        query = {"api-version": request.query["api-version"], "$skiptoken": token, "maxresults": size}
        link = f"{_origin(request)}{request.path}?{urlencode(query, safe='$')}"
    return web.json_response({"value": [show(request, items[key]) for key in keys[:size]], "nextLink": link})
