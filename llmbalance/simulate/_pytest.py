"""Guard a routing configuration in one's own tests.

def test_a_day_stays_affordable(llm_sim):
    day = llm_sim(Fleet([...]), Trace.daily(rate=2), strategy="composite")
    day.assert_cost_below(40)
    day.assert_p95_below(6)
    day.assert_no_failed()
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from .._checks import positive
from ._service import share_of

if TYPE_CHECKING:
    from ._fleet import Fleet
    from ._result import Result
    from ._trace import Trace


class Checked:
    """A result of run() that can be asserted about.

    What fails says by how much, what to change, and shows the whole table.
    """

    def __init__(self, result: Result) -> None:
        self.result = result

    def _claim(self, holds: bool, text: str, remedy: str) -> None:
        __tracebackhide__ = True
        if not self.result.totals["requests"]:
            holds, text = False, "nothing was simulated: the trace is empty"
            remedy = "give a trace with requests"
        if not holds:
            pytest.fail(f"{text}: {remedy}\n{self.result!r}", pytrace=False)

    def assert_cost_below(self, usd: float) -> None:
        """All attempts together cost less than ``usd``."""
        __tracebackhide__ = True
        positive("usd", usd, zero=True)
        spending = self.result.to_dict()["spending"]
        most = max(spending, key=lambda name: spending[name])
        self._claim(
            self.result.cost < usd,
            f"cost is ${self.result.cost:.4f}, not below ${usd:.4f}",
            f"${spending[most]:.4f} of it are {most}'s; lower v, use strategy "
            '"cost", or raise the limits of cheaper backends',
        )

    def assert_p95_below(self, seconds: float) -> None:
        """95 % of the answers were complete in less than ``seconds``."""
        __tracebackhide__ = True
        self._claim_below("p95", "p95", seconds)

    def assert_ttft_p95_below(self, seconds: float) -> None:
        """95 % of the answers began in less than ``seconds``."""
        __tracebackhide__ = True
        self._claim_below("p95 of the first token", "ttft_p95", seconds)

    def _claim_below(self, what: str, figure: str, seconds: float) -> None:
        __tracebackhide__ = True
        positive("seconds", seconds, zero=True)
        told = self.result.to_dict()
        if not told["success"]:
            self._claim(False, f"{what} of no answers is unknown", self._causes(told))
        self._claim(
            told[figure] < seconds,
            f"{what} is {told[figure]:.2f} s, not below {seconds:.2f} s",
            f"calls waited {told['waited'] / told['requests']:.2f} s on average for "
            "room; raise v, or the limits of fast backends",
        )

    def assert_no_failed(self) -> None:
        """Every request was answered."""
        __tracebackhide__ = True
        text = f"{self.result.failed} requests were not answered"
        self._claim(self.result.failed == 0, text, self._causes(self.result.to_dict()))

    def assert_success_at_least(self, share: float) -> None:
        """At least this share (0 to 1) of the requests was answered."""
        __tracebackhide__ = True
        share_of("share", share)
        success = self.result.success
        text = f"success is {success:.3%}, not {share:.3%}"
        self._claim(success >= share, text, self._causes(self.result.to_dict()))

    def _causes(self, told: dict[str, Any]) -> str:
        return (
            f"{told['timed_out']} ran out of time, {told['failed']} failed everywhere, "
            f"{told['refused']} found no room or budget; add backends, fallbacks, "
            "limits or time"
        )


Simulate = Callable[..., Checked]


def simulate(fleet: Fleet, trace: Trace, **options: Any) -> Checked:
    """Run ``trace`` on ``fleet``; options are run()'s. The fixture `llm_sim`."""
    from ._run import run

    return Checked(run(trace, fleet, **options))
