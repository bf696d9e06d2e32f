"""URL forms, and what an error may show of them."""

from __future__ import annotations

from datetime import timedelta

import pytest

import analytics
from timeseries import ConfigurationError, Store
from timeseries.database.connections import connect, conninfo, create_engine, libpq_options, reading_url
from timeseries.database.silence import WatchedConnection
from timeseries.settings import Settings

FORMS = ["postgresql", "postgres", "postgresql+psycopg", "timescaledb", "timescaledb+psycopg"]


@pytest.mark.parametrize("scheme", FORMS)
def test_every_form_of_a_url_opens_a_store_and_an_engine(database: str, scheme: str) -> None:
    url = database.replace("postgresql", scheme, 1)
    with Store.open(url, settings=Settings()) as store:
        assert store.cameras.list() == []
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW timezone").scalar() == "UTC"
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@host:port/db",
        "postgresql://me:hunter2@host:5432",
        "postgresql://me:hunter2@[host/db",
        "mysql://me:hunter2@host/db",
        "postgresql:/me:hunter2@host/db",
        "me:hunter2@host/db",
        "postgresql://me:hunter2@host/db?nonsense=1",
        "hunter2",
        "",
    ],
)
def test_a_malformed_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        conninfo(url)
    seen: BaseException | None = error.value
    while seen is not None:
        assert "hunter2" not in f"{seen!r} {seen}"
        seen = seen.__cause__ if seen.__suppress_context__ else seen.__cause__ or seen.__context__


def test_the_environment_gives_the_url_and_shows_no_secret() -> None:
    given = {"DATABASE_URL": "postgresql://a:hunter2@b/c", "TIMESERIES_SECRET_KEY": "hunter2"}
    assert Settings.from_environment(given).database_url.endswith("b/c")
    given["TIMESERIES_DATABASE_URL"] = "postgresql://a:hunter2@b/d"
    found = Settings.from_environment(given)
    assert found.database_url.endswith("b/d")
    assert "hunter2" not in repr(found)


def test_a_password_with_special_characters_reaches_the_driver() -> None:
    assert libpq_options("timescaledb://me:p%40ss%2Fword@host/db")["password"] == "p@ss/word"


def test_notebooks_read_from_the_read_url(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "target_session_attrs=prefer-standby" in reading_url(database)
    monkeypatch.setenv("TIMESERIES_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    monkeypatch.setenv("TIMESERIES_READ_URL", database)
    assert len(analytics.weekday_averages()) == 0


def test_several_hosts_reach_both_drivers() -> None:
    url = "timescaledb://me:hunter2@one:5432,two:5433/db"
    assert {"host": "one,two", "port": "5432,5433"}.items() <= libpq_options(url).items()
    assert "one:5432,two:5433/db" in reading_url(url)


def test_deadlines_come_from_the_environment_and_a_wrong_one_is_named() -> None:
    found = Settings.from_environment({"TIMESERIES_BATCH_DEADLINE": "20 seconds", "TIMESERIES_CALL_DEADLINE": "2h"})
    assert (found.batch_deadline, found.call_deadline) == (timedelta(seconds=20), timedelta(hours=2))
    assert Settings.from_environment({}).batch_deadline == timedelta(seconds=45)
    with pytest.raises(ConfigurationError, match="TIMESERIES_CALL_DEADLINE: 'soon' is not a length of time"):
        Settings.from_environment({"TIMESERIES_CALL_DEADLINE": "soon"})


def test_every_connection_has_limits_of_tcp_unless_the_url_sets_them(database: str) -> None:
    with connect(database) as connection:
        assert connection.info.get_parameters()["tcp_user_timeout"] == "30000"
    with connect(f"{database}?tcp_user_timeout=7000") as connection:
        assert connection.info.get_parameters()["tcp_user_timeout"] == "7000"
    assert "tcp_user_timeout=30000" in reading_url(database)
    engine = create_engine(database)
    with engine.connect() as connected:
        assert isinstance(connected.connection.driver_connection, WatchedConnection)
    engine.dispose()
