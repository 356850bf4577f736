"""How often at least one of several backends is up.

    p_i   a backend is up (0.999)          q_i = 1 - p_i
    rho   share of each outage that is common to all (one cloud, one network)

Independent outages multiply: all are down with the product of the q_i. With a common
cause that strikes all at once (the beta-factor model, Fleming 1975), a part rho of the
smallest q is the probability that everything is down together; the rest of each
backend's outages stays independent of the others'.

    availability([0.999, 0.995])                    99.9995 %,   2.6 minutes a year
    availability([0.999, 0.995], correlation=0.1)   99.9895 %,  55 minutes a year
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from msgspec import Struct

from ._errors import ConfigError

MINUTES_A_YEAR = 365.25 * 24 * 60


class Availability(Struct, frozen=True):
    """Combined uptime of several backends.

    ``combined``: share of time in which at least one is up; ``downtime``: the rest, of
    use where ``combined`` rounds to 1; ``minutes_per_year``: of downtime;
    ``best_single``: uptime of the best one alone, ``gain``: how many times less
    downtime than that one has (infinite when nothing remains).
    """

    combined: float
    downtime: float
    minutes_per_year: float
    best_single: float
    gain: float

    @property
    def nines(self) -> float:
        """The number of nines: 3.0 for 99.9 %; infinite when never down."""
        return math.inf if self.downtime == 0 else -math.log10(self.downtime)

    def __str__(self) -> str:
        minutes = self.minutes_per_year
        if minutes >= 1:
            span = f"{minutes:,.1f} minutes"
        else:
            span = f"{minutes * 60:.3g} seconds"
        return f"{self.combined:.6%} up, {span} of downtime a year"


def availability(uptimes: Iterable[float], *, correlation: float = 0.0) -> Availability:
    """Return how often at least one of the backends is up.

    ``uptimes``: of each backend alone, 0 to 1. ``correlation``: the share of outages
    with a common cause, 0 (independent) to 1 (when the best is down, all are).
    ConfigError for values outside these ranges. Source: beta-factor model of common
    cause failures (Fleming 1975), applied to the best backend.
    """
    ups = list(uptimes)
    if not ups:
        raise ConfigError("uptimes", ups, "give at least one")
    for up in ups:
        if isinstance(up, bool) or not 0 <= up <= 1:
            raise ConfigError("uptimes", up, "give shares of time from 0 to 1")
    if not 0 <= correlation <= 1:
        raise ConfigError("correlation", correlation, "give a share from 0 to 1")
    outages = [1.0 - up for up in ups]
    least = min(outages)
    common = correlation * least if len(outages) > 1 else 0.0
    # Given that the common cause is absent, each is down for what remains of its share.
    apart = math.prod((q - common) / (1 - common) if common < 1 else 1 for q in outages)
    down = common + (1 - common) * apart
    return Availability(
        combined=1.0 - down,
        downtime=down,
        minutes_per_year=down * MINUTES_A_YEAR,
        best_single=max(ups),
        gain=math.inf if down == 0 else least / down,
    )
