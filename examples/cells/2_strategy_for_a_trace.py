# ruff: noqa: B018
# %% [md]
# # 2. Choosing a strategy for a real trace
#
# Put the path of your own trace here: a CSV with `at`, `input` and `output`, a public
# trace (Azure, Mooncake), or your router's ledger. Without one, bursts of the same
# shape as those of code completion are made up.

# %%
import os

from llmbalance import Backend, Limits, Price
from llmbalance.simulate import REFERENCES, Fleet, Service, Trace, compare, regret

path = os.environ.get("MY_TRACE")
if path:
    trace = Trace.from_file(path)
else:
    trace = Trace.bursty(
        rate=3, seconds=3600, cv=5, seed=1, input=(1800, 0.8), output=(20, 1.0)
    )
trace.to_dict()

# %% [md]
# Five hosts of one open model: a bargain with small limits, a very fast one, and three
# with room at a price.

# %%
HOSTS = {  # USD per million tokens, s to the first token, tokens a second, requests/min
    "bargain": (Price(0.23, 0.40), 0.9, 32, 120),
    "quick": (Price(0.59, 0.79), 0.25, 250, 100),
    "cloud": (Price(0.72, 0.72), 0.6, 45, 800),
    "steady": (Price(0.88, 0.88), 0.45, 85, 600),
    "grand": (Price(1.20, 1.20), 0.35, 110, 3000),
}
fleet = Fleet(
    [
        Backend("openai_compatible/model", name=n, price=price, limits=Limits(rpm=rpm))
        for n, (price, _, _, rpm) in HOSTS.items()
    ],
    services={
        name: Service(ttft=ttft, token=1 / speed)
        for name, (_, ttft, speed, _) in HOSTS.items()
    },
)

# %% [md]
# The router's strategies, and how other routers would have chosen:

# %%
strategies = [
    *("composite", "predictive", "cost", "latency", "least_busy", "round_robin"),
    {"strategy": "composite", "value": 1e-4},
    *REFERENCES,
]
found = compare(trace, fleet, strategies=strategies, repeats=3)
found

# %%
found.frontier

# %%
found.plot()

# %% [md]
# How far is the best from what was possible at all? The optimum knows the future and is
# a lower bound; the extremes send everything to one backend without limits.

# %%
regret(trace, fleet, found["composite"])
