"""Who may know whom: arrows point down only, and the core knows nothing.

lb_* includes libc and the lb_* rooms of lower floors, sim_* those and lb_*; net_* alone
includes curl, and the net_* rooms of lower floors; py_module.h alone includes Python.h.
Modules of llmbalance/ import in no circle, neither for a type nor inside a function.
"""

from __future__ import annotations

import ast
import graphlib
import re
import shutil
import subprocess
import sys
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
CSRC = TOP / "csrc"
SOURCES = sorted(CSRC.glob("*.[ch]"))
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^">]+)[">]', re.M)
OUTSIDE = {"time.h", "sys/time.h", "unistd.h", "pthread.h", "threads.h"}
# The floors of lb_*: what everybody shares, the rooms that stand alone (all others),
# and the few that put them together, each above the one before.
FLOORS = {"base": 0, "rng": 1, "pick": 3, "pool": 4}
FLOORS |= {"gate": 5, "learn": 5, "throttle": 5, "lease": 6}
ALONE = 2
# The floors of net_*, from the ground up; every room has its place.
NET_FLOORS = (
    "base",
    "wake timer poll fork headers sse frames sha256 tls ask",  # each stands alone
    "reply sign watch",
    "port origin",  # where replies go, where requests go
    "request",
    "transfer",  # what is known of one on the wire, and who works on it:
    "failure receive",
    "handle",
    "flight",
    "loop",
    "order",
    "engine",
)
NET_FLOOR = {room: i for i, rooms in enumerate(NET_FLOORS) for room in rooms.split()}
LONGEST_FUNCTION = 65
# Arrows between modules that close a circle on purpose, and why.
BACK = {
    ("providers.openai_compatible", "providers.responses"): "an option of a host's"
    " dialect asks for its other API, whose dialect is built on this one",
    ("simulate._trace", "simulate._arrivals"): "Trace.poisson and its like",
    ("simulate._trace", "simulate._formats"): "Trace.from_file and its like",
    ("simulate._result", "simulate._plot"): "Result.plot()",
    ("simulate._compare", "simulate._plot"): "Comparison.plot()",
    ("simulate._fit", "simulate._plot"): "Fit.plot()",
    ("testing._provider", "testing._fleet"): "a provider alone is a fleet of one",
    ("testing._desk", "testing._provider"): "a provider may be told to fail or to be"
    " slow while it runs, so that its desk asks it at every request",
    ("testing._answer", "testing._desk"): "an answer tells its desk how it ended",
}

# Arrows between modules whose folders lie the other way round, and why.
UP = {
    ("_call._run", "_experiments._studies"): "a call carries the trials it is part of",
    ("_fleet._hedge", "_call._story"): "who is told of a call, as a type",
    ("_fleet._pool", "_call._story"): "who is told of a call, as a type",
    ("_events", "_call._story"): "who is told of a call, as a type",
    ("_config", "_fleet._wildcards"): "a name with a star is checked where it stands",
    ("_configfile._check", "_litellm._plan"): "it checks files of both kinds",
    ("_configfile._check", "_router"): "a file is right when it makes a router",
    ("_configfile._reference", "_router"): "a router's own words are the reference",
    (
        "_router_operation",
        "_litellm._call",
    ): "how calls in LiteLLM's words are read, as a type",
    ("_router_operation", "_configfile._places"): "what a reload has noted, as a type",
}


def room(name: str) -> str:
    """lb_tokens_tables.h -> tokens."""
    return re.split(r"[_.]", name)[1]


def is_below(inc: str, name: str) -> bool:
    """Whether the header may be included by the file of the same layer, lb_* or net_*:
    a lower floor, or the same room."""
    if room(inc) == room(name):
        return True
    if name.startswith("net_"):
        return NET_FLOOR[room(inc)] < NET_FLOOR[room(name)]
    return FLOORS.get(room(inc), ALONE) < FLOORS.get(room(name), ALONE)


def broken_rules(name: str, text: str) -> list[str]:
    """What the file of this name and text includes although its layer forbids it."""
    layer = name.split("_")[0]
    wrong = []
    for inc in INCLUDE.findall(text):
        below = inc.split("_")[0] if "_" in inc else ""
        if inc == "Python.h":
            allowed = name == "py_module.h"
        elif inc.startswith("curl/"):
            allowed = layer == "net"
        elif layer == "lb" and below == "lb":
            allowed = is_below(inc, name)
        elif layer == "lb":
            allowed = below not in ("net", "py", "sim") and inc not in OUTSIDE
        elif layer == "sim":
            allowed = below in ("", "lb", "sim") and inc not in OUTSIDE
        elif layer == "net" and below == "net":
            allowed = is_below(inc, name)
        elif layer == "net":
            allowed = below not in ("lb", "py", "sim") or inc == "lb_base.h"
        else:
            allowed = layer == "py"
        if not allowed:
            wrong.append(inc)
    return wrong


def functions(text: str) -> list[tuple[str, int]]:
    """Name and length of every function: in the house style its braces stand alone
    in the first column, and its name starts the line after the return type."""
    found = []
    name, opened = "", None
    for number, line in enumerate(text.splitlines()):
        if match := re.match(r"(\w+)\(", line):
            name = match[1]
        elif line == "{":
            opened = number
        elif line == "}" and opened is not None:
            found.append((name, number - opened + 1))
            opened = None
    return found


def imports(package: Path) -> dict[str, set[str]]:
    """Every module of a package, and the others it imports: for good, when a function
    runs, or for types alone."""
    modules = {
        ".".join(path.relative_to(package).with_suffix("").parts): path
        for path in sorted(package.rglob("*.py*"))
        if path.suffix in (".py", ".pyi")
    }
    return {name: set(_imported(name, path, modules)) for name, path in modules.items()}


def _imported(name: str, path: Path, modules: Container[str]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = [*name.split(".")[: -node.level], *(node.module or "").split(".")]
        package = ".".join(part for part in base if part)
        for alias in node.names:
            inner = f"{package}.{alias.name}".strip(".")
            init = f"{package}.__init__".strip(".")
            yield next(x for x in (inner, package, init) if x in modules)


def circle(arrows: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring; none: each lies above those it
    imports."""
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])[::-1]
    return []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_includes_only_what_lies_below(path: Path) -> None:
    assert broken_rules(path.name, path.read_text()) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_function_fits_on_a_screen(path: Path) -> None:
    long = [
        found for found in functions(path.read_text()) if found[1] > LONGEST_FUNCTION
    ]
    assert long == []


@pytest.mark.parametrize(
    ("name", "inc"),
    [
        ("lb_rate.c", "Python.h"),
        ("lb_rate.c", "py_module.h"),
        ("lb_rate.c", "net_engine.h"),
        ("lb_rate.h", "lb_price.h"),
        ("lb_rate.h", "lb_pool.h"),
        ("lb_pool.h", "lb_lease.h"),
        ("lb_base.h", "lb_rng.h"),
        ("lb_rate.c", "time.h"),
        ("lb_pool.c", "curl/curl.h"),
        ("net_sse.c", "Python.h"),
        ("lb_pool.c", "sim_world.h"),
        ("sim_world.c", "time.h"),
        ("sim_world.c", "py_module.h"),
        ("net_sse.c", "lb_pool.h"),
        ("net_sse.c", "py_module.h"),
        ("net_base.h", "net_reply.h"),
        ("net_sse.h", "net_frames.h"),
        ("net_port.h", "net_request.h"),
        ("net_origin.c", "net_engine.h"),
        ("net_receive.c", "net_flight.h"),
        ("py_port.c", "Python.h"),
        ("py_port.c", "curl/curl.h"),
        ("other.c", "lb_base.h"),
    ],
)
def test_an_arrow_that_points_up_is_found(name: str, inc: str) -> None:
    assert broken_rules(name, f'#include "{inc}"\n') == [inc]


@pytest.mark.parametrize(
    ("name", "inc"),
    [
        ("lb_rate.c", "lb_rate.h"),
        ("lb_tokens.c", "lb_tokens_tables.h"),
        ("lb_rng.h", "lb_base.h"),
        ("lb_breaker.h", "lb_rng.h"),
        ("lb_pool.c", "lb_rate.h"),
        ("lb_rate.c", "math.h"),
        ("net_engine.c", "curl/curl.h"),
        ("net_engine.h", "lb_base.h"),
        ("net_port.c", "net_port.h"),
        ("net_request.h", "net_origin.h"),
        ("net_engine.c", "net_fork.h"),
        ("sim_world.h", "lb_lease.h"),
        ("sim_call.c", "sim_draw.h"),
        ("net_engine.c", "pthread.h"),
        ("py_module.h", "Python.h"),
        ("py_port.c", "net_engine.h"),
        ("py_pool.c", "lb_pool.h"),
    ],
)
def test_an_arrow_that_points_down_is_allowed(name: str, inc: str) -> None:
    assert broken_rules(name, f"#include <{inc}>\n") == []


def test_a_long_function_is_measured() -> None:
    body = "    step();\n" * 98
    assert functions(f"static int\nlong_one(void)\n{{\n{body}}}\n") == [
        ("long_one", 100)
    ]


def test_modules_import_in_no_circle_not_even_for_a_type() -> None:
    arrows = imports(TOP / "llmbalance")
    for above, below in BACK:
        arrows[above].remove(below)  # KeyError: it is there no more
    assert circle(arrows) == []


@pytest.mark.parametrize("back", BACK, ids=lambda back: back[0])
def test_every_arrow_that_points_back_closes_a_circle(back: tuple[str, str]) -> None:
    arrows = imports(TOP / "llmbalance")
    for above, below in BACK.keys() - {back}:
        arrows[above].remove(below)
    assert {*back} <= {*circle(arrows)}


@pytest.mark.parametrize(
    ("low", "ring"),
    [
        ("import json\n", []),
        ("from ._top import Top\n", ["_low", "_top", "_low"]),
        ("def made():\n    from . import _top\n", ["_low", "_top", "_low"]),
        (
            "if TYPE_CHECKING:\n    from .more._far import Far\n",
            ["_low", "more._far", "_top", "_low"],
        ),
    ],
)
def test_a_circle_of_imports_is_found(
    tmp_path: Path, low: str, ring: list[str]
) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "__init__.py").write_text("from ._top import Top as Top\n")
    (tmp_path / "_top.py").write_text("from ._low import made\n")
    (tmp_path / "_low.py").write_text(low)
    (tmp_path / "more/_far.py").write_text("from .._top import Top\n")
    assert sorted({*circle(imports(tmp_path))}) == sorted({*ring})


def test_folders_import_each_other_in_no_circle() -> None:
    arrows = imports(TOP / "llmbalance")
    for above, below in UP:
        arrows[above].remove(below)
    floors: dict[str, set[str]] = {}
    for name, others in arrows.items():
        folder = name.split(".")[0]
        known = {other.split(".")[0] for other in others}
        floors.setdefault(folder, set()).update(known - {folder})
    assert circle(floors) == []


def test_the_table_of_floors_names_every_room_of_the_package() -> None:
    rows = re.findall(r"^\| .* \|$", (TOP / "docs/architecture.md").read_text(), re.M)
    told = {word for row in rows for word in re.findall(r"[\w/]+", row)}
    files = {path.stem for path in TOP.glob("llmbalance/[_d]*.py")}
    folders = {f"{path.parent.name}/" for path in TOP.glob("llmbalance/*/__init__.py")}
    assert (files | folders) - told == {"__init__", "__main__"}


def test_every_folder_says_what_its_rooms_are_for() -> None:
    for entrance in TOP.glob("llmbalance/_*/__init__.py"):
        told = set(
            re.findall(r"\w+", ast.get_docstring(ast.parse(entrance.read_text())) or "")
        )
        rooms = {path.stem for path in entrance.parent.glob("_*.py")} - {"__init__"}
        assert rooms - told == set(), entrance.parent.name


@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("nm") is None, reason="reads ELF with nm"
)
def test_the_module_exports_its_init_function_alone() -> None:
    from llmbalance import _core

    nm = subprocess.run(
        ["nm", "-D", "--defined-only", _core.__file__],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {line.split()[-1] for line in nm.stdout.splitlines()}
    libgcov = {name for name in names if name.startswith(("__gcov_", "mangle_path"))}
    assert names - libgcov == {"PyInit__core"}
