"""Searches with what a provider's row says of them: by POST, and with `_total=accurate`."""

from urllib.parse import unquote_plus

from msgspec import Struct

from shared.directory.provider import Provider, SearchMethod
from shared.fhir.interaction import Interaction, InteractionKind
from shared.fhir.paging import encoded

FORM = "application/x-www-form-urlencoded"


class Search(Struct, frozen=True):
    """A search on the wire. `form` is the body of a POST, raw, and None for any other."""

    method: str
    path: str
    query: str
    form: str | None


def provider_search(provider: Provider, method: str, interaction: Interaction, query: str, form: str | None) -> Search:
    """A search of a type with what the columns `Search` and `Total` say; any other interaction as it is."""
    path = interaction.path
    if interaction.kind is InteractionKind.SEARCH_TYPE:
        if provider.accurate_total and not _has_total(f"{query}&{form or ''}"):
            if form is None:
                query = with_accurate_total(query)
            else:
                form = with_accurate_total(form)
        if provider.search is SearchMethod.POST and method == "GET":
            method, path, query, form = "POST", f"{path.removesuffix('/_search')}/_search", "", encoded(query)
    return Search(method, path, query, form)


def with_accurate_total(query: str) -> str:
    """A raw query or form with `_total=accurate` (R4, search.html#total), if it says nothing of the total."""
    if _has_total(query):
        return query
    return f"{query}&_total=accurate" if query else "_total=accurate"


def _has_total(query: str) -> bool:
    return "_total" in {unquote_plus(pair.partition("=")[0]) for pair in query.split("&")}
