"""What comes in: requests over time, as columns.

    Trace   at      0 ns   1.2e9   1.9e9  ...     when each request arrives
            input   812    40      5031           prompt tokens
            output  120    7       340            tokens of the answer
            group   0      0       1              index of `groups`
            and where known: max_tokens, session, prompt blocks

A trace is a value: every operation returns a new one. Times begin at 0.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from .._errors import ConfigError

if TYPE_CHECKING:
    from ._arrivals import Lengths

ANY = "*"  # the group of all backends, when a trace names none
_NS = 1_000_000_000


class Trace:
    """Requests in the order of their arrival.

    ``at``: ns since the start, ascending; ``input``, ``output``: tokens; ``group``:
    index into ``groups`` for each request (None: all are of groups[0]); ``most``:
    max_tokens, 0 not given; ``session``: number of the conversation, 0 none;
    ``block``, ``blocks``: hashes of ``block_tokens``-token pieces of the prompts, and
    where each prompt's begin. All are arrays of machine numbers (buffers).
    Raises ConfigError for columns of different length or values out of range.
    """

    __slots__ = (
        *("at", "block", "block_tokens", "blocks", "group", "groups", "input"),
        *("most", "output", "session"),
    )

    def __init__(
        self,
        at: Iterable[int],
        input: Iterable[int],
        output: Iterable[int],
        *,
        group: Iterable[int] | None = None,
        groups: Sequence[str] = (ANY,),
        most: Iterable[int] | None = None,
        session: Iterable[int] | None = None,
        block: Iterable[int] | None = None,
        blocks: Iterable[int] | None = None,
        block_tokens: int = 512,
    ) -> None:
        self.at = _column("at", "q", at)
        self.input = _column("input", "i", input)
        self.output = _column("output", "i", output)
        self.group = None if group is None else _column("group", "H", group)
        self.groups = tuple(groups)
        self.most = None if most is None else _column("most", "i", most)
        self.session = None if session is None else _column("session", "I", session)
        self.block = None if block is None else _column("block", "Q", block)
        self.blocks = None if blocks is None else _column("blocks", "Q", blocks)
        self.block_tokens = block_tokens
        self._check()

    def _check(self) -> None:
        n = len(self.at)
        for name in ("input", "output", "group", "most", "session"):
            column = getattr(self, name)
            if column is not None and len(column) != n:
                raise ConfigError(name, len(column), f"`at` has {n} requests")
        if not n:
            return
        if self.at[0] < 0 or any(a > b for a, b in zip(self.at, self.at[1:])):  # noqa: B905
            raise ConfigError("at", self.at[0], "times must ascend from 0 (ns)")
        if min(self.input) < 1 or min(self.output) < 0:
            raise ConfigError("input", min(self.input), "give tokens >= 1, output >= 0")
        if self.group is not None and max(self.group) >= len(self.groups):
            raise ConfigError("group", max(self.group), "an index of `groups`")
        if (self.block is None) != (self.blocks is None) or (
            self.blocks is not None and len(self.blocks) != n + 1
        ):
            raise ConfigError("blocks", None, "give `block` with n + 1 offsets")

    # -- where traces come from ----------------------------------------------

    @classmethod
    def poisson(
        cls,
        rate: float,
        seconds: float,
        *,
        seed: int = 0,
        input: Lengths = (800, 1.0),
        output: Lengths = (150, 0.8),
        group: str = ANY,
        turns: float = 1.0,
        think: float = 20.0,
    ) -> Trace:
        """Independent arrivals: ``rate`` requests a second for ``seconds``.

        ``input``, ``output``: a number of tokens, or (median, sigma of the logarithm).
        ``turns`` > 1: conversations of so many requests on average, each ``think``
        seconds (exponential) after the one before, with all of it as its prompt.
        """
        from ._arrivals import poisson

        return poisson(rate, seconds, seed, input, output, group, turns, think)

    @classmethod
    def bursty(
        cls,
        rate: float,
        seconds: float,
        *,
        cv: float = 3.0,
        shape: str = "gamma",
        seed: int = 0,
        input: Lengths = (800, 1.0),
        output: Lengths = (150, 0.8),
        group: str = ANY,
    ) -> Trace:
        """Arrivals in bursts: gaps with standard deviation ``cv`` times their mean.

        ``shape`` of their distribution: "gamma" or "weibull"; cv 1 is Poisson. Clients
        of public traces have a median of 1.2 and a 90 % quantile of 6.
        """
        from ._arrivals import bursty

        return bursty(rate, seconds, cv, shape, seed, input, output, group)

    @classmethod
    def daily(
        cls,
        rate: float,
        days: float = 1.0,
        *,
        swing: float = 0.7,
        peak: float = 15.0,
        seed: int = 0,
        input: Lengths = (800, 1.0),
        output: Lengths = (150, 0.8),
        group: str = ANY,
    ) -> Trace:
        """Poisson arrivals whose rate follows the day: rate * (1 + swing * cos).

        ``rate``: requests a second on average; ``swing`` 0..1; ``peak``: hour of the
        day (0..24) with the most of them.
        """
        from ._arrivals import daily

        return daily(rate, days, swing, peak, seed, input, output, group)

    @classmethod
    def from_csv(cls, path: str | PathLike[str], **columns: str) -> Trace:
        """Read a CSV file; names of columns by keyword.

        ``at`` (s, or ISO times) [at], ``input`` [input], ``output`` [output], and if
        they exist ``group`` [group], ``most`` [max_tokens], ``session`` [session].
        """
        from ._formats import from_csv

        return from_csv(path, **columns)

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> Trace:
        """Read a trace in whatever layout of the below it has: CSV, JSONL or ledger."""
        from ._formats import from_file

        return from_file(path)

    @classmethod
    def from_azure(cls, path: str | PathLike[str]) -> Trace:
        """Read the layout of the Azure LLM inference traces.

        TIMESTAMP, ContextTokens, GeneratedTokens.
        """
        from ._formats import from_csv

        return from_csv(
            path, at="TIMESTAMP", input="ContextTokens", output="GeneratedTokens"
        )

    @classmethod
    def from_mooncake(cls, path: str | PathLike[str]) -> Trace:
        """Read the layout of the Mooncake traces: JSON lines.

        timestamp (ms), input_length, output_length, hash_ids (512-token blocks). The
        second block of a prompt, the first beyond the common system prompt, names its
        session.
        """
        from ._formats import from_mooncake

        return from_mooncake(path)

    @classmethod
    def from_servegen(
        cls,
        path: str | PathLike[str],
        column: str,
        *,
        scale: float = 1.0,
        seconds: float | None = None,
        seed: int = 0,
        input: Lengths = (500, 1.2),
        output: Lengths = (250, 1.0),
        group: str = ANY,
    ) -> Trace:
        """Draw arrivals from rates over time, as ServeGen publishes them.

        The CSV has ``t_s`` and a ``column`` of requests a second; ``scale`` multiplies
        them, ``seconds`` cuts the end off.
        """
        from ._formats import from_servegen

        return from_servegen(path, column, scale, seconds, seed, input, output, group)

    @classmethod
    def from_ledger(
        cls, path: str | PathLike[str], *, since: float = 0.0, until: float = 9e15
    ) -> Trace:
        """Read one's own traffic from the ledger: the last attempt of every call.

        ``since``, ``until``: epoch seconds. Answers that failed keep their prompt.
        """
        from ._formats import from_ledger

        return from_ledger(path, since, until)

    # -- a trace as a value ---------------------------------------------------

    def __len__(self) -> int:
        return len(self.at)

    @property
    def seconds(self) -> float:
        """Time of the last arrival, s."""
        return self.at[-1] / _NS if len(self.at) else 0.0

    @property
    def rate(self) -> float:
        """Requests a second on average."""
        return len(self) / self.seconds if self.seconds > 0 else 0.0

    def scale(
        self, rate: float = 1.0, *, input: float = 1.0, output: float = 1.0
    ) -> Trace:
        """Return the requests ``rate`` times as fast, with longer or shorter texts.

        Times are divided by ``rate``; tokens are multiplied and rounded.
        """
        for name, factor in (("rate", rate), ("input", input), ("output", output)):
            if not factor > 0:
                raise ConfigError(name, factor, "give a factor > 0")
        return self._with(
            at=[round(t / rate) for t in self.at],
            input=[max(1, round(n * input)) for n in self.input],
            output=[round(n * output) for n in self.output],
        )

    def resample(self, requests: int, *, seed: int = 0) -> Trace:
        """Draw ``requests`` of them with replacement (bootstrap), in their order."""
        if requests < 1 or not len(self):
            raise ConfigError("requests", requests, "give a number >= 1, of some")
        draw = random.Random(seed)
        return self._take(sorted(draw.choices(range(len(self)), k=requests)))

    def cut(self, start: float = 0.0, end: float = 9e9) -> Trace:
        """Return what arrives in [start, end) seconds; times begin at 0 again."""
        rows = [i for i, t in enumerate(self.at) if start * _NS <= t < end * _NS]
        part = self._take(rows)
        begin = round(start * _NS)
        return part._with(at=[t - begin for t in part.at])

    def splice(self, other: Trace, at: float = 0.0) -> Trace:
        """Return both together, ``other`` beginning ``at`` seconds after the start.

        Sessions stay apart. Prompt blocks are kept when both have them.
        """
        groups = list(dict.fromkeys((*self.groups, *other.groups)))
        shift = round(at * _NS)
        rows = [(t, 0, i) for i, t in enumerate(self.at)]
        rows += [(t + shift, 1, i) for i, t in enumerate(other.at)]
        rows.sort()
        both = (self, other)
        first = max(self.session, default=0) if self.session is not None else 0

        def column(name: str) -> list[int] | None:
            found = [getattr(part, name) for part in both]
            if found == [None, None]:
                return None
            return [found[k][i] if found[k] is not None else 0 for _, k, i in rows]

        sessions = column("session")
        if sessions is not None:
            sessions = [
                s + first if k and s else s
                for s, (_, k, _) in zip(sessions, rows, strict=True)
            ]
        block, blocks = None, None
        if self.blocks is not None and other.blocks is not None:
            block, blocks = _gather([(both[k], i) for _, k, i in rows])
        return Trace(
            [t for t, _, _ in rows],
            [both[k].input[i] for _, k, i in rows],
            [both[k].output[i] for _, k, i in rows],
            group=[groups.index(both[k].name_of(i)) for _, k, i in rows],
            groups=groups,
            most=column("most"),
            session=sessions,
            block=block,
            blocks=blocks,
            block_tokens=self.block_tokens,
        )

    def in_group(self, name: str) -> Trace:
        """Return the same requests, all asking for the group ``name``."""
        return self._with(group=None, groups=(name,))

    def name_of(self, index: int) -> str:
        """Return the name of the group request ``index`` asks for."""
        return self.groups[self.group[index] if self.group is not None else 0]

    def to_dict(self) -> dict[str, Any]:
        """Return size, duration (s), rate (1/s), mean and 99 % quantile of tokens."""
        if not len(self):
            return {"requests": 0}
        rank = int(0.99 * (len(self) - 1))
        return {
            "requests": len(self),
            "seconds": self.seconds,
            "rate": self.rate,
            "input_mean": sum(self.input) / len(self),
            "input_p99": sorted(self.input)[rank],
            "output_mean": sum(self.output) / len(self),
            "output_p99": sorted(self.output)[rank],
            "groups": list(self.groups),
            "sessions": len(set(self.session) - {0}) if self.session is not None else 0,
        }

    def to_pandas(self) -> Any:
        """Return the columns as a DataFrame (needs the ``notebook`` extra)."""
        import pandas

        columns: dict[str, Any] = {
            "at": [t / _NS for t in self.at],
            "input": list(self.input),
            "output": list(self.output),
            "group": [self.name_of(i) for i in range(len(self))],
        }
        for name in ("most", "session"):
            if getattr(self, name) is not None:
                columns[name] = list(getattr(self, name))
        return pandas.DataFrame(columns)

    def __repr__(self) -> str:
        return (
            f"Trace({len(self)} requests in {self.seconds:.0f} s, "
            f"{self.rate:.3g} a second)"
        )

    def _take(self, rows: Sequence[int]) -> Trace:
        block, blocks = None, None
        if self.blocks is not None:
            block, blocks = _gather([(self, i) for i in rows])
        picked = {
            name: [column[i] for i in rows]
            for name in ("at", "input", "output", "group", "most", "session")
            if (column := getattr(self, name)) is not None
        }
        return self._with(**picked, block=block, blocks=blocks)

    def _with(self, **changes: Any) -> Trace:
        fields = {name: getattr(self, name) for name in self.__slots__} | changes
        return Trace(**fields)


def _column(name: str, code: str, values: Iterable[int]) -> array[int]:
    if isinstance(values, array) and values.typecode == code:
        return values
    try:
        return array(code, values)
    except (OverflowError, TypeError) as error:
        raise ConfigError(name, "(a column)", f"whole numbers: {error}") from None


def _gather(rows: list[tuple[Trace, int]]) -> tuple[array[int], array[int]]:
    """The prompt blocks of some requests, and their offsets."""
    block, blocks = array("Q"), array("Q", [0])
    for trace, i in rows:
        assert trace.block is not None and trace.blocks is not None
        block += trace.block[trace.blocks[i] : trace.blocks[i + 1]]
        blocks.append(len(block))
    return block, blocks
