"""Between the words of Python and the figures of the core: outcomes, counts, limits."""

from __future__ import annotations

from ._core import OUTCOMES, UNITS, PriceRow
from ._errors import ProviderError
from ._types import Failure, LimitReading, Usage

OUTCOME = {name: i for i, name in enumerate(OUTCOMES)}
# Words of the error table that the breaker knows under another name.
OUTCOME |= {
    "timeout": OUTCOME["timed_out"],
    "incapable": OUTCOME["rejected"],
    "broken_stream": OUTCOME["broken"],
}
_UNIT = {name: i for i, name in enumerate(UNITS)}


def failure_of(error: ProviderError) -> Failure:
    """An error found inside an answer, as a failure."""
    return Failure(
        kind=error.kind,
        message=error.message,
        status=error.status or 200,
        code=error.code,
        request_id=error.request_id,
        retry_after=error.retry_after,
    )


def nano_of(usd: float) -> int:
    """An amount a provider states, in nano-USD; by its digits, rounded half up."""
    return PriceRow.parse(repr(float(usd)), 9)


def counts_of(usage: Usage) -> tuple[int, ...]:
    """Usage as the core counts it: in the order of KINDS, no token twice."""
    if usage.web_search_requests:
        return (*usage.disjoint().values(), 1, 0, 0, usage.web_search_requests)
    return (*usage.disjoint().values(), 1)


def told_of(readings: list[LimitReading]) -> list[tuple[int, int, int, float, float]]:
    """Header readings as the core takes them: -1 for what is not said."""
    return [
        (
            _UNIT[r.kind],
            -1 if r.limit is None else int(r.limit),
            -1 if r.remaining is None else int(r.remaining),
            -1.0 if r.reset_seconds is None else r.reset_seconds,
            -1.0 if r.window_seconds is None else r.window_seconds,
        )
        for r in readings
    ]
