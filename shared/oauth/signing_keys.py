"""The keys that sign access tokens: versions of one Key Vault secret, published as a JWKS (RFC 7517)."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from msgspec import Struct

from shared.oauth.jws import encoded
from shared.settings import Settings
from shared.stores.cache import Cache
from shared.stores.errors import StoreUnavailable
from shared.stores.vault import SecretVersion, Vault

SECRET_NAME = "token-signing-key"  # noqa: S105 (the name, not the secret)
ALGORITHM = "ES256"
# Of keys that sign or signed, and of keys to come: with a rotation a day each token's key stays for the longest token
# lifetime, a day.
_MAX_KEYS = 6
_RENEW_SECONDS = 2.0

_log = logging.getLogger(__name__)


class SigningKey(Struct, frozen=True):
    """One EC P-256 key. `kid` is the version of the Key Vault secret; it signs from `active_from` on."""

    kid: str
    active_from: datetime
    private_key: ec.EllipticCurvePrivateKey
    public_key: ec.EllipticCurvePublicKey

    def jwk(self) -> dict[str, str]:
        """The public key as a JWK (RFC 7517 section 4)."""
        point = self.public_key.public_numbers()
        x, y = (encoded(number.to_bytes(32)).decode() for number in (point.x, point.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.kid, "alg": ALGORITHM, "use": "sig"}


class KeyRing(Struct, frozen=True):
    """The keys in force, newest first, at least one."""

    keys: tuple[SigningKey, ...]

    def signer(self, now: datetime) -> SigningKey:
        """The newest key that is active. A younger one is only published yet, so that every instance has it first."""
        return next((key for key in self.keys if key.active_from <= now), self.keys[-1])

    def find(self, kid: str) -> SigningKey | None:
        """The key a token names."""
        return next((key for key in self.keys if key.kid == kid), None)

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """What `GET oauth2/keys` publishes."""
        return {"keys": [key.jwk() for key in self.keys]}


class SigningKeys:
    """The key ring as Key Vault holds it. A new or retired key is seen within `CACHE_SECONDS`."""

    def __init__(self, vault: Vault, settings: Settings) -> None:
        self._vault = vault
        self._parsed: Mapping[str, SigningKey] = {}
        self._rings: Cache[str, KeyRing] = Cache(
            self._load, fresh_seconds=settings.cache_seconds, stale_seconds=settings.stale_seconds, size=1
        )

    async def ring(self) -> KeyRing:
        """The key ring. Raises StoreUnavailable, also when the vault holds no key."""
        return self._present(await self._rings.get(SECRET_NAME))

    async def check(self) -> None:
        """Reads the keys from Key Vault now. Raises StoreUnavailable when it does not answer or holds no key."""
        self._present(await self._load(SECRET_NAME))

    async def find(self, kid: str) -> SigningKey | None:
        """The key a token names; one that is unknown makes this instance look again, at most every other second."""
        key = (await self.ring()).find(kid)
        if key is None:
            key = self._present(await self._rings.renew(SECRET_NAME, older_than=_RENEW_SECONDS)).find(kid)
        return key

    @staticmethod
    def _present(ring: KeyRing | None) -> KeyRing:
        if ring is None:
            raise StoreUnavailable(f"Key Vault has no usable {SECRET_NAME}: run ./gateway keys rotate")
        return ring

    async def _load(self, name: str) -> KeyRing | None:
        now = datetime.now(UTC)
        usable = [version for version in await self._vault.versions(name) if version.usable(now)]
        active = [version for version in usable if version.active_from <= now]
        published = [version for version in usable if version.active_from > now]
        # Each list is cut by itself: however often the key is rotated, the one that signs now stays in the ring.
        kept = published[:_MAX_KEYS] + active[:_MAX_KEYS]
        keys = [key for key in await asyncio.gather(*map(self._key, kept)) if key is not None]
        self._parsed = {key.kid: key for key in keys}
        return KeyRing(tuple(keys)) if keys else None

    async def _key(self, version: SecretVersion) -> SigningKey | None:
        known = self._parsed.get(version.version)
        if known is not None:
            return known
        secret = await self._vault.get(version.name, version.version)
        if secret is None:
            return None
        try:
            return parse_signing_key(version, secret.value)
        except ValueError:
            _log.error("version %s of %s is no EC P-256 private key in PEM", version.version, version.name)
            return None


def parse_signing_key(version: SecretVersion, pem: str) -> SigningKey:
    """The key in a version's value. Raises ValueError when it is no EC P-256 private key in PEM."""
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (TypeError, UnsupportedAlgorithm):  # an encrypted key, a kind of key that cryptography does not know
        raise ValueError("not a plain private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not an EC P-256 key")
    return SigningKey(version.version, version.active_from, key, key.public_key())


async def rotate(vault: Vault, settings: Settings) -> SecretVersion:
    """Adds a signing key. It signs once every instance has had time to see it; the first key signs at once.

    Keys before it go on verifying the tokens they signed until they are retired.
    """
    first = not await vault.versions(SECRET_NAME)
    active_from = datetime.now(UTC) + timedelta(seconds=0 if first else 2 * settings.cache_seconds)
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return await vault.set(SECRET_NAME, pem.decode(), active_from=active_from, content_type="application/x-pem-file")
