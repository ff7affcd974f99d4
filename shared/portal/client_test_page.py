"""The page that tests a client: with a secret, for one hospital, as the app would; and by an assertion of the app's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.directory.client import Client, secret_id_of
from shared.message import Response
from shared.oauth.client_assertion import ClientAssertions
from shared.oauth.errors import InvalidClient
from shared.portal.assertion_settings import assertion_settings, members_of
from shared.portal.client_finder import ClientFinder
from shared.portal.client_test import MAX_SECONDS, TestStep, test_client
from shared.portal.client_traffic import REMEDIES
from shared.portal.key_reader import KeyReader
from shared.portal.rendering import UNPROCESSABLE, Renderer
from shared.portal.request import PortalRequest, Route
from shared.portal.secret_cookie import SecretCookies
from shared.portal.tenant_list import TenantEntry, TenantList
from shared.settings import Settings

_MAX_CHOICES = 50


@dataclass(frozen=True, slots=True)
class ClientTestPage:
    """Asks the public gateway for a token and a search, and shows how each went.

    A secret that is typed goes to the token endpoint and nowhere else; on the page of a new one its cookie has it. A
    client's private key is the client's alone: an assertion that it signed is looked at here, and not used up.
    """

    _settings: Settings
    _renderer: Renderer
    _finder: ClientFinder
    _tenants: TenantList
    _cookies: SecretCookies
    _keys: KeyReader
    _assertions: ClientAssertions

    def routes(self) -> Sequence[Route]:
        """The form and the test, below a client and below a new secret."""
        handlers = {"GET": self._show, "POST": self._test}
        places = ("/clients/{client}/test", "/clients/{client}/secrets/{secret}/test")
        routes = [Route(method, place, handler) for method, handler in handlers.items() for place in places]
        return [*routes, Route("POST", "/clients/{client}/test/assertion", self._check)]

    async def _show(self, request: PortalRequest) -> Response:
        return await self._page(request, await self._finder.client(request))

    async def _test(self, request: PortalRequest) -> Response:
        client = await self._finder.client(request)
        secret, chosen = await self._secret(request), request.form.get("hospital", "")
        entry = next((entry for entry in await self._tenants.reachable(client) if entry.choice == chosen), None)
        if not secret or entry is None or entry.tenant is None or entry.version is None:
            problem = "Choose a hospital that the client may reach." if secret else "Type one of the client's secrets."
            return await self._page(request, client, problem=("hospital" if secret else "secret", problem))
        gateway = self._settings.public_base_url
        steps = [step async for step in test_client(gateway, entry.version, entry.tenant, client.id, secret)]
        refused = steps[-1].name == "Token" and steps[-1].status == 401
        why = _why_refused(client, secret) if refused else ""
        await self._finder.changed(request, "test", client.id, f"tenant {entry.tenant}")
        return await self._page(request, client, entry=entry, steps=steps, why=why)

    async def _check(self, request: PortalRequest) -> Response:
        client, assertion = await self._finder.client(request), request.form.get("assertion", "").strip()
        if not assertion:
            return await self._page(request, client, problem=("assertion", "Paste an assertion that the app signed."))
        keys, outcome = await self._keys.read(client), ""
        try:
            await self._assertions.check(assertion, client, [shown.key for shown in keys.keys])
        except InvalidClient as error:
            outcome = f"The assertion {error.reason}. {REMEDIES[error.kind]}"
        if not client.enabled and not outcome:
            outcome = "The assertion is good, but the client is disabled."
        await self._finder.changed(request, "test", client.id, "assertion")
        return await self._page(request, client, outcome=outcome, members=members_of(assertion) or None)

    async def _page(
        self,
        request: PortalRequest,
        client: Client,
        *,
        problem: tuple[str, str] | None = None,
        entry: TenantEntry | None = None,
        steps: Sequence[TestStep] = (),
        why: str = "",
        outcome: str | None = None,
        members: Mapping[str, str] | None = None,
    ) -> Response:
        search = (request.query or request.form).get("q", "").strip()
        reachable = await self._tenants.reachable(client)
        found = [each for each in reachable if search.lower() in each.name.lower()]
        keys = await self._keys.read(client)
        return self._renderer.page(
            "client_test.html",
            request,
            UNPROCESSABLE if problem else 200,
            client=client,
            gateway=self._settings.public_base_url,
            sealed=await self._cookies.opened(request) if "secret" in request.parameters else None,
            choices=[
                (each.choice, f"{each.name}, {each.version.name}") for each in found[:_MAX_CHOICES] if each.version
            ],
            searchable=len(reachable) > _MAX_CHOICES,
            search=search,
            problem=problem,
            entry=entry,
            steps=steps,
            why=why,
            keys=keys,
            signing=assertion_settings(self._settings, client, [shown.key for shown in keys.keys]),
            outcome=outcome,
            members=members,
            max_seconds=MAX_SECONDS,
        )

    async def _secret(self, request: PortalRequest) -> str:
        """The secret that was typed, else the new one of the page's path."""
        typed = request.form.get("secret", "").strip()
        new = await self._cookies.opened(request) if not typed and "secret" in request.parameters else None
        return new.client_secret if new is not None else typed


def _why_refused(client: Client, secret: str) -> str:
    """What the token endpoint does not tell, for the one who may see the client."""
    found = next((each for each in client.secrets if each.id == secret_id_of(secret)), None)
    if not client.enabled:
        return "The client is disabled."
    if found is None:
        return "The client has no such secret: it was deleted, is another client's, or was not copied whole."
    if not found.is_live(datetime.now(UTC)):
        return "The secret has expired. Add another one."
    return f"The secret {found.id} works, so what was typed after the dot is not it: copy it whole, or add another one."
