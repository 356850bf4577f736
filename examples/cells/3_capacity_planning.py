# ruff: noqa: B018
# %% [md]
# # 3. Capacity planning: how many accounts for 5,000 requests a minute?
#
# An account may send 500 requests and 600,000 tokens a minute. On average ten would do;
# traffic comes in bursts, so the question is how many more.

# %%
from llmbalance import Backend, Limits, Price
from llmbalance.simulate import Fleet, Service, Trace, run

trace = Trace.bursty(
    rate=5000 / 60, seconds=900, cv=2, seed=1, input=(500, 0.8), output=(120, 0.6)
)
trace.to_dict()

# %%
LIMITS = Limits(rpm=500, tpm=600_000)


def accounts(n: int) -> Fleet:
    return Fleet(
        [
            Backend(
                "openai_compatible/model",
                name=f"account {k}",
                limits=LIMITS,
                price=Price(0.5, 1.5),
            )
            for k in range(n)
        ],
        services={"*": Service(ttft=0.4, token=0.01)},
    )


rows = []
for n in (8, 9, 10, 11, 12, 14):
    told = run(trace, accounts(n), strategy="least_busy", timeout=30).to_dict()
    rows.append((n, told["success"], told["p95"], told["waited"] / told["requests"]))
print("accounts  success     p95 s  mean wait s")
for n, success, p95, waited in rows:
    print(f"{n:8}  {success:7.2%}  {p95:8.2f}  {waited:11.2f}")

# %% [md]
# The smallest number that answers everything, with nobody waiting long:

# %%
enough = next(n for n, success, p95, _ in rows if success > 0.9999 and p95 < 5)
enough

# %% [md]
# The picture of headroom shows how close to its limits every account came.

# %%
run(trace, accounts(enough), strategy="least_busy", timeout=30).plot()
