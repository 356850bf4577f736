"""A router's calls in LiteLLM's words: moving here is one import.

    await router.acompletion("gpt-4o", messages, num_retries=2)    chat
    await router.aembedding("small", ["a", "b"])                   embed
    completion, embedding                                          the same, blocking

What LiteLLM has and this router does not is refused, or where it changes nothing named
in ``reply.warnings``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._call._options import Inputs, Messages
    from ._fleet._fleet import Fleet
    from ._litellm._call import Ways


class OtherWords:
    """What a Router answers to beside its own names."""

    _fleet: Fleet
    _ways: Ways | None  # what LiteLLM's file says of calls

    async def acompletion(
        self, model: str, messages: Messages, *, stream: bool = False, **options: Any
    ) -> Any:
        """As ``chat``, with LiteLLM's parameter names: a ChatReply, or a stream."""
        from ._litellm._call import warn

        model, chosen, told = self._in_our_words(model, options)
        router: Any = self
        return warn(await router.chat(model, messages, stream=stream, **chosen), told)

    def completion(
        self, model: str, messages: Messages, *, stream: bool = False, **options: Any
    ) -> Any:
        """As ``acompletion``, for code without an event loop."""
        from ._litellm._call import warn

        model, chosen, told = self._in_our_words(model, options)
        sync: Any = self.sync  # type: ignore[attr-defined]
        return warn(sync.chat(model, messages, stream=stream, **chosen), told)

    async def aembedding(self, model: str, input: Inputs, **options: Any) -> Any:
        """As ``embed``, with LiteLLM's parameter names: an EmbeddingReply."""
        from ._litellm._call import warn

        model, chosen, told = self._in_our_words(model, options)
        router: Any = self
        return warn(await router.embed(model, input, **chosen), told)

    def embedding(self, model: str, input: Inputs, **options: Any) -> Any:
        """As ``aembedding``, for code without an event loop."""
        from ._litellm._call import warn

        model, chosen, told = self._in_our_words(model, options)
        sync: Any = self.sync  # type: ignore[attr-defined]
        return warn(sync.embed(model, input, **chosen), told)

    def _in_our_words(
        self, model: str, options: dict[str, Any]
    ) -> tuple[str, dict[str, Any], list[str]]:
        from ._litellm._call import chat_options

        chosen, told = chat_options(model, options, self._ways)
        if self._ways is not None:
            model = self._ways.goal(self._fleet.group, model, chosen)
        return model, chosen, told
