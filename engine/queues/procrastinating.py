"""A worker on PostgreSQL that procrastinate tells what is due; any number of them, on any number of machines.

A job only says which row to look at (`engine.store.jobs`). Hides: what it takes for such a worker to live on. It loses
its connections with the server, so it is begun anew; it may die with a job in hand, so others put that job back; and
rows that have no job are told again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException

from engine import workers
from engine.calls import instant
from engine.context import attempt
from engine.core import Engine
from engine.errors import StoreError
from engine.queues.ending import told_to_stop
from engine.store.jobs import TASK, Jobs, queue_of
from engine.store.sql import SqlStore

PAUSE = 2.0  # seconds between two looks for rows without a job, and for jobs nobody was woken for
AFTER_ERROR = 10.0  # seconds, where the store could not be asked
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds between two tries to reach the server

log = logging.getLogger("engine")


def work(engine: Engine, store: SqlStore, threads: int, *, once: bool, begun: Callable[[], object]) -> int:
    """As `engine.queues.work`."""
    worker = _Worker(engine, store, threads)
    store.write(worker.jobs.set_up)
    with told_to_stop(lambda: worker.told.set_result(None), lambda: worker.under_way):
        try:
            asyncio.run(worker.run(once=once, begun=begun))
        except (ConnectorException, psycopg.Error) as error:
            raise StoreError(f"the queue in {store} cannot be reached: {_reason(error)}") from None
        with suppress(StoreError):
            worker.pulse.end()
    return worker.done


class _Worker:
    """The work of this process."""

    def __init__(self, engine: Engine, store: SqlStore, threads: int) -> None:
        self._engine, self._store, self._threads = engine, store, threads
        self.jobs, self.pulse = Jobs(engine.due_by), engine.workers.pulse(threads)
        self.told = Future[None]()
        self.done = self.under_way = 0

    async def run(self, *, once: bool, begun: Callable[[], object]) -> None:
        """Work until told to stop, or until nothing is due."""
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(_note)
        self.told.add_done_callback(lambda _: loop.call_soon_threadsafe(stopped.set))
        with ThreadPoolExecutor(self._threads, "callsheet worker") as pool:  # asyncio's own is small, and not for this
            begun()
            await (self._once(pool, stopped) if once else self._always(pool, stopped))

    async def _once(self, pool: ThreadPoolExecutor, stopped: asyncio.Event) -> None:
        before = -1
        while before < self.done and not stopped.is_set():
            before = self.done
            await self._beat()
            await self._tell()
            await _unless(stopped, self._listen(pool, wait=False))

    async def _always(self, pool: ThreadPoolExecutor, stopped: asyncio.Event) -> None:
        """However often the server goes away, and whatever the library makes of it."""
        duties = (_for_ever(self._beat, workers.BEAT), _for_ever(self._tell, PAUSE))
        wait = FIRST_WAIT
        async with _beside(*duties):
            while not stopped.is_set():
                began, reason = time.monotonic(), "it ended by itself"
                try:
                    await _unless(stopped, self._listen(pool, wait=True))
                except Exception as error:  # noqa: BLE001 - the rows wait, so there is no reason to give up
                    reason = _reason(error)
                if not stopped.is_set():
                    wait = FIRST_WAIT if time.monotonic() - began > LONGEST_WAIT else wait
                    log.warning("the queue in %s was lost (%s); the next try is in %g s", self._store, reason, wait)
                    await _unless(stopped, asyncio.sleep(wait))
                    wait = min(LONGEST_WAIT, 2 * wait)

    async def _listen(self, pool: ThreadPoolExecutor, *, wait: bool) -> None:
        """Do the jobs that come; without `wait` those that are there."""
        app, loop = self._app(), asyncio.get_running_loop()

        @app.task(name=TASK)
        async def look(type: str, id: str) -> None:
            self.under_way += 1
            try:
                did = await loop.run_in_executor(pool, attempt, partial(self._engine.run_row, type, id))
            finally:
                self.under_way -= 1
            self.done += bool(did)

        async with app.open_async(), _beside(_for_ever(partial(_put_back, app), workers.SILENT)):
            await app.run_worker_async(
                queues=[queue_of(kind) for kind in self._engine.due_by],
                concurrency=self._threads,
                wait=wait,
                delete_jobs="always",  # the row is the history
                fetch_job_polling_interval=PAUSE,
                update_heartbeat_interval=workers.BEAT,
                stalled_worker_timeout=workers.SILENT,
                install_signal_handlers=False,
            )

    def _app(self) -> App:
        arguments = {**self._store.connection_arguments(), "application_name": "callsheet worker"}
        return App(
            connector=PsycopgConnector(
                kwargs=arguments, min_size=1, max_size=4, timeout=AFTER_ERROR, configure=_without_transactions
            )
        )

    async def _beat(self) -> None:
        await asyncio.to_thread(self.pulse.beat)

    async def _tell(self) -> None:
        now = instant(self._engine.clock.now())
        await asyncio.to_thread(self._store.write, partial(self.jobs.tell, now=now))


async def _without_transactions(connection: psycopg.AsyncConnection) -> None:
    """Every statement of the library stands for itself, and BEGIN and COMMIT would each be a round trip more."""
    await connection.set_autocommit(True)


async def _put_back(app: App) -> None:
    """Have the jobs of dead workers done by others. Where one lives after all, its row shows that it is being done."""
    for job in await app.job_manager.get_stalled_jobs(task_name=TASK, seconds_since_heartbeat=workers.SILENT):
        with suppress(ConnectorException):  # somebody else put it back first
            await app.job_manager.retry_job(job)


async def _for_ever(duty: Callable[[], Awaitable[None]], every: float) -> None:
    while True:
        pause = every
        try:
            await duty()
        except Exception as error:  # noqa: BLE001 - it is tried again, or nobody would do it any more
            log.warning("%s", _reason(error))
            pause = AFTER_ERROR
        await asyncio.sleep(pause)


async def _unless(stopped: asyncio.Event, work: Awaitable[None]) -> None:
    """Wait for `work`, or bring it to its end as soon as it is to stop."""
    working, stop = asyncio.ensure_future(work), asyncio.ensure_future(stopped.wait())
    await asyncio.wait([working, stop], return_when=asyncio.FIRST_COMPLETED)
    for one in (stop, working):
        one.cancel()
    with suppress(asyncio.CancelledError):
        await working


@asynccontextmanager
async def _beside(*duties: Awaitable[None]) -> AsyncIterator[None]:
    """What is done while something else is."""
    tasks = [asyncio.ensure_future(duty) for duty in duties]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _note(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """The library leaves failed tasks behind where the server goes away; their rows are taken up again."""
    log.debug("%s", context.get("exception") or context["message"])


def _reason(error: BaseException) -> str:
    """A library's own wording, without what the server quotes after the first line."""
    said = str(error.__cause__ or error) or type(error).__name__
    return said.partition("\n")[0]
