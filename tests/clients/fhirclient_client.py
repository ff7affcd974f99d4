"""fhirclient for Python (R4), with a token by requests-oauthlib at the URL that the statement names."""

import os

from fhirclient.models.encounter import Encounter
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRServer
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session

from tests.clients.python_steps import BASE, OWN, attempt, new_patient, step

server = FHIRServer(None, BASE)


def token() -> str:
    os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
    flow = BackendApplicationClient(os.environ["CLIENT_ID"], scope=[os.environ["TENANT"]])
    with OAuth2Session(client=flow) as session:
        granted = session.fetch_token(server.auth._token_uri, client_secret=os.environ["CLIENT_SECRET"])
    server.auth.access_token = granted["access_token"]
    return str(granted["token_type"])


def search() -> list[dict]:
    people = Patient.where({"family": "black", "given": "ruth"}).perform_resources(server)
    stays = Encounter.where({"patient": "Patient/1001", "_include": "Encounter:location", "_count": "10"})
    return [resource.as_json() for resource in [*people, *stays.perform_resources(server)]]


def pages() -> list[str]:
    return [found.id for found in Observation.where({"_count": "25"}).perform_resources_iter(server)]


def write() -> list:
    patient = Patient(new_patient())
    created = patient.create(server)["resourceType"]
    saved = Patient(new_patient(id=OWN)).update(server)["gender"]
    Patient.read(OWN, server).delete()
    return [created, saved, attempt(lambda: Patient.read(OWN, server))]


def main() -> None:
    step("statement", lambda: server.capabilityStatement.fhirVersion)
    if "TOKEN_URL" in os.environ:
        step("token", token)
    step("read", lambda: Patient.read("1001", server).as_json())
    step("missing", lambda: Patient.read("nobody", server))
    step("search", search)
    step("pages", pages)
    step("write", write)


if __name__ == "__main__":
    main()
