"""A hospital's resources, in memory."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

Resource = dict[str, Any]


class Records:
    """The current version of each resource; a deleted one leaves its version number behind."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._types: dict[str, dict[str, Resource]] = {}
        self._versions: Counter[tuple[str, str]] = Counter()
        for resource in resources:
            self._types.setdefault(resource["resourceType"], {})[resource["id"]] = resource
            self._versions[resource["resourceType"], resource["id"]] = 1

    def of(self, type: str) -> Iterator[Resource]:
        """All resources of a type, in the order they were made."""
        return iter(self._types.get(type, {}).values())

    def find(self, type: str, id: str) -> Resource | None:
        return self._types.get(type, {}).get(id)

    def deleted(self, type: str, id: str) -> bool:
        return self._versions[type, id] > 0 and self.find(type, id) is None

    def put(self, resource: Resource, id: str) -> Resource:
        """Store `resource` as the next version of its type's `id`, and return it with its `id` and `meta`."""
        type = resource["resourceType"]
        self._versions[type, id] += 1
        meta = {
            "versionId": str(self._versions[type, id]),
            "lastUpdated": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        stored = {**resource, "id": id, "meta": meta}
        self._types.setdefault(type, {})[id] = stored
        return stored

    def delete(self, type: str, id: str) -> None:
        self._types.get(type, {}).pop(id, None)
