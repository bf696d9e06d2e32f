"""Where answers come from: which database, and why one does not answer."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

import analytics
from analytics import arrow_client
from timeseries import NotMigratedError, QueryCancelledError, ServerUnavailableError, Store

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
    asked: list[str] = []
    once = arrow_client.ArrowClient._fetch
    monkeypatch.setattr(
        arrow_client.ArrowClient,
        "_fetch",
        lambda self, query, _: asked.append(query) or once(self, query, _),  # type: ignore[func-returns-value]
    )
    with pytest.raises(QueryCancelledError, match=r"statement_timeout of 300ms.*shorter range.*higher"):
        arrow_client.fetch(SLOW, {}, url)
    assert asked == [SLOW]
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
