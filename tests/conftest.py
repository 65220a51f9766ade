"""Fixtures for every test module: databases, with tables and without, on SQLite and on a real PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import psycopg
import pytest
from commands import alone, bare_shop, gateway, shop
from postgres import Databases, running_server

from engine.store.sql import SqlStore
from engine.store.tables import METADATA

__all__ = ["alone", "bare_shop", "gateway", "shop"]  # fixtures that stand in other modules

pytest.register_assert_rewrite("store_contract")

hypothesis.settings.register_profile("without the clock", deadline=None)  # a busy machine is no fault of an example
hypothesis.settings.load_profile("without the clock")


@pytest.fixture(autouse=True)
def _threads_end() -> Iterator[None]:
    """A thread that outlives its test would go on in the midst of others, and fail one of them now and then."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if not thread.name.startswith("asyncio_"):  # Playwright's loop, which all tests share, keeps those for its work
            thread.join(10)  # one that was told to end may be at its last step
            assert not thread.is_alive(), f"the test left {thread} behind"


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Where databases come from: the server that CALLSHEET_TEST_POSTGRES names, else one that runs for these tests."""
    given = os.environ.get("CALLSHEET_TEST_POSTGRES")
    if given:
        found = Databases(given)
        yield found
        found.drop_all()
    else:
        with running_server() as server:
            yield Databases(server.url)


@pytest.fixture
def postgres_url(databases: Databases) -> str:
    """The URL of an empty database."""
    return databases.new()


@pytest.fixture(scope="session")
def sqlite_master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with empty tables; copying it is faster than making them."""
    path = tmp_path_factory.mktemp("master") / "store.sqlite3"
    store = SqlStore(path)
    store.upgrade()
    store.close()
    return path


@pytest.fixture
def sqlite_store_url(sqlite_master: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(sqlite_master, tmp_path / 'store.sqlite3')}"


@pytest.fixture(scope="session")
def postgres_master(databases: Databases) -> str:
    """A database with tables, emptied for every test."""
    found = databases.new()
    store = SqlStore(found)
    store.upgrade()
    store.close()
    return found


@pytest.fixture
def postgres_store_url(postgres_master: str) -> str:
    with psycopg.connect(postgres_master, autocommit=True) as connection:
        for table in METADATA.tables:
            connection.execute(f"DELETE FROM {table}".encode())
    return postgres_master


@pytest.fixture
def wal_store_url(sqlite_store_url: str) -> str:
    """The same in a write-ahead log, by the SQLite that pysqlite3 brings along."""
    return sqlite_store_url.replace("sqlite:", "sqlite+pysqlite3:")


_WAL = ["wal_store_url"] if find_spec("pysqlite3") else []  # there are no wheels for some platforms


@pytest.fixture(params=["sqlite_store_url", *_WAL, "postgres_store_url"])
def store_url(request: pytest.FixtureRequest) -> str:
    """A database with empty tables, on each system."""
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["sqlite", "postgres"])
def empty_store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables, on each system."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/folder/store.sqlite3"
    found: str = request.getfixturevalue("postgres_url")
    return found
