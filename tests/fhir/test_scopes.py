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
    assert len(letters) == 1 or parse_scope(f"system/Patient.{ordered[::-1]}") is None


@pytest.mark.parametrize(
    ("letter", "kinds"),
    [
        ("c", {"create"}), ("r", {"read", "vread", "history-instance"}), ("u", {"update", "patch"}), ("d", {"delete"}),
        ("s", {"search-type", "search-system", "history-type", "history-system"}),
    ],
)  # fmt: skip
def test_each_letter_grants_its_interactions(letter: str, kinds: set[str]) -> None:
    bound_to_no_type = {"capabilities", "batch", "transaction"}
    permitted = {kind.value for kind in InteractionKind if permits(scopes(f"system/*.{letter}"), kind, "Patient")}
    assert permitted == kinds | bound_to_no_type


@pytest.mark.parametrize(
    ("text", "kind", "type", "permitted"),
    [
        ("system/Patient.read system/Observation.s", "read", "Patient", True),
        ("system/Patient.read system/Observation.s", "read", "Observation", False),
        ("system/Patient.read system/Observation.s", "read", "Condition", False),
        ("system/Patient.cruds", "search-system", None, False),
        ("system/*.s", "search-system", None, True),
        *((f"system/*.{letters}", "operation", "Patient", True) for letters in ("rs", "cruds")),
        *((f"system/*.{letters}", "operation", "Patient", False) for letters in ("r", "s", "cud")),
    ],
)
def test_a_scope_is_for_its_own_types_and_actions(text: str, kind: str, type: str | None, permitted: bool) -> None:
    assert permits(scopes(text), InteractionKind(kind), type) is permitted


@pytest.mark.parametrize(("kind", "enough"), [("create", "cs"), ("update", "cus"), ("patch", "us"), ("delete", "ds")])
def test_a_conditional_interaction_needs_all_that_it_may_do(kind: str, enough: str) -> None:
    for letters in (enough, *("cruds".replace(letter, "") for letter in enough)):
        permitted = permits(scopes(f"system/Patient.{letters}"), InteractionKind(kind), "Patient", conditional=True)
        assert permitted == (letters == enough)


@given(st.lists(SCOPES, min_size=1).map(tuple), SCOPES, KINDS, TYPES, st.booleans())
def test_scopes_add_up_and_none_narrow_nothing(
    some: tuple[Scope, ...], more: Scope, kind: InteractionKind, type: str | None, conditional: bool
) -> None:
    assert permits((), kind, type, conditional=conditional)
    assert granted((*some, more), type) == granted(some, type) | granted((more,), type)
    if permits(some, kind, type, conditional=conditional):
        assert permits((*some, more), kind, type, conditional=conditional)
