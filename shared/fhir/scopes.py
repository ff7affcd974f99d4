"""SMART system scopes, v1 and v2 (http://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Flag, auto
from functools import reduce
from operator import or_

from shared.fhir.interaction import BUNDLES, TYPE_PATTERN, InteractionKind


class Action(Flag):
    """The actions that the letters `cruds` of a v2 scope grant."""

    CREATE = auto()
    READ = auto()
    UPDATE = auto()
    DELETE = auto()
    SEARCH = auto()


@dataclass(frozen=True, slots=True)
class Scope:
    """Actions on the resources of one type, or of every type when `type` is "*"; `str` gives the client's spelling."""

    type: str
    actions: Action
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.text


NO_ACTION = Action(0)
EVERY_ACTION = ~NO_ACTION

_SCOPE = re.compile(rf"system/(\*|{TYPE_PATTERN})\.(read|write|\*|(?=[cruds])c?r?u?d?s?)")
_WORDS = {
    "read": Action.READ | Action.SEARCH,
    "write": Action.CREATE | Action.UPDATE | Action.DELETE,
    "*": EVERY_ACTION,
}
_LETTERS = dict(zip("cruds", Action, strict=True))
_NEEDED: Mapping[InteractionKind, Action] = {
    **dict.fromkeys((InteractionKind.READ, InteractionKind.VREAD, InteractionKind.HISTORY_INSTANCE), Action.READ),
    InteractionKind.CREATE: Action.CREATE,
    **dict.fromkeys((InteractionKind.UPDATE, InteractionKind.PATCH), Action.UPDATE),
    InteractionKind.DELETE: Action.DELETE,
    **dict.fromkeys((InteractionKind.SEARCH_TYPE, InteractionKind.SEARCH_SYSTEM), Action.SEARCH),
    **dict.fromkeys((InteractionKind.HISTORY_TYPE, InteractionKind.HISTORY_SYSTEM), Action.SEARCH),
    InteractionKind.OPERATION: Action.READ | Action.SEARCH,
    **dict.fromkeys((InteractionKind.CAPABILITIES, *BUNDLES), NO_ACTION),
}


def parse_scope(text: str) -> Scope | None:
    """The scope that `text` spells, such as `system/Patient.read` (v1) or `system/*.rs` (v2).

    None when it is not a system scope, has its letters out of order, or restricts a search by `?`: the gateway could
    not hold a client to that.
    """
    matched = _SCOPE.fullmatch(text)
    if matched is None:
        return None
    type, actions = matched.groups()
    word = _WORDS.get(actions)
    return Scope(type, reduce(or_, map(_LETTERS.__getitem__, actions)) if word is None else word, text)


def granted(scopes: tuple[Scope, ...], type: str | None) -> Action:
    """The actions that `scopes` grant on a type, or on every type at once for None. No scopes grant everything."""
    if not scopes:
        return EVERY_ACTION
    return reduce(or_, (scope.actions for scope in scopes if scope.type in ("*", type)), NO_ACTION)


def permits(scopes: tuple[Scope, ...], kind: InteractionKind, type: str | None, *, conditional: bool = False) -> bool:
    """Whether `scopes` grant an interaction; an empty tuple grants everything, since scopes only narrow.

    A conditional interaction needs search too, because its outcome tells what matched, and a conditional update needs
    create, because it may make a resource. An operation, which only reads, needs read and search. The entries of a
    batch are checked one by one.
    """
    if not scopes:
        return True
    needed = _NEEDED.get(kind)
    if needed is None:
        return False
    if conditional:
        needed |= Action.SEARCH | (Action.CREATE if kind is InteractionKind.UPDATE else NO_ACTION)
    return needed in granted(scopes, type)
