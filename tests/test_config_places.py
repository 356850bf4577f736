"""A file's values come with their lines, whatever way they are written."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmbalance._configfile._places import (
    ConfigFileError,
    Document,
    _paths,
    _TomlScan,
    dotted,
    read,
)

TOML = """\
# comment
[router]
v = 1
"quo.ted" = \"\"\"a
b = 3 \\\"\"\" x\"\"\"\"
[[backend]] # the first
model = "a/b"
limits = { rpm = 3, more = [
  { what = "x" }, # not a key = 3
  { what = 'y]' },
] }
[backend.timeouts]
connect = 3
[[backend]]
a.b . c = 2020-01-01 # date
[group."x y"]
fallbacks = ["a",
 'b\\']
"""


def written(tmp_path: Path, name: str, text: str) -> Document:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return read(path)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("router",), 2),
        (("router", "v"), 3),
        (("router", "quo.ted"), 4),
        (("backend", 0), 6),
        (("backend", 0, "model"), 7),
        (("backend", 0, "limits", "rpm"), 8),
        (("backend", 0, "limits", "more", 0, "what"), 9),
        (("backend", 0, "limits", "more", 1, "what"), 10),
        (("backend", 0, "timeouts", "connect"), 13),
        (("backend", 1), 14),
        (("backend", 1, "a", "b", "c"), 15),
        (("group", "x y"), 16),
        (("group", "x y", "fallbacks", 1), 18),
    ],
)
def test_every_key_of_a_toml_file_knows_its_line(
    tmp_path: Path, path: tuple[str | int, ...], line: int
) -> None:
    document = written(tmp_path, "a.toml", TOML)
    assert document.lines[path] == line


def test_a_path_that_is_not_there_has_the_line_of_what_encloses_it(
    tmp_path: Path,
) -> None:
    document = written(tmp_path, "a.toml", TOML)
    assert document.line(("backend", 1, "limits", "rpm")) == 14
    assert document.line(("nothing",)) == 0


KEYS = st.text("ab_-.=#[]\" '\\é", min_size=1, max_size=4)
SCALARS = (
    st.integers(-9, 10**6)
    | st.booleans()
    | st.text("ab\n\"'#=[]{},\\\t é", max_size=12)
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(
    KEYS, VALUES | st.lists(st.dictionaries(KEYS, VALUES, max_size=3)), max_size=5
)


def quoted(text: str, style: int) -> str:
    if style % 3 == 1 and not set("\n'\t") & set(text):
        return f"'{text}'"
    if style % 3 == 2 and "'''" not in text and not text.endswith("'"):
        return f"'''\n{text}'''"
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + plain.replace("\n", "\\n").replace("\t", "\\t") + '"'


def inline(value: Any, style: int) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quoted(value, style)
    if isinstance(value, list):
        gap = "\n # [{ \n" if style % 2 else ""
        return "[" + ",".join(gap + inline(v, style) for v in value) + gap + "]"
    if isinstance(value, dict):
        # Inline tables stay on one line: no multi-line strings or arrays in them.
        pairs = (f"{quoted(k, 0)} = {inline(v, 0)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    return repr(value)


def toml_of(data: dict[str, Any], style: int) -> str:
    """The data as TOML: scalars first, tables after them, comments between."""
    tables = {
        k: v
        for k, v in data.items()
        if isinstance(v, dict)
        or (isinstance(v, list) and v and all(isinstance(x, dict) for x in v))
    }
    lines = [
        f"{quoted(k, 0)} = {inline(v, style)} # x = 1"
        for k, v in data.items()
        if k not in tables
    ]
    for key, value in tables.items():
        for table in value if isinstance(value, list) else [value]:
            mark = f"[[{quoted(key, 0)}]]" if isinstance(value, list) else ""
            lines += ["", "# [no.table]", mark or f"[ {quoted(key, 0)} ]"]
            lines += [f"{quoted(k, 0)}={inline(v, style)}" for k, v in table.items()]
    return "\n".join(lines) + "\n"


@given(DOCUMENTS, st.integers(0, 5))
def test_the_scan_finds_exactly_the_keys_that_the_parser_finds(
    data: dict[str, Any], style: int
) -> None:
    text = toml_of(data, style)
    parsed = tomllib.loads(text)
    lines = _TomlScan(text).lines
    assert set(lines) == set(_paths((), parsed))
    rows = text.split("\n")
    for path, line in lines.items():
        if isinstance(path[-1], str):
            assert quoted(path[-1], 0) in rows[line - 1]


def test_wrong_toml_is_an_error_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError) as caught:
        written(tmp_path, "a.toml", "[router]\nv = \n")
    assert [error.line for error in caught.value.errors] == [2]
    assert "a.toml:2" in str(caught.value)


@pytest.mark.parametrize("name", ["a.json", "a", "a.txt"])
def test_other_kinds_of_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigFileError, match=r"give a \.toml"):
        written(tmp_path, name, "")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigFileError, match="UTF-8"):
        read(tmp_path / "a.toml")


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "a.toml")


def test_a_dict_is_taken_as_it_is_and_its_keys_are_known() -> None:
    document = read({"a": [{"b": 1}]})
    assert ("a", 0, "b") in document.lines
    assert str(document.note(("a", 0, "b"), "why")) == "(dict): a[0].b: why"


def test_paths_are_shown_as_people_write_them() -> None:
    assert dotted(("backend", 0, "limits", "rpm")) == "backend[0].limits.rpm"
    assert dotted(()) == "(file)"


def test_yaml_keys_know_their_lines_and_duplicates_are_told(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    text = "a: 1\nb:\n  - c: &x {d: 1}\n    e: 2\n    e: 3\n  - <<: *x\n"
    document = written(tmp_path, "a.yaml", text)
    assert document.data == {"a": 1, "b": [{"c": {"d": 1}, "e": 3}, {"d": 1}]}
    assert document.lines[("b", 0, "c", "d")] == 3
    assert document.line(("b", 1, "d")) == 6
    assert document.twice == (("b", 0, "e"),)


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: [1\nb: 2\n", 2), ("- 1\n", 1), ("a: &x [*x]\n", 0), ("a: !!python/x 1", 1)],
)
def test_wrong_yaml_is_an_error_with_its_line(
    tmp_path: Path, text: str, line: int
) -> None:
    pytest.importorskip("yaml")
    with pytest.raises(ConfigFileError) as caught:
        written(tmp_path, "a.yml", text)
    assert [error.line for error in caught.value.errors] == [line]


def test_an_empty_yaml_file_is_an_empty_document(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    assert written(tmp_path, "a.yaml", "# nothing\n").data == {}


def test_a_yaml_file_of_nested_anchors_is_scanned_in_its_written_size(
    tmp_path: Path,
) -> None:
    pytest.importorskip("yaml")
    rows = ["a0: &a0 [1, 1]"]
    rows += [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40)]
    document = written(tmp_path, "a.yaml", "\n".join(rows))
    assert len(document.lines) < 200
