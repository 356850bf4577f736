"""llmbalance: client-side load balancing for LLM APIs.

    from llmbalance import Backend, Router

    router = Router([Backend("openai/gpt-4o", groups=["frontier"]), ...])
    reply = await router.chat("frontier", [{"role": "user", "content": "..."}])

Names are loaded when they are first used: importing the package is cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._availability import Availability as Availability
    from ._availability import availability as availability
    from ._config import Backend as Backend
    from ._config import Breaker as Breaker
    from ._config import Budget as Budget
    from ._config import Limit as Limit
    from ._config import Limits as Limits
    from ._config import Timeouts as Timeouts
    from ._configfile._check import CheckReport as CheckReport
    from ._configfile._check import check_config as check_config
    from ._configfile._places import ConfigFileError as ConfigFileError
    from ._configfile._places import Note as Note
    from ._configfile._schema import config_schema as config_schema
    from ._errors import AuthenticationError as AuthenticationError
    from ._errors import BadRequestError as BadRequestError
    from ._errors import BudgetExceededError as BudgetExceededError
    from ._errors import ConfigError as ConfigError
    from ._errors import ConnectError as ConnectError
    from ._errors import ConnectionLostError as ConnectionLostError
    from ._errors import ContentFilterError as ContentFilterError
    from ._errors import ContextLengthError as ContextLengthError
    from ._errors import CostLimitError as CostLimitError
    from ._errors import InvalidRequestError as InvalidRequestError
    from ._errors import LeaseError as LeaseError
    from ._errors import LLMBalanceError as LLMBalanceError
    from ._errors import ModelNotFoundError as ModelNotFoundError
    from ._errors import NoBackendError as NoBackendError
    from ._errors import OverloadedError as OverloadedError
    from ._errors import PermissionDeniedError as PermissionDeniedError
    from ._errors import ProtocolError as ProtocolError
    from ._errors import ProviderError as ProviderError
    from ._errors import QuotaExceededError as QuotaExceededError
    from ._errors import RateLimitedError as RateLimitedError
    from ._errors import RateLimitError as RateLimitError
    from ._errors import RequestTimeoutError as RequestTimeoutError
    from ._errors import ServerError as ServerError
    from ._errors import StreamInterruptedError as StreamInterruptedError
    from ._errors import TLSError as TLSError
    from ._errors import TransportError as TransportError
    from ._errors import UnknownModelError as UnknownModelError
    from ._events import AlertEvent as AlertEvent
    from ._events import AttemptEvent as AttemptEvent
    from ._events import BudgetEvent as BudgetEvent
    from ._events import CallEvent as CallEvent
    from ._events import ReloadEvent as ReloadEvent
    from ._experiments._experiment import Bandit as Bandit
    from ._experiments._experiment import Experiment as Experiment
    from ._experiments._mirror import Mirror as Mirror
    from ._fleet._groups import Group as Group
    from ._fleet._hedge import Hedge as Hedge
    from ._fleet._tokens import estimate_tokens as estimate_tokens
    from ._money._alerts import Anomaly as Anomaly
    from ._money._cost import Cost as Cost
    from ._money._ledger import Ledger as Ledger
    from ._money._prices import PriceTable as PriceTable
    from ._price import Deal as Deal
    from ._price import Price as Price
    from ._router import Router as Router
    from ._tasks._rules import Rule as Rule
    from ._tasks._task import Task as Task
    from ._types import ChatChunk as ChatChunk
    from ._types import ChatReply as ChatReply
    from ._types import EmbeddingReply as EmbeddingReply
    from ._types import Usage as Usage
    from .providers._base import Dialect as Dialect

__version__ = "0.1.0"

_HOME = {
    "_money._alerts": ("Anomaly",),
    "_availability": ("Availability", "availability"),
    "_configfile._check": ("CheckReport", "check_config"),
    "_config": ("Backend", "Breaker", "Budget", "Limit", "Limits", "Timeouts"),
    "_money._cost": ("Cost",),
    "_errors": (
        *("AuthenticationError", "BadRequestError", "BudgetExceededError"),
        *("ConfigError", "ConnectError", "ConnectionLostError", "ContentFilterError"),
        *("ContextLengthError", "CostLimitError", "InvalidRequestError", "LeaseError"),
        *("LLMBalanceError", "ModelNotFoundError", "NoBackendError"),
        *("OverloadedError", "PermissionDeniedError", "ProtocolError"),
        *("ProviderError", "QuotaExceededError", "RateLimitedError", "RateLimitError"),
        *("RequestTimeoutError", "ServerError", "StreamInterruptedError", "TLSError"),
        *("TransportError", "UnknownModelError"),
    ),
    "_money._ledger": ("Ledger",),
    "_configfile._places": ("ConfigFileError", "Note"),
    "_events": (
        *("AlertEvent", "AttemptEvent", "BudgetEvent", "CallEvent", "ReloadEvent"),
    ),
    "_experiments._experiment": ("Bandit", "Experiment"),
    "_experiments._mirror": ("Mirror",),
    "_fleet._groups": ("Group",),
    "_fleet._hedge": ("Hedge",),
    "_price": ("Deal", "Price"),
    "_money._prices": ("PriceTable",),
    "_router": ("Router",),
    "_configfile._schema": ("config_schema",),
    "_tasks._rules": ("Rule",),
    "_tasks._task": ("Task",),
    "_fleet._tokens": ("estimate_tokens",),
    "_types": ("ChatChunk", "ChatReply", "EmbeddingReply", "Usage"),
    "providers._base": ("Dialect",),
}
__all__ = sorted(name for names in _HOME.values() for name in names)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for module, names in _HOME.items():
        if name in names:
            value = getattr(import_module(f".{module}", __name__), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
