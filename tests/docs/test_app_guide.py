"""The guide for an app's developer names every error there is, and its page has what `error_uri` leads to."""

import re

import yaml

from shared import app_guide
from shared.oauth import errors
from tests.docs.pages import DOCS, Table, blocks, broken_links

PAGE = app_guide.page("https://g.example/stu3")
GUIDE = DOCS / "app-guide.md"


def rows(header: str) -> list[list[str]]:
    """The rows of the table whose first column has this header."""
    return next(block.rows for block in blocks(GUIDE) if isinstance(block, Table) and block.header[0] == header)


def test_every_oauth_error_has_its_row_to_which_error_uri_leads() -> None:
    listed = {row[0]: {int(status) for status in row[1].split(", ")} for row in rows("Error")}
    raised: dict[str, set[int]] = {}
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.OAuthError) and error is not errors.OAuthError:
            raised.setdefault(error.error, set()).add(error.status)
    assert listed == raised
    assert set(listed) <= set(re.findall('id="([^"]+)"', PAGE))


def test_every_status_of_a_fhir_request_has_its_row() -> None:
    paths = yaml.safe_load((DOCS / "openapi.yaml").read_text("utf-8"))["paths"]
    documented = {int(status) for status in paths["/{base}/{type}"]["get"]["responses"] if int(status) >= 400}
    listed = {int(status) for row in rows("Status") for status in row[0].split(", ")}
    assert documented <= listed


def test_the_page_has_the_deployment_s_base() -> None:
    assert "export BASE_URL=https://g.example/stu3\n" in PAGE
    assert "gateway.example.com" not in PAGE


def test_links_of_the_guide_lead_somewhere() -> None:
    assert broken_links(GUIDE) == []
    anchors = set(re.findall('id="([^"]+)"', PAGE))
    assert set(re.findall('href="#([^"]+)"', PAGE)) == set(app_guide.LANGUAGES) <= anchors


def test_a_program_has_a_deployment_s_values_where_it_reads_them() -> None:
    values = {"BASE_URL": "https://g.example/r4", "CLIENT_ID": "it's", "TENANT_ID": 'a"b'}
    for language in app_guide.LANGUAGES:
        code = "\n".join(block.filled(values) for block in app_guide.blocks() if block.language == language)
        assert language == "curl" or all(text in code for text in ('"https://g.example/r4"', '"it\'s"', r'"a\"b"'))
        assert "CLIENT_SECRET" in code
    shell = next(block.filled(values) for block in app_guide.blocks() if block.code)
    assert "BASE_URL=https://g.example/r4\n" in shell
    assert """CLIENT_ID='it'"'"'s'\n""" in shell
