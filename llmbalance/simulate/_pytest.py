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

if TYPE_CHECKING:
    from ._fleet import Fleet
    from ._result import Result
    from ._trace import Trace


class Checked:
    """A result of run() that can be asserted about; failures show the whole table."""

    def __init__(self, result: Result) -> None:
        self.result = result

    def _claim(self, holds: bool, text: str) -> None:
        __tracebackhide__ = True
        if not holds:
            pytest.fail(f"{text}\n{self.result!r}", pytrace=False)

    def assert_cost_below(self, usd: float) -> None:
        """All attempts together cost less than ``usd``."""
        __tracebackhide__ = True
        cost = self.result.cost
        self._claim(cost < usd, f"cost is ${cost:.4f}, not below ${usd:.4f}")

    def assert_p95_below(self, seconds: float) -> None:
        """95 % of the answers were complete in less than ``seconds``."""
        __tracebackhide__ = True
        p95 = self.result.p95
        self._claim(p95 < seconds, f"p95 is {p95:.2f} s, not below {seconds:.2f} s")

    def assert_ttft_p95_below(self, seconds: float) -> None:
        """95 % of the answers began in less than ``seconds``."""
        __tracebackhide__ = True
        p95 = self.result.to_dict()["ttft_p95"]
        text = f"p95 of the first token is {p95:.2f} s, not below {seconds:.2f} s"
        self._claim(p95 < seconds, text)

    def assert_no_failed(self) -> None:
        """Every request was answered."""
        __tracebackhide__ = True
        failed = self.result.failed
        self._claim(failed == 0, f"{failed} requests were not answered")

    def assert_success_at_least(self, share: float) -> None:
        """At least this share (0 to 1) of the requests was answered."""
        __tracebackhide__ = True
        success = self.result.success
        self._claim(success >= share, f"success is {success:.3%}, not {share:.3%}")


Simulate = Callable[..., Checked]


def simulate(fleet: Fleet, trace: Trace, **options: Any) -> Checked:
    """Run ``trace`` on ``fleet``; options are run()'s. The fixture `llm_sim`."""
    from ._run import run

    return Checked(run(trace, fleet, **options))
