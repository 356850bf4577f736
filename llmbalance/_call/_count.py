"""How many tokens a prompt has: asked of a provider that counts for nothing, or
estimated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._errors import ProviderError
from .._fleet._health import key_lines
from .._fleet._tokens import estimate_tokens

if TYPE_CHECKING:
    from .._fleet._target import Target
    from .._transport import Transport
    from ._run import Run

_PATIENCE = 10.0  # seconds


class TokenCount(int):
    """Tokens of a prompt, >= 0; ``exact`` if ``backend`` counted them itself."""

    exact: bool
    backend: str

    def __new__(cls, value: int, backend: str, exact: bool) -> TokenCount:
        self = super().__new__(cls, value)
        self.exact, self.backend = exact, backend
        return self

    def __repr__(self) -> str:
        how = "exact" if self.exact else "estimated"
        return f"TokenCount({int(self)}, {self.backend!r}, {how})"


async def count(run: Run, transport: Transport) -> TokenCount:
    """Count the prompt of a call for the first backend that may serve it.

    The ones that count are asked in the order they were given; when there is none, or
    none answers, the tokens are estimated for the first.
    """
    targets = run.targets()
    for target in targets:
        found = await _ask(target, run, transport)
        if found is not None:
            return TokenCount(found, target.name, True)
    first, call = targets[0], run.call
    messages: Any = call.messages
    tools = call.params.get("tools")
    guess = estimate_tokens(messages, first.backend.model, tools=tools)
    return TokenCount(guess, first.name, False)


async def _ask(target: Target, run: Run, transport: Transport) -> int | None:
    request = target.dialect.count_tokens(run.call)
    if request is None:
        return None
    try:
        key = await key_lines(target.dialect)
    except ProviderError:
        return None
    response = await transport.send(
        target.origin,
        request.method,
        request.target,
        request.headers + key,
        request.body,
        (_PATIENCE, _PATIENCE, 0.0, _PATIENCE, _PATIENCE),
    )
    if response.error is not None or not 200 <= response.status < 300:
        return None
    try:
        return target.dialect.counted_tokens(response.body)
    except ProviderError:
        return None
