"""_core.pyi says exactly what _core does: names, parameters, attributes."""

from __future__ import annotations

import ast
import inspect
import types
from inspect import Parameter
from pathlib import Path

import pytest

from llmbalance import _core

STUB = ast.parse(Path(_core.__file__).with_name("_core.pyi").read_text())
Function = ast.FunctionDef | ast.AsyncFunctionDef
# Every class has these; a stub need not say so.
INHERITED = {
    *dir(object),
    "__module__",
    "__weakref__",
    "__dict__",
    "__weaklistoffset__",
}


def is_property(node: ast.stmt) -> bool:
    return isinstance(node, Function) and any(
        isinstance(mark, ast.Name) and mark.id == "property"
        for mark in node.decorator_list
    )


def stub_functions(body: list[ast.stmt]) -> dict[str, ast.FunctionDef]:
    return {
        node.name: node
        for node in body
        if isinstance(node, Function) and not is_property(node)
    }


def stub_attributes(body: list[ast.stmt]) -> set[str]:
    """Annotated names and properties."""
    names = {node.name for node in body if is_property(node)}
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def stub_parameters(fn: ast.FunctionDef) -> list[tuple[str, str, bool]]:
    """(name, kind, may be left out) of each parameter, `self` included."""
    args = fn.args
    positional = [*args.posonlyargs, *args.args]
    required = len(positional) - len(args.defaults)
    rows = []
    for i, arg in enumerate(positional):
        only = i < len(args.posonlyargs)
        kind = Parameter.POSITIONAL_ONLY if only else Parameter.POSITIONAL_OR_KEYWORD
        rows.append((arg.arg, kind.name, i >= required))
    if args.vararg:
        rows.append((args.vararg.arg, Parameter.VAR_POSITIONAL.name, True))
    for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        rows.append((arg.arg, Parameter.KEYWORD_ONLY.name, default is not None))
    if args.kwarg:
        rows.append((args.kwarg.arg, Parameter.VAR_KEYWORD.name, True))
    return rows


def real_parameters(fn: object) -> list[tuple[str, str, bool]]:
    try:
        signature = inspect.signature(fn)  # type: ignore[arg-type]
    except ValueError:
        pytest.fail(f"{fn!r}: its docstring does not start with 'name(...)\\n--\\n\\n'")
    return [
        (p.name, p.kind.name, p.default is not p.empty or "VAR_" in p.kind.name)
        for p in signature.parameters.values()
    ]


def without_self(rows: list[tuple[str, str, bool]]) -> list[tuple[str, str, bool]]:
    return rows[1:] if rows and rows[0][0] == "self" else rows


def is_attribute(value: object) -> bool:
    return isinstance(
        value,
        types.GetSetDescriptorType | types.MemberDescriptorType | int | float | str,
    )


CLASSES = [node for node in STUB.body if isinstance(node, ast.ClassDef)]
METHODS = [
    pytest.param(cls.name, fn, id=f"{cls.name}.{name}")
    for cls in CLASSES
    for name, fn in stub_functions(cls.body).items()
    if not (name.startswith("__") and name != "__init__")
]


def test_the_module_has_the_names_of_the_stub_and_no_other() -> None:
    stub = {cls.name for cls in CLASSES} | {*stub_functions(STUB.body)}
    stub |= stub_attributes(STUB.body)
    assert stub == {name for name in vars(_core) if not name.startswith("__")}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.name)
def test_a_class_has_the_methods_of_its_stub_and_no_other(cls: ast.ClassDef) -> None:
    real = vars(getattr(_core, cls.name))
    methods = {n for n, v in real.items() if callable(v) or isinstance(v, staticmethod)}
    assert {*stub_functions(cls.body)} - INHERITED == methods - INHERITED


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.name)
def test_a_class_has_the_attributes_of_its_stub_and_no_other(cls: ast.ClassDef) -> None:
    real = vars(getattr(_core, cls.name))
    attributes = {name for name, value in real.items() if is_attribute(value)}
    assert stub_attributes(cls.body) == attributes - INHERITED


@pytest.mark.parametrize(("owner", "fn"), METHODS)
def test_a_method_takes_the_parameters_of_its_stub(
    owner: str, fn: ast.FunctionDef
) -> None:
    cls = getattr(_core, owner)
    real = cls if fn.name == "__init__" else getattr(cls, fn.name)
    assert without_self(real_parameters(real)) == without_self(stub_parameters(fn))


@pytest.mark.parametrize("fn", stub_functions(STUB.body).values(), ids=lambda f: f.name)
def test_a_function_takes_the_parameters_of_its_stub(fn: ast.FunctionDef) -> None:
    assert real_parameters(getattr(_core, fn.name)) == stub_parameters(fn)
