"""What an experiment knows, as plain data: kept in the ledger over a restart.

    figures of every arm, evidence, what a bandit has learned, the age of a ramp

An experiment that has changed in what its figures depend on (arms, unit, metric,
bandit) begins anew. The units themselves are not kept: who comes back after a restart
stays in the same arm, but counts as somebody new.
"""

from __future__ import annotations

from typing import Any

from .._hash import stable_hash
from ._study import Study
from ._tally import FIGURES


def knowledge_of(study: Study, now: float) -> dict[str, Any]:
    """Return what a study knows, as JSON can hold it."""
    study.work(now)
    return {
        "like": _likeness(study),
        "age": now - study.started,
        "arms": [
            {name: getattr(tally, name) for name in FIGURES}
            | {"recent": list(tally.recent), "turned_away": away}
            for tally, away in zip(study.tallies, study.turned_away, strict=True)
        ],
        "evidence": [[*pair, peak] for pair, peak in study.peaks.items()],
        "bandit": None if study.bandit is None else study.bandit.state(),
    }


def recall(study: Study, known: dict[str, Any], gone: float, now: float) -> bool:
    """Go on from ``known``, which is ``gone`` seconds old; False: of no use.

    KeyError, TypeError or ValueError when it is damaged: then nothing has changed.
    """
    if known["like"] != _likeness(study) or any(t.calls for t in study.tallies):
        return False
    figures = [{name: arm[name] + 0 for name in FIGURES} for arm in known["arms"]]
    recent = [[float(seconds) for seconds in arm["recent"]] for arm in known["arms"]]
    peaks = {(int(a), int(b)): float(peak) for a, b, peak in known["evidence"]}
    away = [int(arm.get("turned_away", 0)) for arm in known["arms"]]
    age = float(known["age"]) + gone
    if study.bandit is not None:
        study.bandit.resume(known["bandit"])
    for tally, values, seconds in zip(study.tallies, figures, recent, strict=True):
        for name, value in values.items():
            setattr(tally, name, value)
        tally.recent.extend(seconds)
    study.peaks.update(peaks)
    study.turned_away = away
    if study.experiment.since is None:
        study.started = now - age
    study.due = now  # shares follow with the next call
    return True


def _likeness(study: Study) -> int:
    e = study.experiment
    arms = [(name, sorted(options.items())) for name, options in e.arms.items()]
    return stable_hash(repr((e.name, arms, e.unit, e.metric, e.bandit)))
