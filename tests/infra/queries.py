"""The names in queries on the audit lines."""

import re

from tests.infra.bicep import INFRA


def columns() -> set[str]:
    """The columns of `GatewayAudit` that stand for what the gateway wrote."""
    query = (INFRA / "queries/audit.kql").read_text()
    return set(re.findall(r"^    (\w+) = ", query, re.MULTILINE)) | {"milliseconds"}


def operands(query: str) -> set[str]:
    """The names that a query's functions and comparisons take, but for those that it makes itself or the host gives."""
    bare = re.sub(r"'[^']*'|\{[^}]*\}", "", query)
    made = set(re.findall(r"(\w+) = ", bare))
    found = set(re.findall(r"(?:percentile|sum|isempty|isnotempty|countif|tostring)\((\w+)", bare))
    found |= set(re.findall(r"(\w+) (?:==|>=|in) ", bare))
    return found - made - {"total", "TimeGenerated", "ResultCode"}
