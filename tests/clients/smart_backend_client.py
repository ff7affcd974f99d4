"""A token by cumulus-fhir-support, SMART Health IT's client of backend services, knowing a FHIR base and no more.

Reads {"base", "client_id", "jwk"} from stdin, and writes the token that it goes on with.
"""

import asyncio
import json
import sys

from cumulus_fhir_support import FhirClient  # type: ignore[import-untyped]


async def _main() -> None:
    asked = json.load(sys.stdin)
    keys = {"keys": [asked["jwk"]]}
    async with FhirClient(asked["base"], ["Patient"], smart_client_id=asked["client_id"], smart_jwks=keys) as client:
        _, token = client._auth.sign_headers()["Authorization"].split(" ")
    print(json.dumps({"token": {"access_token": token}}))


asyncio.run(_main())
