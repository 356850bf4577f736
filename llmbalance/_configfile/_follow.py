"""A router follows its file without being told: by looking at it, or by a signal.

    every second   time, size, place of each file as when it was read?    nothing
                        no, and still the same a moment later ──▶ router.reload()
    a signal       ──▶ router.reload(), whatever the files look like

Looking works wherever files do (mounted, replaced, edited), which being notified does
not. A file that is half written is mostly not yet still; if it is read all the same, it
is wrong, changes nothing, is told as a ReloadEvent and read again when it is whole. The
thread keeps no router alive and ends with it.
"""

from __future__ import annotations

import logging
import queue
import signal
import threading
import weakref
from typing import TYPE_CHECKING, Any

from .._errors import ConfigError

if TYPE_CHECKING:
    from .._router_operation import Operation
    from ._reload import Source

_log = logging.getLogger("llmbalance")

_INTERVAL = 1.0  # seconds between looks
_SETTLE = 0.2  # seconds for which a changed file must stay as it is
_STOP, _READ = "stop", "read"


class Follower:
    """Has a router read its file again; made by ``Router.from_file(watch=True)``."""

    def __init__(self, router: Operation, source: Source) -> None:
        self._router, self._source = weakref.ref(router), source
        # Its put is safe in a signal handler, which an Event's set is not.
        self._orders: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._looks = False
        self._handlers: dict[int, tuple[Any, Any]] = {}  # ours, the one before
        weakref.finalize(router, self.close)

    def look(self) -> None:
        """Begin to look at the files."""
        if not self._source.files:
            raise ConfigError("watch", True, "give a path: a dict does not change")
        self._looks = True
        self._start()

    def on_signal(self, number: int) -> None:
        """Read the file again whenever this signal comes."""
        if not self._source.files:
            raise ConfigError("signal", number, "give a path: a dict does not change")
        orders = self._orders

        def handler(number: int, frame: Any) -> None:
            orders.put(_READ)

        try:
            before = signal.signal(number, handler)
        except (ValueError, OSError, TypeError) as error:
            remedy = f"call it from the main thread, with a signal's number ({error})"
            raise ConfigError("signal", number, remedy) from None
        first = self._handlers.get(number, (None, before))[1]
        self._handlers[number] = (handler, first)
        self._start()

    def close(self) -> None:
        """End, and give the signals back if this is the thread that may."""
        self._orders.put(_STOP)
        if threading.current_thread() is not threading.main_thread():
            return
        for number, (ours, before) in self._handlers.items():
            if signal.getsignal(number) is ours:
                signal.signal(number, signal.SIG_DFL if before is None else before)
        self._handlers.clear()

    def _start(self) -> None:
        if self._thread is not None:
            self._orders.put(_STOP)  # that one may wait without an end
        self._thread = threading.Thread(
            target=_follow,
            args=(
                self._router,
                self._source,
                self._orders,
                self._looks,
                self._thread,
            ),
            name="llmbalance-follow",
            daemon=True,
        )
        self._thread.start()


def _follow(
    known: weakref.ref[Operation],
    source: Source,
    orders: queue.SimpleQueue[str],
    looks: bool,
    former: threading.Thread | None,
) -> None:
    """The thread: obey orders, look at the files between them."""
    if former is not None:
        former.join()
    seen = None  # how changed files stood at the last look
    while True:
        pause = None if not looks else _INTERVAL if seen is None else _SETTLE
        try:
            order = orders.get(timeout=pause)
        except queue.Empty:
            order = ""
        if order == _STOP:
            return
        router = known()
        if router is None:
            return
        changed = source.changed() if order != _READ else None
        if order == _READ or (changed is not None and changed == seen):
            _reload(router, source)
            changed = None
        seen = changed
        del router  # or the pause would keep it alive


def _reload(router: Operation, source: Source) -> None:
    try:
        source.reload(router)
    except (ConfigError, OSError):
        pass  # told as an event and in the log
    except Exception:
        _log.exception("the configuration could not be read again")
