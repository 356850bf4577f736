# ruff: noqa: B018
# %% [md]
# # 1. A first cost experiment
#
# What would an hour of traffic cost on three backends, and how fast would the answers
# be? The simulator makes every decision with the code that runs in production, on a
# virtual clock: no key, no network, no bill.

# %%
from llmbalance import Backend, Limits
from llmbalance.simulate import Fleet, Service, Trace, compare, run, sweep

# %% [md]
# **Traffic**: five requests a second for an hour; prompts with a median of 800 tokens,
# answers of 150.

# %%
trace = Trace.poisson(rate=5, seconds=3600, seed=1)
trace

# %% [md]
# **The fleet** is written as for the router. Prices come from the built-in table.
# A `Service` says how fast a backend really is; without one, medians of hosted APIs
# hold.

# %%
fleet = Fleet(
    [
        Backend("openai/gpt-4o-mini", limits=Limits(rpm=120)),
        Backend("google/gemini-2.5-flash", limits=Limits(rpm=150)),
        Backend("anthropic/claude-haiku-4-5"),
    ],
    services={
        "openai/gpt-4o-mini": Service(ttft=0.5, token=1 / 70),
        "google/gemini-2.5-flash": Service(ttft=0.4, token=1 / 160),
        "anthropic/claude-haiku-4-5": Service(ttft=0.6, token=1 / 110),
    },
)
result = run(trace, fleet, strategy="composite", seed=1)
result

# %% [md]
# Where did the calls and the money go?

# %%
told = result.to_dict()
for name, usd in told["spending"].items():
    print(f"{name:<28} {told['share'][name]:6.1%}  ${usd:.3f}")

# %%
result.plot()

# %% [md]
# **Strategies** on the same requests, under the same luck:

# %%
found = compare(
    trace, fleet, strategies=["composite", "cost", "latency", "round_robin"], repeats=3
)
found

# %% [md]
# **The dial**: what is a second of a user's time worth? `v` is in USD a second.

# %%
dial = sweep(trace, fleet, v=[0, 1e-5, 1e-4, 1e-3, 1e-2])
print(dial)
print("cheapest with 95 % of the answers within 6 s:", dial.best(p95=6))

# %%
dial.plot()
