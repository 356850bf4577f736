"""Send a trace through a fleet: seconds of work for days of traffic."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from .._checks import positive, whole_numbers
from .._core import Simulation
from .._errors import ConfigError
from ._conduct import timeout_of
from ._fleet import Fleet
from ._result import Result
from ._service import of_kind
from ._strategies import split
from ._tables import NOTEBOOK
from ._trace import Trace

_STEP = 50_000  # requests between two looks at the keyboard and the progress bar


def run(
    trace: Trace,
    fleet: Fleet,
    *,
    strategy: str = "composite",
    value: float | None = None,
    seed: int = 0,
    timeout: float | None = None,
    stream: bool = False,
    estimate_error: float = 0.06,
    slices: int = 96,
    samples: bool = False,
    progress: bool = False,
    usual: Sequence[tuple[float, int, float, float]] = (),
) -> Result:
    """Simulate ``trace`` on ``fleet`` and return what it cost and delivered.

    ``strategy``: one of the Router's, or of REFERENCES; ``value``: its dial v, USD a
    second. ``timeout``: of a request, s (default: the fleet's). ``stream``: calls are
    streams: the router learns when first tokens come, and time-outs end with them.
    ``estimate_error``: sigma of the logarithm of estimated over true prompt tokens
    (0.06: what the estimator shows on real bills). ``slices``: pieces of time in the
    result; ``samples``: keep what became of every request; ``progress``: a bar (needs
    the ``notebook`` extra). ``usual``: what history says of backends, and when:
    (s since the start, number of the backend, s to the first token, s of a token),
    ascending; see Pool.set_usual(). The same arguments give the same result, byte for
    byte. Raises ConfigError, and UnknownModelError for groups the fleet has not.
    """
    of_kind("trace", trace, Trace)
    of_kind("fleet", fleet, Fleet)
    whole_numbers(seed=seed)
    positive("value", value, zero=True)
    positive("estimate_error", estimate_error, zero=True)
    patience = fleet.conduct.timeout if timeout is None else timeout_of(timeout)
    if not (isinstance(slices, int) and 1 <= slices <= 100_000):
        raise ConfigError("slices", slices, "give 1 to 100,000")
    own, rule = split(strategy)
    made = fleet.make(own, value, seed)
    width = max(trace.seconds * 1.0001 / slices, 1e-3)
    simulation = Simulation(
        made.pool,
        fleet.chain(made),
        trace.at,
        trace.input,
        trace.output,
        group=_groups(trace, fleet.groups_of(trace, made)),
        most=trace.most,
        session=trace.session,
        block=trace.block if trace.blocks is not None else None,
        blocks=trace.blocks,
        block_tokens=trace.block_tokens,
        seed=seed,
        rule=rule,
        timeout=patience,
        stream=stream,
        mismeasure=float(estimate_error),
        slice=width,
        slices=slices,
        samples=samples,
        **fleet.conduct.core(),
    )
    fleet.furnish(simulation, made, trace.seconds)
    events: list[tuple[float, Callable[[], object]]] = [
        (at, partial(made.pool.set_usual, backend, ttft, itl))
        for at, backend, ttft, itl in usual
    ]
    events += made.turns(trace.seconds)
    done = 0
    for at, tell in sorted(events, key=itemgetter(0)):
        due = min(bisect_left(trace.at, round(at * 1e9)), len(trace) - 1)
        if due > done:
            simulation.run(due - done)
            done = due
        tell()
    for _ in _steps(simulation, len(trace) - done, progress, strategy):
        pass
    return Result(simulation, made, fleet, strategy, value, seed, width, slices)


def _groups(trace: Trace, numbers: list[int]) -> array[int]:
    """The column of groups in the pool's numbers."""
    if trace.group is None:
        return array("H", numbers[:1]) * len(trace)
    return array("H", (numbers[group] for group in trace.group))


def _steps(
    simulation: Simulation, requests: int, progress: bool, name: str
) -> Iterator[None]:
    """Run piece by piece, so that an interrupt and a progress bar get their turn."""
    tell: Callable[[int], Any] = lambda n: None  # noqa: E731
    bar = None
    if progress:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            raise ImportError(f"progress needs tqdm: {NOTEBOOK}") from None
        bar = tqdm(total=requests, desc=name, unit=" requests", leave=False)
        tell = bar.update
    left = requests
    try:
        while not simulation.run(_STEP):
            tell(_STEP)
            left -= _STEP
            yield
        tell(left)
    finally:
        if bar is not None:
            bar.close()
