"""The pages of a client's secrets: made, shown to the one who made it for ten minutes, and deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.directory.client import EXPIRES_SOON, Client, ClientSecret
from shared.directory.client_registry import NewSecret, secret_label
from shared.directory.errors import Refusal
from shared.directory.usage import Usage
from shared.message import Response
from shared.portal.client_finder import ClientFinder, noted
from shared.portal.errors import NotFound
from shared.portal.rendering import UNPROCESSABLE, Renderer, download, see_other
from shared.portal.request import PortalRequest, Route
from shared.portal.secret_cookie import SecretCookies, secret_path
from shared.portal.tenant_list import TenantList
from shared.settings import Settings

LIFETIMES = {"90": "90 days", "180": "180 days", "365": "1 year", "never": "Never"}
DEFAULT_LIFETIME = "180"


@dataclass(frozen=True, slots=True)
class SecretPages:
    """Adds, shows and deletes secrets."""

    _settings: Settings
    _renderer: Renderer
    _finder: ClientFinder
    _usage: Usage
    _tenants: TenantList
    _cookies: SecretCookies

    def routes(self) -> Sequence[Route]:
        """The pages and what their forms do."""
        client = "/clients/{client}"
        secret = f"{client}/secrets/{{secret}}"
        return (
            Route("GET", f"{client}/secrets", self._new),
            Route("POST", f"{client}/secrets", self._add),
            Route("GET", secret, self._show),
            Route("GET", f"{secret}/env", self._env),
            Route("POST", f"{secret}/kept", self._kept),
            Route("GET", f"{secret}/delete", self._confirm_delete),
            Route("POST", f"{secret}/delete", self._delete),
        )

    async def _new(self, request: PortalRequest) -> Response:
        return await self._form(request, await self._finder.client(request), {"lifetime": DEFAULT_LIFETIME})

    async def _add(self, request: PortalRequest) -> Response:
        client, key = await self._finder.client(request), await self._cookies.key()
        problems: dict[str, str] = {}
        with noted(problems, "label"):
            label = secret_label(request.form.get("label", ""))
        with noted(problems, "lifetime"):
            expires = expiry(request.form)
        if not problems:
            with noted(problems, "label"):
                new = await self._finder.registry.add_secret(client.id, expires, label)
        if problems:
            return await self._form(request, client, request.form, problems)
        await self._finder.changed(request, "add-secret", client.id, f"secret {new.secret_id}")
        return see_other(secret_path(client.id, new.secret_id), cookie=self._cookies.sealed(key, request, new))

    async def _form(
        self,
        request: PortalRequest,
        client: Client,
        values: Mapping[str, str],
        problems: Mapping[str, str] | None = None,
    ) -> Response:
        """The page that replaces a secret without an interruption: where it stands, and the form for a new one."""
        return self._renderer.page(
            "secret_new.html",
            request,
            UNPROCESSABLE if problems else 200,
            client=client,
            values=values,
            states=secret_states(client),
            used=await self._usage.last_used(client.id),
            lifetimes=LIFETIMES,
            problems=problems or {},
        )

    async def _show(self, request: PortalRequest) -> Response:
        client, secret = await self._finder.secret(request)
        new = await self._cookies.opened(request)
        names = await self._tenants.names()
        tenants = sorted((names[id], id) for id in client.tenants or () if id in names)
        states, used = secret_states(client), await self._usage.last_used(client.id)
        context = {"client": client, "secret": secret, "new": new, "tenants": tenants, "states": states, "used": used}
        return self._renderer.page("secret.html", request, 200, **context)

    async def _env(self, request: PortalRequest) -> Response:
        client, secret = await self._finder.secret(request)
        new = await self._cookies.opened(request)
        if new is None:
            raise NotFound("The secret is shown for ten minutes after it was made. Add another one.")
        first = next(iter(await self._tenants.reachable(client)), None)
        base = first.version.value if first is not None and first.version is not None else "fhir"
        tenant = first.tenant or "" if first is not None else ""
        text = _env_file(self._settings.public_base_url, base, tenant, new, _described(client, secret))
        return download("fhir-gateway.env", text.encode(), "text/plain; charset=utf-8")

    async def _kept(self, request: PortalRequest) -> Response:
        client, _ = await self._finder.secret(request)
        return see_other(f"/clients/{client.id}", "secret-kept", cookie=self._cookies.forgotten(request))

    async def _confirm_delete(self, request: PortalRequest) -> Response:
        client, secret = await self._finder.secret(request)
        others = sum(other.id != secret.id for other in client.live_secrets)
        used = (await self._usage.last_used(client.id)).get(secret.id)
        context = {"client": client, "secret": secret, "others": others, "used": used}
        return self._renderer.page("secret_delete.html", request, 200, **context)

    async def _delete(self, request: PortalRequest) -> Response:
        client, secret = await self._finder.secret(request)
        await self._finder.registry.delete_secret(client.id, secret.id)
        await self._finder.changed(request, "delete-secret", client.id, f"secret {secret.id}")
        return see_other(f"/clients/{client.id}", "secret-deleted")


@dataclass(frozen=True, slots=True)
class SecretState:
    """A secret on a page: its kind of pill, and the word in it."""

    secret: ClientSecret
    kind: str
    text: str


def secret_states(client: Client) -> Sequence[SecretState]:
    """A client's secrets, the oldest first, each with how it stands: amber from 30 days before its end."""
    now = datetime.now(UTC)
    oldest = sorted(client.secrets, key=lambda secret: secret.created or datetime.min.replace(tzinfo=UTC))
    return [SecretState(secret, *_state(secret, now)) for secret in oldest]


def soonest(client: Client) -> SecretState | None:
    """The state that the list of clients shows: of the secret that ends first and is amber; else None."""
    ending = [state for state in secret_states(client) if state.kind == "slow"]
    return min(ending, key=lambda state: state.secret.expires or datetime.max.replace(tzinfo=UTC), default=None)


def expiry(form: Mapping[str, str]) -> datetime | None:
    """The end of a new secret's life, or None; Refusal when the form has none of the lifetimes it offers."""
    lifetime = form.get("lifetime", "")
    if lifetime not in LIFETIMES:
        raise Refusal("choose how long the secret is to work")
    if lifetime == "never":
        return None
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=int(lifetime))


def _state(secret: ClientSecret, now: datetime) -> tuple[str, str]:
    if not secret.is_live(now):
        return "off", "Expired"
    if secret.expires is None or secret.expires - now >= EXPIRES_SOON:
        return "good", "Works"
    days = (secret.expires.date() - now.date()).days
    return "slow", f"Ends in {days} days" if days > 1 else "Ends tomorrow" if days else "Ends today"


def _described(client: Client, secret: ClientSecret) -> str:
    label = f" ({secret.label})" if secret.label else ""
    until = f"works until {secret.expires:%Y-%m-%d}" if secret.expires else "works until it is deleted"
    return f"{client.name or client.id}: secret {secret.id}{label}, {until}"


def _env_file(gateway: str, base: str, tenant: str, new: NewSecret, comment: str) -> str:
    """The lines of a `.env` file, by the names of docs/app-guide.md; what people typed stands in the comment alone."""
    comment = "".join(character for character in comment if character.isprintable())
    values = {
        "BASE_URL": f"{gateway}/{base}",
        "TOKEN_URL": f"{gateway}/oauth2/token",
        "CLIENT_ID": new.client_id,
        "CLIENT_SECRET": new.client_secret,
        "TENANT_ID": tenant,
    }
    return f"# {comment}\n" + "".join(f"{name}={value}\n" for name, value in values.items())
