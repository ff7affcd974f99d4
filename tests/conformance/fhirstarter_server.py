"""fhirstarter on a store in memory: `python fhirstarter_server.py PORT`, with FHIR_SEQUENCE=STU3, R4B or R5.

fhirstarter parses, validates, converts and refuses; what it leaves to its users is here: to store, find and page.
"""

# mypy: disable-error-code="import-untyped,untyped-decorator"

import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import uvicorn
from fhirstarter import FHIRProvider, FHIRStarter, InteractionContext
from fhirstarter.exceptions import FHIRResourceNotFoundError
from fhirstarter.resources import Bundle

_TYPES = ("Patient", "Observation", "Encounter", "Condition", "Location")
_PAGE = "page"
_MODULES = f"fhir.resources.{os.environ['FHIR_SEQUENCE']}".removesuffix(".R5")

_Resource = Any  # a model of fhir.resources, of the version that the environment names


def _named(resource: _Resource, part: str, wanted: str) -> bool:
    for name in resource.name or ():
        value = getattr(name, part)
        texts = value if isinstance(value, list) else [value]
        if any(text and text.lower().startswith(wanted.lower()) for text in texts):
            return True
    return False


def _about(resource: _Resource, patient: str) -> bool:
    return str(resource.subject.reference) == f"Patient/{patient.removeprefix('Patient/')}"


def _provider(model: type[_Resource]) -> FHIRProvider:
    type = model.get_resource_type()
    provider = FHIRProvider()
    stored: dict[str, _Resource] = {}

    @provider.read(model)
    async def read(context: InteractionContext, id_: str) -> _Resource:
        if id_ not in stored:
            raise FHIRResourceNotFoundError
        return stored[id_]

    @provider.update(model)
    async def update(context: InteractionContext, id_: str, resource: _Resource) -> str:
        stored[id_] = resource
        return id_

    @provider.create(model)
    async def create(context: InteractionContext, resource: _Resource) -> str:
        resource.id = str(uuid4())
        stored[resource.id] = resource
        return str(resource.id)

    @provider.delete(model)
    async def delete(context: InteractionContext, id_: str) -> None:
        stored.pop(id_, None)

    def page(context: InteractionContext, count: str | None, matches: Callable[[_Resource], bool]) -> Bundle:
        found = list(filter(matches, stored.values()))
        size, number = int(count or 50), int(context.request.query_params.get(_PAGE, 1))
        first = (number - 1) * size
        entries = [
            {"fullUrl": f"{context.request.base_url}{type}/{resource.id}", "resource": resource}
            for resource in found[first : first + size]
        ]
        links = dict(_links(context, number, last=max(1, -(-len(found) // size))))
        link = [{"relation": relation, "url": url} for relation, url in links.items()]
        return Bundle(type="searchset", total=len(found), link=link, entry=entries or None)

    def _links(context: InteractionContext, number: int, last: int) -> Iterator[tuple[str, str]]:
        asked = [(name, value) for name, value in context.request.query_params.multi_items() if name != _PAGE]
        for relation, target in (("self", number), ("first", 1), ("previous", number - 1), ("next", number + 1)):
            if 1 <= target <= last:
                yield relation, f"/{type}?{urlencode([*asked, (_PAGE, target)])}"

    if type == "Patient":

        @provider.search_type(model)
        async def search_people(
            context: InteractionContext, family: str | None, given: str | None, gender: str | None, _count: str | None
        ) -> Bundle:
            def matches(person: _Resource) -> bool:
                named = (not family or _named(person, "family", family)) and (
                    not given or _named(person, "given", given)
                )
                return named and (not gender or person.gender == gender)

            return page(context, _count, matches)

    elif type != "Location":

        @provider.search_type(model)
        async def search_chart(context: InteractionContext, patient: str | None, _count: str | None) -> Bundle:
            return page(context, _count, lambda resource: not patient or _about(resource, patient))

    return provider


def main() -> None:
    """Serves on 127.0.0.1 until it is told to stop."""
    app = FHIRStarter(openapi_url=None)
    app.add_providers(*(_provider(getattr(import_module(f"{_MODULES}.{type.lower()}"), type)) for type in _TYPES))
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")


if __name__ == "__main__":
    main()
