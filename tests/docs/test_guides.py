"""The guides for operators and developers name what is there: commands, files, tests, parameters and columns."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, Fence, blocks, broken_links, spans
from tests.infra.bicep import INFRA, ROOT
from tests.infra.queries import columns, operands

GUIDES = [DOCS / f"{name}.md" for name in ("deployment", "runbook", "security-model", "costs", "supply-chain")]
FOR_DEVELOPERS = [DOCS / "architecture.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
WORKFLOW = ROOT / ".github" / "workflows" / "deploy.yml"


def lines(page: Path, language: str = "sh") -> list[str]:
    """The lines of a page's blocks in a language, continued ones joined."""
    text = [block.text for block in blocks(page) if isinstance(block, Fence) and block.language == language]
    return "\n".join(text).replace("\\\n", " ").splitlines()


def missing_targets(text: str, makefile: str) -> set[str]:
    """What `make` is asked for and has no rule."""
    asked = {
        target
        for line in re.findall(r"^make ([a-z ]+)$|`make ([a-z ]+)`", text, re.M)
        for target in "".join(line).split()
    }
    return asked - set(re.findall(r"^([a-z]+):", makefile, re.M))


def missing_tests(text: str) -> set[str]:
    """Tests that are named and do not exist."""
    sources = [path.read_text() for pattern in ("test_*.py", "check_*.py") for path in (ROOT / "tests").rglob(pattern)]
    there = {name for source in sources for name in re.findall(r"^(?:async )?def (test_\w+)", source, re.M)}
    return set(re.findall(r"`(test_\w+)`", text)) - there


def missing_outputs(text: str) -> set[str]:
    """Names of gateway.env that are used, and that neither the deployment puts out nor the text itself sets."""
    outputs = re.findall(r"^output (\w+) ", (INFRA / "main.bicep").read_text(), re.M)
    given = {re.sub("([A-Z])", r"_\1", name).upper() for name in outputs} | {"AZURE_RESOURCE_GROUP"}
    return set(re.findall(r"\$\{?([A-Z][A-Z_]+)", text)) - given - set(re.findall(r"\b([A-Z_]+)[=:]", text)) - {"HOME"}


def missing_parameters(text: str) -> set[str]:
    """Parameters, and settings, that a guide speaks of and nobody reads."""
    given = set(re.findall(r"^param (\w+) ", (INFRA / "main.bicep").read_text(), re.M))
    spoken = set(re.findall(r"`([a-z]+[A-Z]\w+)`", text))
    return spoken - given - {"appRoleAssignmentRequired"}


def missing_from_checkout(codes: list[str], makefile: str) -> set[str]:
    """Paths from the root, files, and targets of `make` that pieces of code name and that are not there."""
    words = "\n".join(codes)
    targets = {target for line in re.findall(r"^make ([a-z ]+)", words, re.M) for target in line.split()}
    made = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}  # in no checkout, but here
    tops = "|".join(re.escape(entry.name) for entry in ROOT.iterdir() if entry.name not in made)
    paths = re.findall(rf"(?<!\S)(?:(?:{tops})/[^\s,:]*|[^\s,:]+\.(?:py|md|json|txt|html|bicep))(?=[,:\s]|$)", words)
    return missing_targets(f"`make {' '.join(targets)}`", makefile) | {
        path for path in paths if not (ROOT / path).exists()
    }


@pytest.mark.parametrize("page", FOR_DEVELOPERS, ids=lambda page: page.stem)
def test_what_developers_are_told_of_is_there(page: Path) -> None:
    codes = spans(page) + [block.text for block in blocks(page) if isinstance(block, Fence)]
    assert broken_links(page) == []
    assert missing_from_checkout(codes, (ROOT / "Makefile").read_text()) == set()


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_what_the_guides_name_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    assert broken_links(page) == []
    assert missing_targets(text, (ROOT / "Makefile").read_text()) == set()
    assert missing_tests(text) == set()
    assert missing_outputs(text) == set()
    assert missing_parameters(text) == set()


def test_every_threat_has_an_answer_that_a_test_shows() -> None:
    text = (DOCS / "security-model.md").read_text("utf-8")
    rows = text.partition("## Threats")[2].partition("\n## ")[0].strip().splitlines()[4:]
    assert len(rows) > 20
    for row in rows:
        assert "`test_" in row.rpartition(" | ")[2], row


def test_queries_use_columns_of_the_audit_query() -> None:
    queries = "\n".join(lines(DOCS / "runbook.md", "kql")).split("\n\n")
    audit = [query for text in queries for query in re.findall(r"GatewayAudit\n(?:\|.*\n?)+", text)]
    assert len(audit) >= 4
    for query in audit:
        assert operands(query) <= columns()


def test_the_workflow_deploys_as_the_guide_does() -> None:
    workflow = WORKFLOW.read_text()
    commands = re.findall(r"(?:\(cd|make package|az |\./gateway azure|\. \./).*?(?= \$\{\{|$)", workflow, re.M)
    assert len(commands) == 7
    for command in commands:
        assert command.replace('"$AZURE_RESOURCE_GROUP"', "fhir-gateway") in lines(DOCS / "deployment.md")
    assert missing_outputs(workflow) == set()
    for hook in (INFRA / "hooks").glob("*.sh"):
        assert missing_outputs(hook.read_text()) <= {"AZURE_SUBSCRIPTION_ID", "AZURE_LOCATION", "GATEWAY_SIZE"}
