"""What a call asks for: its options, read into the core's terms or refused.

A call's keyword arguments are OpenAI's parameters, which go to the model, and routing
options, which decide where it goes. Whatever is neither is refused by name, before
anything is sent.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from .._checks import MOST_SECONDS, MOST_USD, check_strategy
from .._config import ABILITIES, Timeouts
from .._errors import ConfigError, InvalidRequestError
from .._fleet._names import ANY_TAG
from .._fleet._parameters import PARAMETERS
from ._routing import Options

if TYPE_CHECKING:
    from .._fleet._fleet import Fleet

Messages = Sequence[Mapping[str, Any] | Any]
Inputs = str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]]

_TOOLS = 1 << ABILITIES.index("tools")
_JSON = 1 << ABILITIES.index("json")
_NO_LIST = (str, bytes, Mapping)
_LISTS = (list, tuple, set, frozenset)


def read_options(
    fleet: Fleet, routing: Options, options: Mapping[str, Any], model: str
) -> dict[str, Any]:
    """Take the routing options out of ``options``; the rest goes to the model."""
    params: dict[str, Any] = {}
    for name, value in options.items():
        try:
            reader = _READERS[name]
        except KeyError:
            _refuse(name, value)
        if value is None:
            continue
        if reader is None:
            params[name] = value
        else:
            reader(fleet, routing, value, model)
    limit = params.get("max_tokens", params.get("max_completion_tokens"))
    if limit is not None:
        if not isinstance(limit, int) or isinstance(limit, bool) or limit <= 0:
            raise InvalidRequestError("max_tokens", limit, "give a whole number > 0")
        routing.max_tokens = limit
    if params.get("tools"):
        routing.needs |= _TOOLS
    if params.get("response_format") is not None:
        _structure(routing, params, params["response_format"])
    if params.get("user") is not None:
        routing.user = str(params["user"])
    if fleet.call_budgets:
        choose_budgets(fleet, routing)
    return params


def _refuse(name: str, value: Any) -> NoReturn:
    near = difflib.get_close_matches(name, _READERS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    remedy = f"{hint}put what only one provider knows in extra_body"
    raise InvalidRequestError(name, value, remedy) from None


def _structure(routing: Options, params: dict[str, Any], asked: Any) -> None:
    """An answer in JSON needs who can give it; a type becomes its schema."""
    if not isinstance(asked, Mapping | str):
        from ..providers._structured import response_format

        params["response_format"] = response_format(asked)
        routing.wanted = asked
    elif asked == "text" or (
        isinstance(asked, Mapping) and asked.get("type") == "text"
    ):
        return
    routing.needs |= _JSON


def as_messages(prompt: str) -> list[dict[str, Any]]:
    """Return a prompt as a conversation of one message."""
    if not isinstance(prompt, str) or not prompt:
        raise InvalidRequestError("prompt", prompt, "give a text that is not empty")
    return [{"role": "user", "content": prompt}]


def checked_messages(messages: Any) -> list[Any]:
    """Return messages as a list of dicts; replies of earlier turns are welcome."""
    if (type(messages) is not list and isinstance(messages, _NO_LIST)) or not messages:
        raise InvalidRequestError(
            "messages",
            messages,
            'give a list such as [{"role": "user", "content": ...}]',
        )
    for message in messages:
        if type(message) is not dict:
            break
    else:
        return messages if type(messages) is list else list(messages)
    return [_as_dict(i, message) for i, message in enumerate(messages)]


def _as_dict(index: int, message: Any) -> dict[str, Any]:
    if isinstance(message, Mapping):
        return dict(message)
    if isinstance(message, msgspec.Struct):
        plain: dict[str, Any] = msgspec.to_builtins(message)
        return plain
    dump = getattr(message, "model_dump", None)
    if dump is None:
        raise InvalidRequestError(
            f"messages[{index}]", message, 'give a dict with "role" and "content"'
        )
    return dict(dump(exclude_none=True))


# -- routing options: how each is read into the core's terms ---------------------


def _money(_: Fleet, o: Options, value: Any, model: str) -> None:
    _number("max_cost", value, zero=True)
    o.max_cost = round(value * 1e9)


def _latency(_: Fleet, o: Options, value: Any, model: str) -> None:
    _number("max_latency", value, most=MOST_SECONDS)
    o.max_latency = float(value)


def _timeout(_: Fleet, o: Options, value: Any, model: str) -> None:
    _number("timeout", value, most=MOST_SECONDS)
    o.timeout = float(value)


def _timeouts(_: Fleet, o: Options, value: Any, model: str) -> None:
    if not isinstance(value, Timeouts):
        raise InvalidRequestError("timeouts", value, "give Timeouts(...)")
    o.timeouts = value


def _session(fleet: Fleet, o: Options, value: Any, model: str) -> None:
    if value == "":  # all who have none would be one conversation, on one backend
        raise InvalidRequestError("session", value, "give a name, or None for none")
    o.session = fleet.session_key(model, str(value))


def _tags(fleet: Fleet, o: Options, value: Any, model: str) -> None:
    names: tuple[Any, ...] = tuple(value) if isinstance(value, _LISTS) else (value,)
    bits = 0
    for name in names:
        if not isinstance(name, str):
            remedy = 'give a list such as ["eu", "paid"]'
            raise InvalidRequestError("tags", value, remedy)
        bit = fleet.tags.get(name)
        if bit is not None:
            bits |= bit
        elif "=" not in name and name not in (fleet.call_budgets.get("tag") or ()):
            known = ", ".join((*fleet.tags, *fleet.call_budgets.get("tag", ())))
            raise InvalidRequestError(
                "tags", name, f"no backend or budget has it: {known or 'none'}"
            )
    o.tags = bits | ANY_TAG if bits and o.any_tag else bits
    if len(names) > 1:
        names = tuple(dict.fromkeys(names))
    o.labels = names + o.labels  # behind them those of its experiments


def _any_tag(_: Fleet, o: Options, value: Any, model: str) -> None:
    o.any_tag = _switch("any_tag", value)
    if o.tags and o.any_tag:
        o.tags |= ANY_TAG


def _task(_: Fleet, o: Options, value: Any, model: str) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidRequestError("task", value, 'give a name such as "summarise"')
    o.task = value


def _tuned(_: Fleet, o: Options, value: Any, model: str) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidRequestError("tuned", value, "give the name of a variant")
    o.tuned = value


def choose_budgets(fleet: Fleet, o: Options) -> None:
    """Put a call under the budgets of its tags, its task and its user."""
    found: tuple[int, ...] = ()
    for scope, budgets in fleet.call_budgets.items():
        names = o.labels if scope == "tag" else (getattr(o, scope),)
        for name in names:
            if name in budgets:
                found += tuple(budgets[name])
    if len(found) > _MOST_BUDGETS:
        raise InvalidRequestError(
            "tags", o.labels, f"a call can be under {_MOST_BUDGETS} budgets at most"
        )
    o.budgets = found


def _fallbacks(fleet: Fleet, o: Options, value: Any, model: str) -> None:
    if not isinstance(value, list | tuple):
        remedy = "give a list of group names, [] for none"
        raise InvalidRequestError("fallbacks", value, remedy)
    o.fallbacks = [fleet.group(name, "fallbacks") for name in value]


def _strategy(_: Fleet, o: Options, value: Any, model: str) -> None:
    try:
        o.strategy = check_strategy("strategy", value)
    except ConfigError as error:
        raise InvalidRequestError("strategy", value, error.remedy) from None


def _value(_: Fleet, o: Options, value: Any, model: str) -> None:
    _number("v", value, zero=True)
    o.value = float(value)


def _quality(_: Fleet, o: Options, value: Any, model: str) -> None:
    if type(value) is bool or not isinstance(value, int) or not 0 <= value <= 255:
        raise InvalidRequestError("min_quality", value, "give a whole number 0 to 255")
    o.quality = value


def _priority(_: Fleet, o: Options, value: Any, model: str) -> None:
    if not isinstance(value, int) or not -(2**31) < value < 2**31:
        raise InvalidRequestError(
            "priority", value, "give True, or a whole number: higher waits less"
        )
    o.priority, o.rank = value > 0, int(value)


def _attempts(_: Fleet, o: Options, value: Any, model: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidRequestError("max_attempts", value, "give a whole number > 0")
    o.attempts = value


def _waiting(_: Fleet, o: Options, value: Any, model: str) -> None:
    o.wait = _switch("wait", value)


def _postprocess(_: Fleet, o: Options, value: Any, model: str) -> None:
    if not isinstance(value, bool):
        raise InvalidRequestError(
            "postprocess",
            value,
            "give False for no steps, True for streams too",
        )
    o.postprocess = value


def _hedge(_: Fleet, o: Options, value: Any, model: str) -> None:
    o.hedge = _switch("hedge", value)


def _switch(field: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequestError(field, value, "give True or False")
    return value


def _number(
    field: str, value: Any, *, zero: bool = False, most: float = MOST_USD
) -> None:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not 0 <= value <= most or (value == 0 and not zero):
        remedy = f"give a number {'>=' if zero else '>'} 0, at most {most:g}"
        raise InvalidRequestError(field, value, remedy)


_MOST_BUDGETS = 8  # of tags, task and user; see lb_gate_load.h

_ROUTING = {
    "max_cost": _money,
    "max_latency": _latency,
    "timeout": _timeout,
    "timeouts": _timeouts,
    "session": _session,
    "tags": _tags,
    "any_tag": _any_tag,
    "task": _task,
    "tuned": _tuned,
    "fallbacks": _fallbacks,
    "strategy": _strategy,
    "v": _value,
    "min_quality": _quality,
    "priority": _priority,
    "max_attempts": _attempts,
    "wait": _waiting,
    "hedge": _hedge,
    "postprocess": _postprocess,
}

ROUTING = frozenset(_ROUTING)
# All that a call may say; None: goes to the model as it is.
_READERS = dict.fromkeys(PARAMETERS) | _ROUTING
