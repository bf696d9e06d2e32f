"""Where answers come from: which database, and why one does not answer."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

import analytics
from analytics import arrow_client, session
from timeseries import (
    NotMigratedError,
    OccupancyEvent,
    QueryCancelledError,
    ServerUnavailableError,
    Store,
    UnknownCameraError,
)

SLOW = "SELECT pg_sleep(30)::text AS slept"


@pytest.fixture
def role(store: Store) -> Iterator[str]:
    name = f"reader_{uuid.uuid4().hex}"
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), make_url(store.url).password)
        )
        yield name
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def url_of(store: Store, **parts: str) -> str:
    return make_url(store.url).set(**parts).render_as_string(hide_password=False)  # type: ignore[arg-type]


def test_a_time_limit_is_named_with_the_remedy_and_not_asked_for_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{store.url}?options=-cstatement_timeout%3D300"
    asked: list[object] = []
    once = arrow_client.ArrowClient._ask
    monkeypatch.setattr(
        arrow_client.ArrowClient,
        "_ask",
        lambda self, work: asked.append(work) or once(self, work),  # type: ignore[func-returns-value]
    )
    with pytest.raises(QueryCancelledError, match=r"statement_timeout of 300ms.*shorter range.*higher"):
        arrow_client.fetch(SLOW, {}, url)
    assert len(asked) == 1
    assert arrow_client.fetch("SELECT 1 AS one", {}, url)["one"].to_pylist() == [1]
    arrow_client.close(url)


def test_a_reason_to_be_turned_away_is_named_and_the_password_is_not(store: Store, role: str) -> None:
    secret = make_url(store.url).password or ""
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 0").format(sql.Identifier(role)))
    for reason, parts in (
        ('database "nowhere" does not exist', {"database": "nowhere"}),
        ('password authentication failed for user "nobody"', {"username": "nobody", "password": secret}),
        ("too many connections for role", {"username": role, "password": secret}),
    ):
        with pytest.raises(ServerUnavailableError, match=reason) as raised:
            analytics.latest(url=url_of(store, **parts))
        assert secret not in str(raised.value)
        assert raised.value.__cause__ is None
        assert raised.value.__suppress_context__


def test_the_database_is_that_of_the_environment_as_it_is_now(
    store: Store, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.cameras.add("North Lot")
    monkeypatch.delenv("TIMESERIES_READ_URL", raising=False)
    monkeypatch.setenv("TIMESERIES_DATABASE_URL", store.url)
    assert analytics.latest()["camera"].tolist() == ["North Lot"]
    monkeypatch.setenv("TIMESERIES_DATABASE_URL", empty_database)
    with pytest.raises(NotMigratedError):
        analytics.latest()
    monkeypatch.setenv("TIMESERIES_READ_URL", store.url)
    assert analytics.latest()["camera"].tolist() == ["North Lot"]
    arrow_client.close()
    arrow_client.close(empty_database)


def test_an_answer_is_one_transaction_and_a_refused_question_keeps_its_connection(store: Store) -> None:
    store.cameras.add("North Lot")

    def process() -> int:
        return int(arrow_client.fetch("SELECT pg_backend_pid() AS pid", {}, store.url)["pid"][0].as_py())

    arrow_client.set_pool_size(1, store.url)
    before, asked = process(), []
    with pytest.MonkeyPatch.context() as patch:
        begin = session.Session.begin
        patch.setattr(session.Session, "begin", lambda self: asked.append(self) or begin(self))  # type: ignore[func-returns-value]
        analytics.weekday_averages("North Lot", url=store.url)
    assert len(asked) == 1
    with pytest.raises(UnknownCameraError, match="'North Lot'"):
        analytics.weekday_averages("Nort Lot", url=store.url)
    assert process() == before
    arrow_client.close(store.url)


@pytest.mark.parametrize("name", ['{a,"b"}', "it's \\ 'c' $1 ${d}", "Lücke 日本", "null"])
def test_a_camera_is_found_by_any_name_and_nothing_by_what_can_be_none(store: Store, name: str) -> None:
    camera = store.cameras.add(name)
    store.cameras.add("another")
    store.record([OccupancyEvent(camera.id, datetime.now(UTC), 3)])
    assert analytics.latest(name, url=store.url)["occupied_count"].tolist() == [3]
    assert analytics.latest([str(camera.id).upper(), name], url=store.url)["camera"].tolist() == [name]
    for no_name in ("", "\0", "\ud800", f"{name}\0"):
        with pytest.raises(UnknownCameraError):
            analytics.latest([name, no_name], url=store.url)
