"""Where keys stand, over every form of TOML that can hold one."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.config.lines import KeyPath, Place, key_lines, show_key

EVERY_FORM = '''\
# a comment with [brackets] = "and quotes
top = 1

[one]  # said so
a = "x"
  b.c = 2
  b . "d e" = 3
[one.two]
x = [ # comment ]
  "first", # , "not an element"
  """second
  with ] and "quotes" and \\""" more""""",
  [1, [2,
    3]],
]
y = { p = 1, q.r = [ { s = 1 }, { s = 2 } ], "t" = 't }' }
[['arr ay']]
k = 1979-05-27 07:32:00
[['arr ay']]
k = \'\'\'
]
[fake]
\'\'\'
[['arr ay'.sub]]
z = true
[ 'arr ay' . table ]
w = -1.5e3
["\\u0061fter"]
last = """"""
'''

EXPECTED: dict[KeyPath, int] = {
    ("top",): 2,
    ("one",): 4,
    ("one", "a"): 5,
    ("one", "b"): 6,
    ("one", "b", "c"): 6,
    ("one", "b", "d e"): 7,
    ("one", "two"): 8,
    ("one", "two", "x"): 9,
    ("one", "two", "x", 0): 10,
    ("one", "two", "x", 1): 11,
    ("one", "two", "x", 2): 13,
    ("one", "two", "x", 2, 0): 13,
    ("one", "two", "x", 2, 1): 13,
    ("one", "two", "x", 2, 1, 0): 13,
    ("one", "two", "x", 2, 1, 1): 14,
    ("one", "two", "y"): 16,
    ("one", "two", "y", "p"): 16,
    ("one", "two", "y", "q"): 16,
    ("one", "two", "y", "q", "r"): 16,
    ("one", "two", "y", "q", "r", 0): 16,
    ("one", "two", "y", "q", "r", 0, "s"): 16,
    ("one", "two", "y", "q", "r", 1): 16,
    ("one", "two", "y", "q", "r", 1, "s"): 16,
    ("one", "two", "y", "t"): 16,
    ("arr ay",): 17,
    ("arr ay", 0): 17,
    ("arr ay", 0, "k"): 18,
    ("arr ay", 1): 19,
    ("arr ay", 1, "k"): 20,
    ("arr ay", 1, "sub"): 24,
    ("arr ay", 1, "sub", 0): 24,
    ("arr ay", 1, "sub", 0, "z"): 25,
    ("arr ay", 1, "table"): 26,
    ("arr ay", 1, "table", "w"): 27,
    ("after",): 28,
    ("after", "last"): 29,
}


def test_every_form_of_key_has_its_line():
    tomllib.loads(EVERY_FORM)  # else the expectation below would be about nothing
    assert key_lines(EVERY_FORM) == EXPECTED


def test_carriage_returns_do_not_shift_lines():
    assert key_lines(EVERY_FORM.replace("\n", "\r\n")) == EXPECTED


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment", "   \t", "a = 1", "a = 1 # end"])
def test_small_documents(text):
    assert key_lines(text) == ({("a",): 1} if text.startswith("a") else {})


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ((), ""),
        (("relay", "workers"), "relay.workers"),
        (("mappings", "a.b", "from", 1), 'mappings."a.b".from[1]'),
        (("",), '""'),
        (("関",), '"関"'),
    ],
)
def test_keys_are_shown_as_people_write_them(path, shown):
    assert show_key(path) == shown


def test_a_place_without_a_line_of_its_own_takes_the_nearest_around_it():
    place = Place("f", {("a",): 3, ("a", "b"): 7})
    assert place.at("a", "b", "c", 0).line == 7
    assert place.at("a", "z").line == 3
    assert place.at("y").line == 1


def test_unknown_keys_hint_at_the_near_one_or_at_all():
    place = Place("f", {("lifetim",): 4}, ("lifetim",))
    problem = place.unknown(("lifetime", "longest"))
    assert (problem.facts["file"], problem.facts["line"], problem.facts["key"]) == ("f", 4, "lifetim")
    assert problem.fix() == "Did you mean 'lifetime'?"
    assert problem.fix("ja") == "「lifetime」ではありませんか?"
    far = Place("f", {}, ("x",)).unknown(("lifetime", "longest"))
    assert far.fix() == "Keys here: lifetime, longest."
    assert far.fix("ja") == "ここで使えるキー: lifetime, longest。"
    dashed = Place("f", {}, ("max-connections",)).unknown(("max_connections", "limit"))
    assert dashed.fix() == "Did you mean 'max_connections'?"


class Writer:
    """Writes a document out of drawn choices and notes the line of each key as it goes."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[KeyPath, int] = {}

    def put(self, *choices: str) -> None:
        self.text += self.draw(st.sampled_from(choices))

    def note(self, path: KeyPath) -> None:
        self.lines.setdefault(path, self.text.count("\n") + 1)

    def key(self, name: str) -> None:
        self.put(name, f'"{name}"', f"'{name}'", f'"\\u{ord(name[0]):04x}{name[1:]}"')

    def scalar(self) -> None:
        self.put(
            "1", "-0.5", "true", "1979-05-27 07:32:00Z", '""', "''", '"a ] } # [x] \\" ,"', "'\\'",
            '"""\n[x]\ny = 1\n\\\\"""', '"""a""b"""""', "'''\n] # '' '''", "''''x''''", '"""\\""\\" """',
        )  # fmt: skip

    def value(self, path: KeyPath, depth: int, inline: bool) -> None:
        kind = self.draw(st.sampled_from(("scalar", "array", "table") if depth else ("scalar",)))
        if kind == "array":
            self.array(path, depth, inline)
        elif kind == "table":
            self.inline_table(path, depth)
        else:
            self.scalar()

    def array(self, path: KeyPath, depth: int, inline: bool) -> None:
        gaps = ("", " ") if inline else ("", " ", "\n", " # ], \n", "\n\n  ")
        self.text += "["
        count = self.draw(st.integers(0, 3))
        for index in range(count):
            self.put(*gaps)
            self.note((*path, index))
            self.value((*path, index), depth - 1, inline)
            self.put(*gaps)
            self.text += "," if index < count - 1 else self.draw(st.sampled_from(("", ",")))
        self.put(*gaps)
        self.text += "]"

    def inline_table(self, path: KeyPath, depth: int) -> None:
        self.text += "{"
        for index in range(self.draw(st.integers(0, 2))):
            self.put(" , " if index else " ", ", " if index else " ")
            self.pair(path, f"k{index}", depth - 1, inline=True)
        self.text += " }"

    def pair(self, table: KeyPath, name: str, depth: int, inline: bool = False) -> None:
        path = (*table, name)
        self.note(path)
        self.key(name)
        if self.draw(st.booleans()):
            self.put(".", " . ")
            path = (*path, "sub")
            self.note(path)
            self.key("sub")
        self.put("=", " = ", "\t=\t")
        self.value(path, depth, inline)

    def header(self, name: str) -> KeyPath:
        opening, closing, path = self.draw(st.sampled_from((("[", "]", (name,)), ("[[", "]]", (name, 0)))))
        self.note((name,))
        self.note(path)
        self.text += opening
        self.key(name)
        self.text += closing
        return tuple(path)

    def document(self) -> None:
        table: KeyPath = ()
        for index in range(self.draw(st.integers(0, 6))):
            self.put("", "\n", "# [no] = 'key'\n", "  ")
            if self.draw(st.booleans()):
                table = self.header(f"t{index}")
            else:
                self.pair(table, f"k{index}", 3)
            self.put("\n", " # c\n", "\t\n")


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[KeyPath, int]]:
    writer = Writer(draw)
    writer.document()
    return writer.text, writer.lines


def paths_of(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    """Every path to a key or an element of a parsed document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path} - {()} | {deep for key, each in items for deep in paths_of(each, (*path, key))}


@given(documents())
def test_lines_of_any_document(written):
    text, lines = written
    found = key_lines(text)
    assert set(found) == paths_of(tomllib.loads(text))
    assert found == lines
