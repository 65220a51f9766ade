"""One commit for all threads that wait for one.

A durable commit is the slowest thing a disk does, and SQLite has one writer at a time. So whoever finds nobody writing
carries out the work of all who wait, and then hands over to the first of those who came meanwhile. Hides: that there is
no thread of its own to start, to stop, or to lose in a fork.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Any, Generic, TypeVar, cast

from engine.errors import StoreError
from engine.store.births import Birth
from engine.store.statements import Session

T = TypeVar("T")


class Job(Generic[T]):
    """One thread's work. It `is_done` once its `result` is committed, or has an `error`, or else was interrupted."""

    __slots__ = ("_context", "_work", "error", "is_done", "result", "woken")

    def __init__(self, work: Callable[[Session], T]) -> None:
        self._work, self._context = work, copy_context()
        self.result: T | None = None
        self.error: BaseException | None = None
        self.is_done = False
        self.woken: threading.Lock | None = None  # free once there is nobody to wait for any more

    def run(self, session: Session) -> None:
        """Do the work, in its own thread's context whichever thread this is."""
        self.error = None  # an earlier try, which was undone, is of no account
        self.result = self._context.run(self._work, session)


class Newborn(Job[bool]):
    """A job that writes something new by one statement, as several of its shape can be written, too."""

    __slots__ = ("birth",)

    def __init__(self, birth: Birth) -> None:
        super().__init__(birth.write)
        self.birth = birth


class Group:
    """Carries out the work of many threads together.

    `transact` runs jobs in one transaction. Those that it commits are done, those that it leaves out it gives an
    `error`, and it raises where it commits nothing; then each job is tried alone: none fails for another's sake.
    """

    def __init__(self, transact: Callable[[Sequence[Job[Any]]], None]) -> None:
        self._transact = transact
        self._lock = threading.Lock()
        self._waiting: list[Job[Any]] = []
        self._leader: Job[Any] | None = None
        self._writing: int | None = None  # the thread

    def run(self, job: Job[T]) -> T:
        """What `job` results in, once it is committed. Raises what its work raises, and then nothing is committed."""
        if self._writing == threading.get_ident():
            raise StoreError("a write cannot begin inside another one, for it would wait for itself")
        try:
            with self._lock:
                self._waiting.append(job)
                if self._leader is None:
                    self._leader = job
                else:
                    job.woken = threading.Lock()
                    job.woken.acquire()
            if job.woken is not None:
                job.woken.acquire()  # either the work is done, or it is this thread's turn to do it for all
            if self._leader is job:
                self._carry_out()
        finally:
            with self._lock:
                if job in self._waiting:  # this thread was interrupted
                    self._waiting.remove(job)
                if self._leader is job:
                    self._lead_next()
        if job.error is not None:
            raise job.error
        if not job.is_done:
            raise StoreError("the write was interrupted; whether it was stored is not known", in_doubt=True)
        return cast(T, job.result)

    def _lead_next(self) -> None:
        self._leader = self._waiting[0] if self._waiting else None
        if self._leader is not None and self._leader.woken is not None:
            self._leader.woken.release()

    def _carry_out(self) -> None:
        with self._lock:
            jobs, self._waiting = self._waiting, []
        try:
            self._writing = threading.get_ident()
            self._attempt(jobs)
        finally:
            self._writing = None
            for job in jobs:
                if job.woken is not None:
                    job.woken.release()

    def _attempt(self, jobs: list[Job[Any]]) -> None:
        try:
            self._transact(jobs)
        except Exception as error:  # noqa: BLE001  # whatever it is, the thread whose job it is gets it
            if len(jobs) == 1:
                jobs[0].error = error
            else:
                for job in jobs:
                    self._attempt([job])
