"""Tables on terminals of any width."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from admin.output import Columns
from admin.table import table, wrapped

COLUMNS = Columns(
    ("tenant_id", "version", "name", "state", "base_url", "problem"),
    needed=4,
    cut=("name", "base_url"),
    notes=("problem",),
)
WORDS = st.text(st.characters(categories=("L", "N", "S"), include_characters=" -"), max_size=60)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "tenant_id": st.uuids().map(str),
            "version": st.sampled_from(["dstu2", "r4"]),
            "name": WORDS,
            "state": st.sampled_from(["answers", "never checked"]),
            "base_url": WORDS,
            "problem": WORDS | st.uuids().map("row ({}, r4), which can't be used".format),
        }
    ),
    max_size=5,
)


@given(ROWS, st.integers(1, 160))
def test_no_line_is_wider_than_the_terminal_but_for_one_word_and_none_is_cut(
    rows: list[dict[str, str]], width: int
) -> None:
    found = table(COLUMNS, rows, width)
    lines = [found.heading, *found.lines]
    assert all(cell_len(line) <= width or len(line.split()) == 1 or not line.isascii() for line in lines)
    words = " ".join(lines).split()
    assert {row["tenant_id"] for row in rows} <= set(words)
    assert {word for row in rows for word in row["problem"].split()} <= set(words)


def test_a_width_of_80_has_what_matters_most() -> None:
    guid = "72f988bf-86f1-41af-91ab-2d7cd011db47"
    columns = ("tenant_id", "version", "name", "state", "base_url")
    row = dict(
        zip(columns, (guid, "stu3", "Riverside General Hospital", "never checked", "https://x.example"), strict=True)
    )
    row["problem"] = ""
    wide, usual, narrow = (table(COLUMNS, [row], width) for width in (140, 80, 40))
    assert (list(wide.lines), wide.dropped) == (
        [f"{guid}  stu3     Riverside General Hospital  never checked  https://x.example"],
        [],
    )
    assert usual.heading == f"{'tenant id':36}  version  name                state"
    assert (list(usual.lines), usual.dropped) == ([f"{guid}  stu3     Riverside Gener...  never checked"], ["base_url"])
    assert (narrow.heading, list(narrow.lines)) == (
        "",
        [
            guid,
            "  version stu3, name Riverside General",
            "    Hospital, state never checked, base",
            "    url https://x.example",
        ],
    )


def test_a_long_value_goes_on_below_itself() -> None:
    ids = "72f988bf-86f1-41af-91ab-2d7cd011db47, 82f988bf-86f1-41af-91ab-2d7cd011db47"
    assert wrapped(f"tenants  {ids}", 60, "  ") == [f"tenants  {ids[:37]}", f"  {ids[38:]}"]
    assert wrapped(f"tenants  {ids}", None, "  ") == [f"tenants  {ids}"]
