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
from collections.abc import Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from .._checks import positive, whole_numbers
from .._errors import ConfigError
from ._columns import check, column_of, gather

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
        self.at = column_of("at", "q", at)
        self.input = column_of("input", "i", input)
        self.output = column_of("output", "i", output)
        self.group = None if group is None else column_of("group", "H", group)
        if isinstance(groups, str) or not groups:
            raise ConfigError("groups", groups, "give a list of names, one at least")
        self.groups = tuple(groups)
        self.most = None if most is None else column_of("most", "i", most)
        self.session = None if session is None else column_of("session", "I", session)
        self.block = None if block is None else column_of("block", "Q", block)
        self.blocks = None if blocks is None else column_of("blocks", "Q", blocks)
        self.block_tokens = block_tokens
        check(self)

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
        """Read a CSV file, plain or gzip; names of columns by keyword.

        ``at`` (s, or ISO times) [at], ``input`` [input], ``output`` [output], and if
        they exist ``group`` [group], ``most`` [max_tokens], ``session`` [session].
        """
        from ._formats import from_csv

        return from_csv(path, **columns)

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> Trace:
        """Read a trace in whatever layout of the below it has: CSV, JSONL or ledger.

        Files compressed by gzip are read as they are, here and below.
        """
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
            positive(name, factor)
        return self._with(
            at=[round(t / rate) for t in self.at],
            input=[max(1, round(n * input)) for n in self.input],
            output=[round(n * output) for n in self.output],
        )

    def resample(self, requests: int, *, seed: int = 0) -> Trace:
        """Draw ``requests`` of them with replacement (bootstrap), in their order."""
        whole_numbers(requests=requests)
        if requests < 1 or not len(self):
            raise ConfigError("requests", requests, "give a number >= 1, of some")
        draw = random.Random(seed)
        return self._take(sorted(draw.choices(range(len(self)), k=requests)))

    def cut(self, start: float = 0.0, end: float = 9e9) -> Trace:
        """Return what arrives in [start, end) seconds; times begin at 0 again."""
        for name, value in (("start", start), ("end", end)):
            positive(name, value, zero=True)
        rows = [i for i, t in enumerate(self.at) if start * _NS <= t < end * _NS]
        part = self._take(rows)
        begin = round(start * _NS)
        return part._with(at=[t - begin for t in part.at])

    def splice(self, other: Trace, at: float = 0.0) -> Trace:
        """Return both together, ``other`` beginning ``at`` seconds after the start.

        Sessions stay apart. Prompt blocks are kept when both have them, and of the
        same size.
        """
        if not isinstance(other, Trace):
            raise ConfigError("other", other, "give a Trace")
        positive("at", at, zero=True)
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
        alike = self.block_tokens == other.block_tokens
        if self.blocks is not None and other.blocks is not None and alike:
            block, blocks = gather([(both[k], i) for _, k, i in rows])
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
        from ._tables import data_frame

        columns: dict[str, Any] = {
            "at": [t / _NS for t in self.at],
            "input": list(self.input),
            "output": list(self.output),
            "group": [self.name_of(i) for i in range(len(self))],
        }
        for name in ("most", "session"):
            if getattr(self, name) is not None:
                columns[name] = list(getattr(self, name))
        return data_frame(columns)

    def __repr__(self) -> str:
        return (
            f"Trace({len(self)} requests in {self.seconds:.0f} s, "
            f"{self.rate:.3g} a second)"
        )

    def _take(self, rows: Sequence[int]) -> Trace:
        block, blocks = None, None
        if self.blocks is not None:
            block, blocks = gather([(self, i) for i in rows])
        picked = {
            name: [column[i] for i in rows]
            for name in ("at", "input", "output", "group", "most", "session")
            if (column := getattr(self, name)) is not None
        }
        return self._with(**picked, block=block, blocks=blocks)

    def _with(self, **changes: Any) -> Trace:
        fields = {name: getattr(self, name) for name in self.__slots__} | changes
        return Trace(**fields)
