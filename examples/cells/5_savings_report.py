# %% [md]
# # 5. A savings report from a ledger
#
# The ledger is one SQLite file with every attempt, its tokens and its cost. Here one
# is written for the occasion; with your own, begin at the next section.

# %%
import random

from llmbalance import Backend, Price
from llmbalance._money._ledger import Entry, Ledger
from llmbalance.simulate import Fleet, Trace, compare, fit_service, run

draw = random.Random(1)
with Ledger("calls.db") as ledger:
    now = 1.77e9
    for number in range(3000):
        now += draw.expovariate(1.0)
        tokens = int(draw.lognormvariate(6.5, 0.9)) + 1
        output = int(draw.lognormvariate(5, 0.7)) + 1
        ttft = 0.5 * draw.lognormvariate(0, 0.3) + tokens * 3e-5
        seconds = ttft + output * 0.014 * draw.lognormvariate(0, 0.1)
        entry = Entry(
            time=now + seconds,
            call_id=str(number),
            group="chat",
            backend="gpt-4o",
            model="gpt-4o",
            tokens={"input": tokens, "output": output},
            cost_nano=2500 * tokens + 10_000 * output,
            latency_s=seconds,
            ttft_s=ttft,
        )
        ledger.record(entry)

# %% [md]
# ## What was spent, and how fast it was

# %%
with Ledger("calls.db") as ledger:
    [total] = ledger.costs("all")
trace = Trace.from_ledger("calls.db")
fit = fit_service("calls.db", backend="gpt-4o")
print(f"{total.usd:.2f} USD, {trace!r}")
print(fit)

# %%
fit.plot()

# %% [md]
# ## What other fleets would have cost
#
# The same calls, at the fitted speed, with cheaper models beside the old one.

# %%
old = Backend("openai/gpt-4o", name="gpt-4o", groups=["chat"], price=Price(2.5, 10))
new = [
    Backend(
        "openai/gpt-4o-mini",
        name="gpt-4o-mini",
        groups=["chat"],
        price=Price(0.15, 0.6),
    ),
    Backend(
        "google/gemini-2.5-flash",
        name="gemini-2.5-flash",
        groups=["chat"],
        price=Price(0.3, 2.5),
    ),
]
services = {"gpt-4o": fit.service}
before = run(trace, Fleet([old], services=services))
found = compare(trace, Fleet([old, *new], services=services), strategies=["composite"])
after = found["composite"]
print(f"then   ${before.cost:8.2f}   p95 {before.p95:.2f} s")
print(f"now    ${after.cost:8.2f}   p95 {after.p95:.2f} s")
print(f"saved  {1 - after.cost / before.cost:.1%}")

# %% [md]
# The simulated "then" can be held against the bill: the same calls at the same price.

# %%
round(before.cost / total.usd, 4)
