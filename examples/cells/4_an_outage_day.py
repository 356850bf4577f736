# ruff: noqa: B018
# %% [md]
# # 4. An outage day
#
# In the middle of a day the cheapest provider fails for half an hour; later another one
# hands out 429s, and in the evening a third is slow. What reaches the users?

# %%
from llmbalance import Backend, Limits, Price
from llmbalance.simulate import Fleet, Service, Trace, Trouble, compare, run

trace = Trace.daily(rate=1.5, days=1, swing=0.6, seed=1)
hours = 3600
troubles = [
    Trouble("cheap", 11 * hours, hours / 2, "fail"),
    Trouble("middle", 14 * hours, hours / 2, "refuse", factor=20),
    Trouble("dear", 19 * hours, hours, "slow", factor=6),
]
fleet = Fleet(
    [
        Backend(
            "openai_compatible/a",
            name="cheap",
            price=Price(0.2, 0.8),
            limits=Limits(rpm=60),
        ),
        Backend("openai_compatible/b", name="middle", price=Price(0.4, 1.6)),
        Backend("openai_compatible/c", name="dear", price=Price(2, 8)),
    ],
    services={"dear": Service(ttft=0.3, token=0.006)},
    troubles=troubles,
)
result = run(trace, fleet, strategy="composite", seed=1)
result

# %%
told = result.to_dict()
{k: told[k] for k in ("requests", "success", "failures", "refusals", "absorbed")}

# %% [md]
# Grey is the trouble. The breaker keeps all but a few probes away from what fails.

# %%
result.plot()

# %%
frame = result.to_pandas()
frame[frame.breaker != "closed"].groupby("backend").start.agg(["min", "max"]) / hours

# %% [md]
# The same day by other rules:

# %%
compare(
    trace,
    fleet,
    strategies=["composite", "latency", "round_robin", "litellm_simple_shuffle"],
)
