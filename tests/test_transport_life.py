"""The I/O thread's life: fork, exit, stop, other loops, and what it costs to stand by.

Each case runs in an interpreter of its own, since it may end badly.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import FaultServer, Peer, chunk, head, reply

HERE = Path(__file__).parent

PRELUDE = """
import asyncio, gc, os, signal, sys, threading, time
from llmbalance._core import Origin, Port, engine_stats, engine_stop
from llmbalance._transport import Transport
URL = sys.argv[1]
LIMITS = (5.0, 5.0, 5.0, 5.0, 10.0)
NO_LIMITS = (0.0, 0.0, 0.0, 0.0, 0.0)
origin = Origin(URL)
transport = Transport()
def get(target="/echo", body=b"x"):
    r = transport.send_blocking(origin, "POST", target, None, body, LIMITS)
    assert r.error is None, (r.error, r.detail)
    return r
"""


def endless(peer: Peer) -> None:
    peer.send(head(chunked=True))
    while not peer.stopped.wait(0.005):
        peer.send(chunk(b"data: x\n\n"))


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.on("/echo", lambda peer: peer.send(reply(peer.request.body)))
        server.on("/hang", lambda peer: "hang")
        server.on("/endless", endless)
        yield server


def run(server: FaultServer, script: str, *, flags: tuple[str, ...] = ()) -> str:
    """What the script prints; it must end well, soon, and silently on stderr."""
    paths = [path for path in sys.path if path]
    done = subprocess.run(
        [sys.executable, *flags, "-c", PRELUDE + textwrap.dedent(script), server.url],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *paths])},
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_importing_starts_no_thread(server: FaultServer) -> None:
    out = run(server, "print(engine_stats()['threads'], threading.active_count())")
    assert out == "0 1\n"


def test_the_process_ends_with_requests_in_flight(server: FaultServer) -> None:
    run(
        server,
        """
        port = Port()
        for i in range(50):
            port.submit(i, origin, "GET", "/hang", None, None, NO_LIMITS)
            port.submit(i, origin, "GET", "/endless", None, None, NO_LIMITS, 1)
        time.sleep(0.2)
        assert engine_stats()["in_flight"] == 100
        """,
    )


def test_the_process_ends_with_tasks_and_threads_waiting(server: FaultServer) -> None:
    run(
        server,
        """
        threading.Thread(
            target=lambda: transport.send_blocking(
                origin, "GET", "/hang", None, None, NO_LIMITS
            ),
            daemon=True,
        ).start()
        async def main():
            task = asyncio.create_task(
                transport.send(origin, "GET", "/hang", None, None, NO_LIMITS)
            )
            await asyncio.sleep(0.2)
        asyncio.run(main())
        """,
    )


def test_a_forked_child_starts_afresh_and_the_parent_goes_on(
    server: FaultServer,
) -> None:
    out = run(
        server,
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        get()
        port = Port()
        port.submit("parent", origin, "GET", "/hang", None, None, NO_LIMITS)
        pids = []
        for n in range(8):
            pid = os.fork()
            if pid == 0:
                assert engine_stats()["threads"] == 0
                assert not port.wait(0) and port.drain() == []
                first, second = get(body=b"child"), get(body=b"child")
                assert (first.body, first.reused) == (b"child", False)
                assert second.reused
                async def main():
                    return await transport.send(
                        origin, "POST", "/echo", None, b"loop", LIMITS
                    )
                assert asyncio.run(main()).body == b"loop"
                s = engine_stats()
                assert (s["threads"], s["in_flight"]) == (1, 0), s
                engine_stop(2.0)
                os._exit(0)
            pids.append(pid)
        assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
        get()
        r = get(body=b"parent")
        assert r.reused and r.body == b"parent"
        assert engine_stats()["in_flight"] == 1
        print("well")
        """,
    )
    assert out == "well\n"


def test_forks_under_load_disturb_nobody(server: FaultServer) -> None:
    out = run(
        server,
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        wrong, stop = [], threading.Event()
        def load(n):
            i = 0
            while not stop.is_set():
                body = b"%d-%d" % (n, i)
                if get(body=body).body != body:
                    wrong.append(body)
                i += 1
        threads = [threading.Thread(target=load, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for n in range(30):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                os._exit(0 if get(body=b"child").body == b"child" else 1)
            assert os.waitpid(pid, 0)[1] == 0
        stop.set()
        for thread in threads:
            thread.join()
        print(wrong)
        """,
    )
    assert out == "[]\n"


def test_a_connection_the_parent_closes_is_closed_though_a_child_lives(
    server: FaultServer,
) -> None:
    script = """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        get()
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            time.sleep(3)
            os._exit(0)
        assert engine_stop(2.0)
        for _ in range(100):
            time.sleep(0.01)
        print("done", flush=True)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    """
    assert run(server, script) == "done\n"
    assert server.closed == server.connections == 1


def test_multiprocessing_children_can_call(server: FaultServer) -> None:
    out = run(
        server,
        """
        import multiprocessing, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        def work(n):
            return get(body=b"%d" % n).body
        get()
        with multiprocessing.get_context("fork").Pool(3) as pool:
            print(pool.map(work, range(6)))
        """,
    )
    assert out == str([b"%d" % n for n in range(6)]) + "\n"


def test_stopping_ends_requests_and_the_next_one_starts_again(
    server: FaultServer,
) -> None:
    run(
        server,
        """
        for turn in range(3):
            port = Port()
            for i in range(10):
                port.submit(i, origin, "GET", "/hang", None, None, NO_LIMITS)
            assert engine_stop(2.0)
            got = []
            while len(got) < 10:
                assert port.wait(5)
                got += port.drain()
            assert all(r.error == "engine" for _, r in got)
            s = engine_stats()
            assert (s["threads"], s["connections"], s["origins"]) == (0, 0, 0), s
            assert get().body == b"x"
        """,
    )


def test_an_interrupt_ends_a_blocking_call(server: FaultServer) -> None:
    run(
        server,
        """
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            transport.send_blocking(origin, "GET", "/hang", None, None, NO_LIMITS)
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("not interrupted")
        for _ in range(100):
            if engine_stats()["in_flight"] == 0:
                break
            time.sleep(0.01)
        assert engine_stats()["in_flight"] == 0
        """,
    )


@pytest.mark.skipif(
    importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed"
)
def test_uvloop_works_like_the_loop_of_asyncio(server: FaultServer) -> None:
    run(
        server,
        """
        import uvloop
        async def main():
            replies = await asyncio.gather(*[
                transport.send(origin, "POST", "/echo", None, b"%d" % i, LIMITS)
                for i in range(50)
            ])
            assert [r.body for r in replies] == [b"%d" % i for i in range(50)]
            stream = await transport.stream(
                origin, "GET", "/endless", None, None, NO_LIMITS
            )
            async for _ in stream:
                break
            assert (await stream.aclose()).error == "cancelled"
        for _ in range(3):
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main())
        """,
    )


def test_nothing_leaks_over_many_loops_ports_and_origins(server: FaultServer) -> None:
    run(
        server,
        """
        def descriptors():
            return len(os.listdir("/proc/self/fd"))
        async def main(mine):
            await asyncio.gather(*[
                transport.send(mine, "POST", "/echo", None, b"x" * 500, LIMITS)
                for i in range(5)
            ])
            stream = await transport.stream(
                mine, "GET", "/endless", None, None, NO_LIMITS
            )
            async for _ in stream:
                break
        def rounds(n):
            for _ in range(n):
                asyncio.run(main(Origin(URL, headers=["A: " + "b" * 1000])))
                gc.collect()
            for _ in range(200):
                s = engine_stats()
                if s["origins"] == s["in_flight"] == s["connections"] == 0:
                    return
                time.sleep(0.01)
            raise AssertionError(s)
        def memory():
            with open("/proc/self/statm") as f:
                return int(f.read().split()[1]) * 4096
        if os.path.isdir("/proc/self/fd"):
            rounds(60)
            fds, bytes_before = descriptors(), memory()
            rounds(60)
            assert descriptors() <= fds, (fds, descriptors())
            assert memory() - bytes_before < 1 << 20, memory() - bytes_before
        """,
    )


def test_standing_by_costs_no_cpu(server: FaultServer) -> None:
    run(
        server,
        """
        port = Port()
        for i in range(20):
            get()
            port.submit(i, origin, "GET", "/hang", None, None, NO_LIMITS)
        time.sleep(0.1)
        before = time.process_time()
        time.sleep(1.0)
        spent = time.process_time() - before
        assert spent < 0.05, spent
        """,
    )
