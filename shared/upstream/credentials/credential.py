"""What every way of authenticating to a provider has in common."""

from collections.abc import Mapping
from typing import Protocol


class Credential(Protocol):
    """How the gateway proves to one provider who it is."""

    async def headers(self) -> Mapping[str, str]:
        """The headers to send with the next request; raises CredentialError or StoreUnavailable.

        Asked for every request: what has to be loaded is kept, and refreshed before it expires.
        """

    def reject(self, headers: Mapping[str, str]) -> None:
        """The provider answered 401 to `headers`, which `headers()` gave: forget what they were made of.

        Nothing happens when something newer is there already.
        """


class NoCredential:
    """An open endpoint (`none`), or one that is content with a client certificate."""

    async def headers(self) -> Mapping[str, str]:
        return {}

    def reject(self, headers: Mapping[str, str]) -> None:
        """There is nothing to forget."""
