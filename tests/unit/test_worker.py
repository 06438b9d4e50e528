"""The threads for blocking work: order, errors, and no burden for whoever leaves."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from components.runtime.worker import Worker, aside


async def test_results_and_errors_come_back() -> None:
    worker = Worker("test")
    assert await worker.run(pow, 2, 5) == 32
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await worker.run(next, iter(()))
    assert await worker.run(lambda: threading.current_thread().name) == "tecmedhub-test"
    worker.close()


async def test_one_works_in_order_and_two_at_the_same_time() -> None:
    one, two = Worker("one"), Worker("two")
    done: list[int] = []
    await asyncio.gather(*(one.run(done.append, number) for number in range(20)))
    assert done == list(range(20))
    both = threading.Barrier(2, timeout=10)
    await asyncio.gather(one.run(both.wait), two.run(both.wait))
    one.close()
    two.close()


async def test_who_gives_up_takes_back_what_has_not_begun() -> None:
    worker = Worker("test")
    go_on = threading.Event()
    ran: list[str] = []
    first = asyncio.ensure_future(worker.run(go_on.wait, 10))
    second = asyncio.ensure_future(worker.run(ran.append, "second"))
    await asyncio.sleep(0)
    second.cancel()
    go_on.set()
    assert await first is True
    assert await worker.run(lambda: list(ran)) == []
    worker.close()
    with pytest.raises(RuntimeError, match="closed"):
        await worker.run(pow, 1, 1)


async def test_its_threads_end_when_it_is_closed() -> None:
    worker = Worker("ending")
    await worker.run(pow, 1, 1)
    (thread,) = [t for t in threading.enumerate() if t.name == "tecmedhub-ending"]
    worker.close()
    thread.join(10)
    assert not thread.is_alive()


def test_work_that_hangs_does_not_hold_up_the_interpreters_exit() -> None:
    code = (
        "import asyncio, threading\n"
        "from components.runtime.worker import Worker\n"
        "async def main():\n"
        "    worker, begun = Worker('test'), threading.Event()\n"
        "    def hang():\n"
        "        begun.set()\n"
        "        threading.Event().wait()\n"
        "    task = asyncio.ensure_future(worker.run(hang))\n"
        "    while not begun.is_set():\n"
        "        await asyncio.sleep(0.01)\n"
        "    task.cancel()\n"
        "    worker.close()\n"
        "asyncio.run(main())\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0


def no_thread(*_args: object) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("refused", ["_thread.start_new_thread", "threading.Thread.start"])
async def test_without_threads_work_fails_and_is_done_once_there_are_some(
    monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    worker = Worker("test")
    with monkeypatch.context() as without:
        without.setattr(refused, no_thread)
        works = [worker.submit(pow, 2, number) for number in range(3)]
        for work in (*works, aside(pow, 2, 5)):
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await asyncio.wait_for(work, 20)
    assert await asyncio.wait_for(worker.run(pow, 2, 5), 20) == 32
    assert await asyncio.wait_for(aside(pow, 2, 5), 20) == 32
    worker.close()


async def test_nobody_waits_until_a_thread_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()

    class Late(threading.Thread):
        def start(self) -> None:
            let_go.wait(20)
            super().start()

    monkeypatch.setattr(threading, "Thread", Late)
    worker = Worker("test")
    tasks = [asyncio.ensure_future(work) for work in (worker.run(pow, 2, 5), aside(pow, 2, 5))]
    await asyncio.sleep(0)  # both have asked for their threads, or would wait here
    assert not any(task.done() for task in tasks)
    let_go.set()
    assert await asyncio.gather(*tasks) == [32, 32]
    worker.close()
