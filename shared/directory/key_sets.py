"""Clients' key sets at their own URLs, fetched from public addresses alone, and remembered."""

import asyncio
import ipaddress
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from cachetools import TTLCache

from shared.directory.client_keys import MAX_KEY_SET_BYTES, ClientKey, InvalidKeySet, parse_key_set
from shared.directory.errors import KeySetUnavailable
from shared.settings import Settings, is_loopback
from shared.stores.cache import Cache
from shared.stores.errors import StoreUnavailable

_SIZE = 5_000
_SECONDS = 5.0
_RETRY_SECONDS = 5.0  # for who sends assertions needs no key
_LOOK_SECONDS = 2.0
_LOOKUPS = 32  # more than an owner may have clients
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # IPv4 behind NAT64 (RFC 6052)
_AZURES = ipaddress.ip_address("168.63.129.16")  # the platform's own, in every virtual network
# Not one that the system's resolver, or aiohttp without it, reads as an IPv4 address: `127.1`, `0x7f.0.0.1`.
_NAME = re.compile(r"(?i)([a-z0-9_-]+\.)+[a-z][a-z0-9-]*\.?")
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}


class _NotPublic(OSError):
    """The host is, or leads to, an address that is not one of the Internet's."""


@dataclass(frozen=True, slots=True)
class FetchedKeys:
    """A key set as it was fetched `at` a time (UTC), and the `problem` since: it goes on from "the key set ..."."""

    keys: tuple[ClientKey, ...] = ()
    at: datetime | None = None
    problem: str = ""


class KeySets:
    """Key sets by their URL, each fetched anew after `CACHE_SECONDS`, and served for `STALE_SECONDS` more while its
    server is away. Nothing is followed, neither redirects nor what stands in a key or an assertion.
    """

    def __init__(self, settings: Settings) -> None:
        self._local = settings.local
        self._addresses = _Addresses(local=settings.local)
        self._session: aiohttp.ClientSession | None = None
        self._failed: TTLCache[str, str] = TTLCache(_SIZE, _RETRY_SECONDS)
        self._sets: Cache[str, FetchedKeys] = Cache(
            self._fetch, fresh_seconds=settings.cache_seconds, stale_seconds=settings.stale_seconds, size=_SIZE
        )

    async def get(self, url: str, *, older_than: float | None = None) -> tuple[ClientKey, ...]:
        """The keys at this URL; with `older_than` fetched again if they are so many seconds old.

        Raises KeySetUnavailable, or StoreUnavailable.
        """
        get = self._sets.get(url) if older_than is None else self._sets.renew(url, older_than=older_than)
        found = await get
        return found.keys if found is not None else ()

    async def look(self, url: str) -> FetchedKeys:
        """What `get` has for a person to see; without waiting for more than two seconds. Never raises for the URL."""
        found = None
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                found = await self._sets.get(url)
        except TimeoutError:
            return FetchedKeys(problem="is still being fetched: look again in a moment")
        except StoreUnavailable as error:
            return FetchedKeys(problem=str(error))
        return replace(found or FetchedKeys(), problem=self._failed.get(url, ""))

    async def close(self) -> None:
        """Ends the connections."""
        await self._addresses.close()
        if self._session is not None:
            await self._session.close()

    async def _fetch(self, url: str) -> FetchedKeys:
        if (failed := self._failed.get(url)) is not None:
            raise KeySetUnavailable(failed)
        began = datetime.now(UTC)
        try:
            async with asyncio.timeout(_SECONDS):
                return FetchedKeys(parse_key_set(await self._read(url)), began)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            problem = _problem(error)
        except InvalidKeySet as error:
            problem = str(error)
        self._failed[url] = problem
        raise KeySetUnavailable(problem)

    async def _read(self, url: str) -> bytes:
        if key_set_url_problem(url, local=self._local):
            raise _NotPublic
        if self._session is None:
            # Each client's URL is fetched once at a time, so that the clients' number is the limit.
            connector = aiohttp.TCPConnector(resolver=self._addresses, limit=0, limit_per_host=2, force_close=True)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_HEADERS,
                trust_env=False,
                auto_decompress=False,
            )
        async with self._session.get(url, allow_redirects=False) as response:
            content = await response.content.read(MAX_KEY_SET_BYTES + 1)
            while len(content) <= MAX_KEY_SET_BYTES and (more := await response.content.read(MAX_KEY_SET_BYTES)):
                content += more
            if response.status != 200:
                raise aiohttp.ClientResponseError(response.request_info, (), status=response.status)
            return content


def _problem(error: Exception) -> str:
    match error:
        case TimeoutError():
            return f"did not arrive within {_SECONDS:.0f} seconds"
        case aiohttp.ClientResponseError(status=status) if 300 <= status < 400:
            return f"is not at its URL: redirects (status {status}) are not followed, so give where they lead to"
        case aiohttp.ClientResponseError(status=status) if status:
            return f"can't be fetched: its server answers with status {status}"
        case _NotPublic() | aiohttp.ClientConnectorDNSError(os_error=_NotPublic()):
            return "can't be fetched: its host has an address that is not public"
        case aiohttp.ClientConnectorDNSError():
            return "can't be fetched: its host's name can't be resolved"
        case aiohttp.ClientSSLError():
            return "can't be fetched: its server has no certificate for its name that is trusted"
        case aiohttp.ClientConnectorError():
            return "can't be fetched: its server takes no connections"
    return f"can't be fetched ({type(error).__name__})"


class _Addresses(AbstractResolver):
    """Resolves names to public addresses or not at all, but for this machine's own name where `local`: what a name
    meant when it was registered says nothing of now.

    In threads of its own: the system's resolver holds one for as long as a name's servers say nothing, and neither
    hospitals' names nor what else uses the event loop's few may wait for that.
    """

    def __init__(self, *, local: bool) -> None:
        self._local = local
        self._threads = ThreadPoolExecutor(_LOOKUPS, "key-set-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        addresses = [(family, proto, str(address[0])) for family, _, proto, _, address in found]
        may_be_inside = self._local and is_loopback(host)
        if not may_be_inside and not all(is_public(address) for _, _, address in addresses):
            raise _NotPublic
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=proto, flags=_NUMERIC)
            for family, proto, address in addresses
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def key_set_url_problem(url: str, *, local: bool) -> str:
    """Why this can't be the URL of a key set, as the rest of a sentence; "" where it can. `local` allows loopback."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "is no URL"
    if not host or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "is no URL"
    if parts.username is not None or parts.fragment:
        return "must have neither credentials nor a fragment in it"
    if local and is_loopback(host):
        return ""
    if parts.scheme != "https":
        return "must begin with https://"
    return "" if port != 0 and _is_public_host(host) else "must name a public host"


def _is_public_host(host: str) -> bool:
    try:
        return is_public(host)
    except ValueError:
        return _NAME.fullmatch(host) is not None


def is_public(address: str) -> bool:
    """Whether an IP address is one of the Internet's: not of a private network, this machine, a link or a tunnel."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip in _TRANSLATED or ip.sixtofour is not None or ip.teredo is not None or ip.is_site_local:
            return False
    return ip != _AZURES and ip.is_global and not ip.is_multicast and not ip.is_reserved
