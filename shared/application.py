"""The application: every part built once and put together, in one place.

Parts are imported and built when they are first needed, so that a cold start pays only for what its request uses.
"""

import logging
import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from shared.settings import Settings

if TYPE_CHECKING:
    from shared.audit import AuditLog
    from shared.directory.activity import ActivityLog
    from shared.directory.client_cache import ClientCache
    from shared.directory.key_sets import KeySets
    from shared.directory.tenant_cache import TenantCache
    from shared.directory.traffic import Traffic
    from shared.directory.usage import Usage
    from shared.gateway import Gateway
    from shared.health import HealthEndpoint
    from shared.metadata import DocumentEndpoint
    from shared.oauth.access_token import AccessTokens
    from shared.oauth.client_assertion import ClientAssertions
    from shared.oauth.endpoint import OAuthEndpoint
    from shared.oauth.live_tokens import LiveTokens
    from shared.oauth.signing_keys import SigningKeys
    from shared.oauth.used_assertions import UsedAssertions
    from shared.onboarding.checks import CheckLog
    from shared.portal.endpoint import PortalEndpoint
    from shared.root import RootEndpoint
    from shared.stores.tables import Table, TableAccount
    from shared.stores.vault import Vault
    from shared.upkeep import Upkeep
    from shared.upstream.credentials.factory import Credentials
    from shared.upstream.page_handles import PageHandles
    from shared.upstream.transport import Transport


class Application:
    """All endpoints and their parts, built from `settings`; it belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Application":
        """The application these settings describe. Raises SettingError.

        azure-core writes URLs at INFO, with names of secrets and keys of rows in them: those loggers speak up only
        from WARNING on. So do the worker's own (`proxy_worker` from Python 3.13 on, `azure_functions_worker` before):
        for each request they send the host lines that `host.json` drops (measured: 90 us, a fifth of a trivial
        function's cost). The audit log's lines are INFO, below the worker's default.
        """
        for name in ("azure", "azure_functions_worker", "proxy_worker"):
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger("gateway.audit").setLevel(logging.INFO)
        return cls(Settings.from_environment(environment))

    @cached_property
    def documents(self) -> "DocumentEndpoint":
        """Statements and SMART configurations."""
        from shared.metadata import DocumentEndpoint

        return DocumentEndpoint(self.settings.public_base_url, self.settings.default_fhir_version)

    @cached_property
    def oauth(self) -> "OAuthEndpoint":
        """The token endpoint and the published keys."""
        from shared.oauth.endpoint import OAuthEndpoint

        return OAuthEndpoint(
            self.settings.public_base_url,
            self.clients,
            self._assertions,
            self.tenants,
            self.signing_keys,
            self._live_tokens,
            self.usage,
            self.traffic,
            self._audit,
        )

    @cached_property
    def gateway(self) -> "Gateway":
        """Every other FHIR request."""
        from shared.gateway import Gateway
        from shared.upstream.provider_client import ProviderClient

        provider_client = ProviderClient(self._transport, self._credentials, self._page_handles)
        return Gateway(
            self.settings,
            self._live_tokens,
            self.tenants,
            provider_client,
            self._page_handles,
            self.traffic,
            self._audit,
        )

    @cached_property
    def portal(self) -> "PortalEndpoint":
        """The registration portal."""
        from shared.directory.traffic_history import TrafficHistory
        from shared.portal.endpoint import PortalEndpoint
        from shared.stores.tables import TRAFFIC

        history = TrafficHistory(self._table(TRAFFIC), self.settings.cache_seconds)
        return PortalEndpoint(
            self.settings,
            os.environ,
            self._tables,
            self.vault,
            self.usage,
            history,
            self.activity,
            self.checks,
            self._key_sets,
            self._assertions,
        )

    @cached_property
    def health(self) -> "HealthEndpoint":
        """The health of the stores."""
        from shared.health import HealthEndpoint
        from shared.stores.tables import TENANTS

        tenants = self._table(TENANTS)
        return HealthEndpoint({"key_vault": self.signing_keys.check, "tables": lambda: tenants.get("health", "health")})

    @cached_property
    def root(self) -> "RootEndpoint":
        """The endpoint for everything outside the FHIR bases."""
        from shared.root import RootEndpoint

        return RootEndpoint(self.settings.public_base_url, self.settings.default_fhir_version)

    @cached_property
    def vault(self) -> "Vault":
        """Key Vault."""
        from shared.stores.vault import Vault

        return Vault(self.settings)

    @cached_property
    def clients(self) -> "ClientCache":
        """The directory of clients."""
        from shared.directory.client_cache import ClientCache
        from shared.stores.tables import CLIENTS

        return ClientCache(self._table(CLIENTS), self.vault, lambda: self._key_sets, self.settings)

    @cached_property
    def tenants(self) -> "TenantCache":
        """The directory of tenants."""
        from shared.directory.tenant_cache import TenantCache
        from shared.stores.tables import TENANTS

        return TenantCache(self._table(TENANTS), self.settings)

    @cached_property
    def signing_keys(self) -> "SigningKeys":
        """The keys that sign access tokens."""
        from shared.oauth.signing_keys import SigningKeys

        return SigningKeys(self.vault, self.settings)

    @cached_property
    def tokens(self) -> "AccessTokens":
        """Access tokens, issued and verified."""
        from shared.oauth.access_token import AccessTokens

        return AccessTokens(self.signing_keys, self.settings)

    @cached_property
    def _key_sets(self) -> "KeySets":
        from shared.directory.key_sets import KeySets

        return KeySets(self.settings)

    @cached_property
    def _assertions(self) -> "ClientAssertions":
        from shared.oauth.client_assertion import ClientAssertions

        return ClientAssertions(self.clients, self._used_assertions, self.settings.public_base_url)

    @cached_property
    def _used_assertions(self) -> "UsedAssertions":
        from shared.oauth.used_assertions import UsedAssertions
        from shared.stores.tables import ASSERTIONS

        return UsedAssertions(self._table(ASSERTIONS))

    @cached_property
    def _live_tokens(self) -> "LiveTokens":
        from shared.directory.revoked_tokens import RevokedTokens
        from shared.oauth.live_tokens import LiveTokens
        from shared.stores.tables import REVOKED

        return LiveTokens(self.tokens, self.clients, RevokedTokens(self._table(REVOKED), self.settings))

    @cached_property
    def usage(self) -> "Usage":
        """When secrets were last used."""
        from shared.directory.usage import Usage
        from shared.stores.tables import USAGE

        return Usage(self._table(USAGE))

    @cached_property
    def traffic(self) -> "Traffic":
        """What this instance counts of requests."""
        from shared.directory.traffic import Traffic
        from shared.stores.tables import TRAFFIC

        return Traffic(self._table(TRAFFIC))

    @cached_property
    def activity(self) -> "ActivityLog":
        """Who changed what."""
        from shared.directory.activity import ActivityLog
        from shared.stores.tables import ACTIVITY

        return ActivityLog(self._table(ACTIVITY), self._audit)

    @cached_property
    def checks(self) -> "CheckLog":
        """The last check of each hospital."""
        from shared.onboarding.checks import CheckLog
        from shared.stores.tables import CHECKS

        return CheckLog(self._table(CHECKS))

    @cached_property
    def upkeep(self) -> "Upkeep":
        """The night's work."""
        from shared.upkeep import Upkeep

        return Upkeep(self.settings, self._table, self.vault, self._audit)

    async def close(self) -> None:
        """Ends what was built, the latest first. No worker in Azure gets here: the host kills it."""
        writing = ("usage", "traffic", "_used_assertions")
        for name in (*writing, "_credentials", "_key_sets", "_transport", "_tables", "vault"):
            part = self.__dict__.get(name)
            if part is not None:
                await part.close()

    @cached_property
    def _audit(self) -> "AuditLog":
        from shared.audit import AuditLog

        return AuditLog()

    @cached_property
    def _tables(self) -> "TableAccount":
        from shared.stores.tables import table_service

        return table_service(self.settings, self.vault.credential)

    def _table(self, name: str) -> "Table":
        from shared.stores.tables import Table

        return Table(self._tables, name)

    @cached_property
    def _transport(self) -> "Transport":
        from shared.upstream.transport import Transport

        return Transport(self.settings.max_response_bytes)

    @cached_property
    def _credentials(self) -> "Credentials":
        from shared.stores.cache import Cache
        from shared.upstream.credentials.factory import Credentials

        values: Cache[str, str] = Cache(
            self._provider_secret,
            fresh_seconds=self.settings.cache_seconds,
            stale_seconds=self.settings.stale_seconds,
            size=20_000,
        )
        return Credentials(self._transport.client, values, self.tenants.is_current)

    async def _provider_secret(self, name: str) -> str | None:
        secret = await self.vault.get(name)
        return None if secret is None else secret.value

    @cached_property
    def _page_handles(self) -> "PageHandles":
        from shared.stores.tables import PAGES
        from shared.upstream.page_handles import PageHandles

        return PageHandles(self._table(PAGES))
