import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fhir.interaction import InteractionKind
from shared.fhir.scopes import EVERY_ACTION, NO_ACTION, Action, Scope, granted, parse_scope, permits

C, R, U, D, S = Action
KINDS = st.sampled_from(InteractionKind)
TYPES = st.sampled_from(["Patient", "Observation", None])
ACTIONS = st.integers(NO_ACTION.value, EVERY_ACTION.value).map(Action)
SCOPES = st.builds(Scope, st.sampled_from(["*", "Patient", "Observation"]), ACTIONS)


def scopes(text: str) -> tuple[Scope, ...]:
    parsed = tuple(parse_scope(word) for word in text.split())
    assert None not in parsed
    return tuple(scope for scope in parsed if scope)


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("system/Patient.read", Scope("Patient", R | S)),
        ("system/*.write", Scope("*", C | U | D)),
        ("system/*.*", Scope("*", EVERY_ACTION)),
        ("system/Observation.rs", Scope("Observation", R | S)),
        ("system/*.cruds", Scope("*", EVERY_ACTION)),
        ("system/Patient.d", Scope("Patient", D)),
        ("system/Patient.cud", Scope("Patient", C | U | D)),
    ],
)
def test_both_versions_of_scopes_are_understood(text: str, scope: Scope) -> None:
    assert parse_scope(text) == scope


@pytest.mark.parametrize(
    "text",
    [
        "", "system/Patient.", "system/Patient.sr", "system/Patient.rr", "system/Patient.x", "system/Patient.Read",
        "system/patient.read", "system/.read", "system/Patient", "user/Patient.read", "patient/Patient.read",
        "system/Patient.rs?category=x", "system/Patient.read ", "system/Patient.read\n", " system/Patient.read",
        "SYSTEM/Patient.read", "system/Pat*.read", "system/**.read", "openid", "system/" + "A" * 65 + ".read",
    ],
)  # fmt: skip
def test_anything_else_is_no_system_scope(text: str) -> None:
    assert parse_scope(text) is None


@given(st.sets(st.sampled_from("cruds"), min_size=1))
def test_letters_count_in_their_order_only(letters: set[str]) -> None:
    ordered = "".join(letter for letter in "cruds" if letter in letters)
    scope = parse_scope(f"system/Patient.{ordered}")
    assert scope is not None
    assert len(list(scope.actions)) == len(letters)
    if len(letters) > 1:
        assert parse_scope(f"system/Patient.{ordered[::-1]}") is None


@pytest.mark.parametrize(
    ("letter", "kinds"),
    [
        ("c", {"create"}),
        ("r", {"read", "vread", "history-instance"}),
        ("u", {"update", "patch"}),
        ("d", {"delete"}),
        ("s", {"search-type", "search-system", "history-type", "history-system"}),
    ],
)
def test_each_letter_grants_its_interactions(letter: str, kinds: set[str]) -> None:
    bound_to_no_type = {"capabilities", "batch", "transaction"}
    permitted = {kind.value for kind in InteractionKind if permits(scopes(f"system/*.{letter}"), kind, "Patient")}
    assert permitted == kinds | bound_to_no_type


def test_a_scope_is_for_its_own_type() -> None:
    only = scopes("system/Patient.read system/Observation.s")
    assert permits(only, InteractionKind.READ, "Patient")
    assert not permits(only, InteractionKind.READ, "Observation")
    assert not permits(only, InteractionKind.READ, "Condition")


def test_all_types_at_once_take_a_scope_for_all_types() -> None:
    assert not permits(scopes("system/Patient.cruds"), InteractionKind.SEARCH_SYSTEM, None)
    assert permits(scopes("system/*.s"), InteractionKind.SEARCH_SYSTEM, None)


def test_scopes_add_up() -> None:
    assert granted(scopes("system/Patient.c system/*.r system/Observation.d"), "Patient") == C | R


@pytest.mark.parametrize(
    ("kind", "enough"),
    [("create", "cs"), ("update", "cus"), ("patch", "us"), ("delete", "ds")],
)
def test_a_conditional_interaction_needs_all_that_it_may_do(kind: str, enough: str) -> None:
    def permitted(letters: str) -> bool:
        return permits(scopes(f"system/Patient.{letters}"), InteractionKind(kind), "Patient", conditional=True)

    assert permitted(enough)
    for letter in enough:
        assert not permitted("cruds".replace(letter, ""))


def test_an_operation_reads_and_searches() -> None:
    for letters, enough in (("rs", True), ("cruds", True), ("r", False), ("s", False), ("cud", False)):
        assert permits(scopes(f"system/*.{letters}"), InteractionKind.OPERATION, "Patient") is enough


@given(KINDS, TYPES, st.booleans())
def test_no_scopes_narrow_nothing(kind: InteractionKind, type: str | None, conditional: bool) -> None:
    assert permits((), kind, type, conditional=conditional)


@given(st.lists(SCOPES, min_size=1).map(tuple), SCOPES, KINDS, TYPES, st.booleans())
def test_a_further_scope_takes_nothing_away(
    some: tuple[Scope, ...], more: Scope, kind: InteractionKind, type: str | None, conditional: bool
) -> None:
    if permits(some, kind, type, conditional=conditional):
        assert permits((*some, more), kind, type, conditional=conditional)
