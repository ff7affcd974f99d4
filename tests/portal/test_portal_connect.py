"""How to connect: what a person may choose, and what is filled in."""

import html
import re
from collections.abc import Mapping

import pytest

from shared.app_guide import LANGUAGES
from tests.portal.conftest import Page, Person, Portal

CONNECT = "/portal/connect"


def options(page: Page, name: str) -> Mapping[str, str]:
    """What a list of the page has to choose from: values and texts."""
    found = re.search(rf'<select id="{name}" name="{name}">(.*?)</select>', page.text)
    assert found is not None
    return {value: html.unescape(text) for value, text in re.findall(r'value="([^"]*)"[^>]*>([^<]*)<', found[1])}


def programs(page: Page) -> str:
    return html.unescape("\n".join(re.findall(r"<pre [^>]*>(.*?)</pre>", page.text, re.S)))


async def owner_with(portal: Portal, name: str, tenants: str) -> tuple[Person, str]:
    """An owner at an instance that has not read the tenants before, and the id of a client that may reach these."""
    new = await portal.clients.create("Care app", name, tenants)
    person = Person(portal.deployment.instance().application)
    return await person.sign_in(name, "Gateway.ClientOwner"), new.client_id


async def test_an_owner_chooses_of_own_clients_and_of_hospitals_that_they_may_reach(portal: Portal) -> None:
    first, second, other = [
        (await portal.tenant(Name=f"{name} hospital"))[0] for name in ("Amber", "Violet", "Crimson")
    ]
    await portal.tenant(tenant=first, version="r4", Name="Amber hospital")
    await portal.tenant(Name="Closed hospital", Enabled="false")
    owner, client_id = await owner_with(portal, "choosing@example.com", f"{first},{second}")
    _, others_client = await owner_with(portal, "another@example.com", other)

    page = await owner.get(CONNECT)
    assert options(page, "client") == {client_id: "Care app"}
    assert options(page, "hospital") == {
        f"{first}/r4": "Amber hospital (R4)",
        f"{first}/stu3": "Amber hospital (STU3)",
        f"{second}/stu3": "Violet hospital (STU3)",
    }
    for query in (f"client={others_client}", f"hospital={other}/stu3", "language=cobol", "q=Crimson", "q=riverside"):
        text = (await owner.get(f"{CONNECT}?{query}")).text
        assert not any(hidden in text for hidden in (others_client, other, "Crimson hospital")), query
    assert "No hospital" in (await owner.get(f"{CONNECT}?q=Crimson")).words
    assert options(await owner.get(f"{CONNECT}?q=violet"), "hospital") == {f"{second}/stu3": "Violet hospital (STU3)"}


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_program_is_filled_in_and_the_secret_is_left_to_the_person(language: str, portal: Portal) -> None:
    tenant, _ = await portal.tenant(Name="Filled")
    owner, client_id = await owner_with(portal, f"{language}@example.com", tenant)
    page = await owner.get(f"{CONNECT}?client={client_id}&hospital={tenant}/stu3&language={language}")
    shown = programs(page)
    for value in ("http://127.0.0.1:7071/stu3", client_id, tenant):
        assert shown.count(value) == (1 if language == "curl" else 2)
    assert "CLIENT_SECRET" in shown
    current = re.findall(
        r'href="\?client=([^"&]+)&amp;hospital=[^"]+&amp;language=(\w+)#the-programs" aria-current', page.text
    )
    assert current == [(client_id, language)]
    headings = re.findall(r"<h3 id=\"(\w+)\">", page.text)
    assert [heading for heading in headings if heading in LANGUAGES] == [language]


async def test_an_owner_without_a_client_or_a_hospital_is_told_what_is_missing(portal: Portal) -> None:
    assert "Make a client" in (await (await portal.owner("nothing-yet@example.com")).get(CONNECT)).words
    owner, client_id = await owner_with(portal, "no-hospital@example.com", "")
    page = await owner.get(CONNECT)
    assert "may not reach any hospital yet" in page.words
    assert client_id in programs(page)
    assert "<tenant-id>" in programs(page)


async def test_of_many_hospitals_a_hundred_are_listed_and_all_are_found(portal: Portal) -> None:
    names = [f"Many {number:03}" for number in range(102)]
    tenants = [(await portal.tenant(Name=name))[0] for name in names]
    owner, _ = await owner_with(portal, "many@example.com", ",".join(tenants))
    page = await owner.get(f"{CONNECT}?hospital={tenants[-1]}/stu3")
    assert len(options(page, "hospital")) == 101
    assert "the first 100 of 102" in page.words
    assert tenants[-1] in programs(page)
    assert list(options(await owner.get(f"{CONNECT}?q=MANY+100"), "hospital")) == [f"{tenants[100]}/stu3"]
