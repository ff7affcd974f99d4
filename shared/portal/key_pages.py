"""The pages of a client's public keys: registered from what is pasted or by their URL, and removed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.directory.client import Client
from shared.directory.client_keys import (
    ClientKey,
    InvalidKeySet,
    PrivateKeyGiven,
    joined,
    key_set_of,
    key_set_text,
    keys_changed,
    may_hold_private_key,
    parse_key_set,
)
from shared.directory.key_sets import key_set_url_problem
from shared.message import Response
from shared.portal.client_finder import ClientFinder, noted, sentence
from shared.portal.errors import ChangedMeanwhile, NotFound
from shared.portal.key_reader import KeyReader
from shared.portal.rendering import CONFLICT, UNPROCESSABLE, Renderer, see_other
from shared.portal.request import PortalRequest, Route
from shared.settings import Settings
from shared.stores.errors import StoreConflict

_EXPOSED = "Nothing of it was kept, but a private key in a form counts as exposed: make a new pair"
_NOT_SHOWN = "What was pasted is not shown again, as it may hold a private key"


@dataclass(frozen=True, slots=True)
class TypedKeys:
    """What a form says of a client's keys: `url`, or `jwks` with its `keys`, unless there are `problems` by field.

    `shown` is what may stand in the form again of what was pasted.
    """

    shown: str
    url: str
    jwks: str
    keys: Sequence[ClientKey]
    problems: Mapping[str, str]

    def detail(self, before: Sequence[ClientKey]) -> str:
        """The change's columns and keys, for the log."""
        return ", ".join(filter(None, ("JwksUrl" if self.url else "Jwks", keys_changed(before, self.keys))))


def typed_keys(form: Mapping[str, str], present: Sequence[ClientKey], *, local: bool) -> TypedKeys:
    """The fields `jwks` and `jwks_url` of a form; pasted keys come beside those that are `present`."""
    pasted, url = form.get("jwks", "").strip(), form.get("jwks_url", "").strip()
    shown, jwks, keys = "" if may_hold_private_key(pasted) else pasted, "", tuple[ClientKey, ...]()
    problems: dict[str, str] = {}
    if not pasted and not url:
        problems["jwks"] = "Paste public keys, or give their URL below."
    if pasted:
        try:
            jwks = joined(present, parse_key_set(key_set_text(pasted)))
            keys = parse_key_set(jwks)
        except InvalidKeySet as error:
            private = isinstance(error, PrivateKeyGiven)
            shown = "" if private else shown
            more = _EXPOSED if private else "" if shown else _NOT_SHOWN
            problems["jwks"] = " ".join(map(sentence, filter(None, (f"The key set {error}", more))))
    if pasted and url:
        problems["jwks_url"] = "Give a URL or paste keys, not both."
    elif url and (problem := key_set_url_problem(url, local=local)):
        problems["jwks_url"] = f"The URL {problem}."
    return TypedKeys(shown, url, jwks, keys, problems)


@dataclass(frozen=True, slots=True)
class KeyPages:
    """Adds, replaces and removes keys."""

    _settings: Settings
    _renderer: Renderer
    _finder: ClientFinder
    _keys: KeyReader

    def routes(self) -> Sequence[Route]:
        """The pages and what their forms do."""
        keys = "/clients/{client}/keys"
        return (
            Route("GET", keys, self._show),
            Route("POST", keys, self._save),
            *(Route("GET", f"{keys}/{which}", self._confirm_removal) for which in ("remove", "{key}/remove")),
            *(Route("POST", f"{keys}/{which}", self._remove) for which in ("remove", "{key}/remove")),
        )

    async def _show(self, request: PortalRequest) -> Response:
        etag, client = await self._finder.etag(request), await self._finder.client(request)
        return await self._form(request, client, etag, {"jwks_url": client.jwks_url})

    async def _save(self, request: PortalRequest) -> Response:
        etag, client = await self._finder.etag(request), await self._finder.client(request)
        form = request.form
        if form.get("jwks", "").strip() and form.get("jwks_url", "").strip() == client.jwks_url:
            form = {**form, "jwks_url": ""}  # it stood in the form, and what was pasted takes its place
        present = client.keys if form.get("mode") == "beside" else ()
        typed = typed_keys(form, present, local=self._settings.local)
        values = {**form, "jwks": typed.shown}
        if form.get("etag") != etag:
            return await self._form(request, client, etag, values, typed.problems, CONFLICT)
        problems = dict(typed.problems)
        if not problems:
            try:
                with noted(problems, "jwks"):
                    await self._finder.registry.change(client.id, jwks=typed.jwks, jwks_url=typed.url, etag=etag)
            except StoreConflict:
                return await self._save(request)  # the row has another ETag by now, so this shows what is in it
        if problems:
            return await self._form(request, client, etag, values, problems, UNPROCESSABLE)
        await self._finder.changed(request, "set-keys", client.id, typed.detail(client.keys))
        return see_other(f"/clients/{client.id}", "keys-saved")

    async def _form(
        self,
        request: PortalRequest,
        client: Client,
        etag: str,
        values: Mapping[str, str],
        problems: Mapping[str, str] | None = None,
        status: int = 200,
    ) -> Response:
        return self._renderer.page(
            "client_keys.html",
            request,
            status,
            client=client,
            etag=etag,
            keys=await self._keys.read(client),
            values=values,
            problems=problems or {},
            changed=status == CONFLICT,
        )

    async def _confirm_removal(self, request: PortalRequest) -> Response:
        etag, client = await self._finder.etag(request), await self._finder.client(request)
        shown = await self._keys.read(client)
        going = {key.id for key in _named(request, client)}
        removed = [each for each in shown.keys if each.key.id in going or client.jwks_url]
        stays = len(client.keys) > len(removed)
        context = {"client": client, "etag": etag, "removed": removed, "stays": stays}
        return self._renderer.page("client_keys_remove.html", request, 200, **context)

    async def _remove(self, request: PortalRequest) -> Response:
        etag, client = await self._finder.etag(request), await self._finder.client(request)
        going = _named(request, client)
        if request.form.get("etag") != etag:
            raise ChangedMeanwhile
        rest = [key for key in client.keys if key not in going]
        await self._finder.registry.change(client.id, jwks=key_set_of(rest), etag=etag)
        column = "JwksUrl" if client.jwks_url else "Jwks"
        detail = ", ".join(filter(None, (column, keys_changed(client.keys, rest))))
        await self._finder.changed(request, "remove-keys", client.id, detail)
        return see_other(f"/clients/{client.id}", "keys-removed")


def _named(request: PortalRequest, client: Client) -> Sequence[ClientKey]:
    """The keys that the path names, all of them without an id there. Raises NotFound for none."""
    id = request.parameters.get("key")
    named = [key for key in client.keys if id in (None, key.id)]
    if not named and (id is not None or not client.jwks_url):
        raise NotFound
    return named
