"""llmbalance.__all__ is the public face: complete, importable, and nothing else."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator

import llmbalance
from llmbalance import _errors

# Names that examples, tests and documents rely on.
CONTRACT = {"Backend", "Budget", "LLMBalanceError", "Limits", "Price", "Router"}


def tree(cls: type) -> Iterator[type]:
    yield cls
    for child in cls.__subclasses__():
        yield from tree(child)


def test_the_names_of_the_contract_are_exported() -> None:
    assert set(llmbalance.__all__) >= CONTRACT


def test_no_name_is_exported_twice_or_private() -> None:
    assert len(set(llmbalance.__all__)) == len(llmbalance.__all__)
    private = [name for name in llmbalance.__all__ if name.startswith("_")]
    assert private in ([], ["__version__"])


def test_every_exported_name_is_there() -> None:
    absent = [name for name in llmbalance.__all__ if not hasattr(llmbalance, name)]
    assert absent == []


def test_what_dir_shows_is_what_is_exported() -> None:
    not_ours = {"annotations", "TYPE_CHECKING"}
    shown = {
        name
        for name in dir(llmbalance)
        if not name.startswith("_")
        and name not in not_ours
        and not isinstance(getattr(llmbalance, name), types.ModuleType)
    }
    assert shown == {name for name in llmbalance.__all__ if name[0] != "_"}


def test_every_exception_a_caller_can_meet_is_exported() -> None:
    exceptions = {
        cls.__name__
        for cls in tree(_errors.LLMBalanceError)
        if cls.__module__ == _errors.__name__ and not cls.__name__.startswith("_")
    }
    assert exceptions - set(llmbalance.__all__) == set()


def test_every_exported_class_and_function_is_documented() -> None:
    exported = [getattr(llmbalance, name) for name in llmbalance.__all__]
    silent = [
        value.__name__
        for value in exported
        if (inspect.isclass(value) or inspect.isfunction(value))
        and not (value.__doc__ or "").strip()
    ]
    assert silent == []
