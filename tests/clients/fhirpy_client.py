"""fhirpy, with a token by authlib."""

import os

import fhirpy
from authlib.integrations.requests_client import OAuth2Session

from tests.clients.python_steps import BASE, OWN, attempt, new_patient, step

client = fhirpy.SyncFHIRClient(BASE, authorization="")


def token() -> str:
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "true"
    identity = os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]
    with OAuth2Session(*identity, scope=os.environ["TENANT"]) as session:
        granted = session.fetch_token(os.environ["TOKEN_URL"], grant_type="client_credentials")
    client.authorization = f"Bearer {granted['access_token']}"
    return str(granted["token_type"])


def found(*searches: fhirpy.lib.SyncFHIRSearchSet) -> list[dict]:
    return [resource.serialize() for search in searches for resource in search.fetch()]


def write() -> list:
    patient = client.resource("Patient", **new_patient(id=OWN))
    patient.save()
    saved = patient.serialize()
    once = f"https://conformance.example/id|{OWN}"
    again = client.resource("Patient", **new_patient())
    same, created = client.resources("Patient").search(identifier=once).get_or_create(again)
    patient.delete()
    missing = attempt(lambda: client.reference("Patient", OWN).to_resource())
    return [saved, same["id"], created, missing]


def batch() -> list[str]:
    requests = [{"request": {"method": "GET", "url": url}} for url in ("Patient/1001", "Patient/nobody")]
    answer = client.execute("", "post", data={"resourceType": "Bundle", "type": "batch", "entry": requests})
    return [entry["response"]["status"][:3] for entry in answer["entry"]]


def main() -> None:
    patients, encounters = client.resources("Patient"), client.resources("Encounter").search(patient="Patient/1001")
    step("statement", lambda: client.execute("metadata", "get")["fhirVersion"])
    if "TOKEN_URL" in os.environ:
        step("token", token)
    step("read", lambda: client.reference("Patient", "1001").to_resource().serialize())
    step("missing", lambda: client.reference("Patient", "nobody").to_resource())
    step(
        "search",
        lambda: found(patients.search(family="black", given="ruth"), encounters.include("Encounter", "location")),
    )
    step("pages", lambda: [observation["id"] for observation in client.resources("Observation").limit(25)])
    step("history", lambda: client.execute("Patient/1001/_history", "get")["entry"][0]["resource"])
    step("write", write)
    step("batch", batch)


if __name__ == "__main__":
    main()
