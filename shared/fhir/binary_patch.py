"""A JSON Patch inside a batch: base64 in a Binary (http://hl7.org/fhir/R4/http.html#jsonpatch)."""

import base64
import binascii
from xml.etree import ElementTree

import orjson

from shared.fhir.errors import FhirError
from shared.fhir.versions import FhirFormat, FhirVersion

JSON_PATCH = "application/json-patch+json"


def json_patch_of(content: bytes, format: FhirFormat) -> bytes:
    """The JSON Patch that a Binary holds, which has been read before. Raises FhirError (400) for anything else."""
    members = _members(content, format)
    data = members.get("data") or members.get("content")
    media_type = str(members.get("contentType")).partition(";")[0].strip().lower()
    try:
        if media_type == JSON_PATCH and isinstance(data, str):
            return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        pass
    raise FhirError(400, "invalid", f"A Binary that patches holds {JSON_PATCH} in base64.")


def binary_of(patch: bytes, format: FhirFormat, version: FhirVersion) -> bytes:
    """The Binary that stands for a JSON Patch in a batch of this format and version."""
    name = "data" if version is FhirVersion.R4 else "content"
    data = base64.b64encode(patch).decode()
    if format is FhirFormat.JSON:
        return orjson.dumps({"resourceType": "Binary", "contentType": JSON_PATCH, name: data})
    return (
        f'<Binary xmlns="http://hl7.org/fhir"><contentType value="{JSON_PATCH}"/><{name} value="{data}"/></Binary>'
    ).encode()


def _members(content: bytes, format: FhirFormat) -> dict[str, object]:
    if format is FhirFormat.JSON:
        try:
            return dict(orjson.loads(content))
        except orjson.JSONDecodeError:
            return {}
    root = ElementTree.fromstring(content)  # noqa: S314 (it was read before, and has no document type)
    return {element.tag.rpartition("}")[2]: element.get("value") for element in root}
