"""Experiments and mirrors of a running router follow its file.

    new ones begin     those that are gone stop, their figures stay in the report
    `running` changed  they stop, or go on      anything else: give it a new name

Only what the file says otherwise than before is done: an experiment that was stopped by
hand stays so.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from .._errors import ConfigError

if TYPE_CHECKING:
    from .._experiments._experiment import Experiment
    from .._router_operation import Operation


def changed_experiments(
    router: Operation, options: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Say which experiments have been changed in what their figures depend on."""
    studies = router._intake.studies
    known = {} if studies is None else studies.all
    return [
        (f"experiment.{new.name}", "has changed: give it a new name")
        for new in options.get("experiments", ())
        if new.name in known and _still(new) != _still(known[new.name].experiment)
    ]


def orphaned_experiments(
    router: Operation, fresh: Operation, *files: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Say which experiments that no file has would lose what they are about."""
    studies = router._intake.studies
    if studies is None:
        return []
    theirs = {one.name for file in files for one in file.get("experiments", ())}
    found = []
    for name in sorted(studies.all.keys() - theirs):
        try:
            studies.check(fresh._fleet, name)
        except ConfigError as error:
            found.append((f"experiment.{name}", f"was begun by hand, stop it: {error}"))
    return found


def _still(experiment: Experiment) -> Experiment:
    return msgspec.structs.replace(experiment, running=True)


def follow_experiments(
    router: Operation, options: Mapping[str, Any], former: Mapping[str, Any]
) -> None:
    """Begin, stop and go on with experiments as the file says now."""
    wanted = {new.name: new for new in options.get("experiments", ())}
    before = {old.name: old for old in former.get("experiments", ())}
    for name in before:
        if name not in wanted or (before[name].running and not wanted[name].running):
            router.stop_experiment(name)
    studies = router._intake.studies
    known = {} if studies is None else studies.all
    for name, new in wanted.items():
        if name not in known:
            router.start_experiment(new)
        elif new.running and not (name in before and before[name].running):
            router.start_experiment(name)
    if studies is not None:
        studies.refit()


def follow_mirrors(router: Operation, options: Mapping[str, Any]) -> None:
    """Copy calls as the file says now; mirrors that stay keep their figures."""
    mirrors = list(options.get("mirrors", ()))
    intake = router._intake
    if intake.mirrors is not None:
        intake.mirrors.follow(mirrors, intake.timeout)
    elif mirrors:
        from .._experiments._mirrors import Mirrors

        intake.mirrors = Mirrors(
            router._fleet,
            router._transport,
            mirrors,
            timeout=intake.timeout,
            seed=router._seed,
        )
        weakref.finalize(router, intake.mirrors.close)
