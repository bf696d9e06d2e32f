"""Planted passwords are looked for wherever they could come out: errors, logs, reprs, output, and the server's own log.

The server logs every statement with its parameters (log_statement = all).
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from click.testing import CliRunner
from sqlalchemy.orm import Session

import analytics
from analytics import arrow_client
from tests.support.clusters import Cluster
from tests.support.faults import own_cluster
from tests.support.keys import SECRET_KEY
from tests.support.servers import RunningServer
from tests.support.urls import parse_url
from timeseries import CameraExistsError, Store, TimeseriesError
from timeseries.access.keyring import Keyring, generate_key
from timeseries.access.roles import grant
from timeseries.access.rotation import Keys
from timeseries.cli import main
from timeseries.database.connections import conninfo, create_engine
from timeseries.schema import migrations, revisions
from timeseries.schema.orm import CameraRow
from timeseries.settings import Settings

PASSWORDS = {"rtsp": "hunter2-camera", "login": "hunter2-login", "mistyped": "hunter2-mistyped", "role": "hunter2-role"}
RTSP = f"rtsp://admin:{PASSWORDS['rtsp']}@10.0.0.7/stream"
NEW_KEY = generate_key()


class Seen:
    """Everything that a person or a log file could get to see."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, *things: object) -> None:
        self.texts += [f"{thing!r} {thing}" for thing in things]

    @contextlib.contextmanager
    def error(self) -> Iterator[None]:
        """An error is expected, and its traceback with all that led to it is looked at."""
        try:
            yield
        except Exception as error:
            self.texts.append("".join(traceback.format_exception(error)))
            self.add(error, *error.args)
        else:
            raise AssertionError("no error was raised")

    def command(self, url: str, *words: str, text: str | None = None, keys: str = SECRET_KEY) -> None:
        runner = CliRunner(env={"TIMESERIES_DATABASE_URL": url, "TIMESERIES_SECRET_KEY": keys})
        result = runner.invoke(main, ["--database-url", url, *words], input=text)
        shown = result.output
        for line in (text or "").splitlines():
            shown = shown.removeprefix(line)  # what the runner's terminal echoes of the input
        self.texts += [shown, "".join(traceback.format_exception(result.exception))]

    def found(self) -> list[tuple[str, str]]:
        everything = "\n".join(self.texts)
        secrets = {**PASSWORDS, "key": SECRET_KEY, "new key": NEW_KEY}
        return [
            (name, everything[max(0, everything.index(secret) - 200) :][:400])
            for name, secret in secrets.items()
            if secret in everything
        ]


@pytest.fixture
def cluster(server: RunningServer) -> Iterator[Cluster]:
    """A server that asks for passwords and logs all it is told."""
    with own_cluster(server, log_min_messages="debug1", log_min_error_statement="debug1") as started:
        yield started


def with_password(url: str, user: str, password: str) -> str:
    parsed = parse_url(url).set(username=user, password=password)
    return parsed.render_as_string(hide_password=False)


def use_cameras(store: Store, seen: Seen, folder: Path) -> None:
    """All that is done with connection strings, and all that goes wrong with them."""
    lot = store.cameras.add("North Lot", connection_string=RTSP)
    seen.add(lot, store, store.cameras, store.pool, store.cameras.list())
    with seen.error():
        store.cameras.add("North Lot", connection_string=RTSP)
    with seen.error():
        store.cameras.add("Other", connection_string=RTSP, id=lot.id)
    with seen.error():
        store.cameras.add("x" * 300, connection_string=RTSP)
    with seen.error():
        store.cameras.update(lot, connection_string=RTSP, timezone="Europe/Berlln")
    with seen.error():
        store.cameras.update("nobody", connection_string=RTSP)
    store.cameras.update(lot, connection_string=RTSP + "?again")
    with psycopg.connect(store.url) as connection, seen.error():
        connection.execute("UPDATE public.cameras SET capacity = -1")  # the server shows the failing row
    cameras = folder / "cameras.csv"
    cameras.write_text(f"camera,timezone,connection_string\nSouth Lot,UTC,{RTSP}\nEast Lot,Nowhere,{RTSP}\n")
    (folder / "events.csv").write_text("camera,timestamp,occupied_count\n")
    with seen.error():
        store.import_file(folder / "events.csv", cameras)
    with Store.open(store.url, settings=Settings(secret_key=generate_key())) as stranger, seen.error():
        stranger.cameras.connection_string("North Lot")
    with Store.open(store.url, settings=Settings()) as keyless, seen.error():
        keyless.cameras.add("West Lot", connection_string=RTSP)


def use_sqlalchemy(url: str, seen: Seen) -> None:
    """Echo and errors of the ORM; what reaches it is ciphertext, and a plaintext is refused unseen."""
    engine = create_engine(url, echo=True)
    seen.add(engine, engine.url)
    with Session(engine) as session:
        row = session.scalars(sqlalchemy.select(CameraRow)).first()
        assert row is not None
        seen.add(row)
        row.capacity = -1
        with seen.error():
            session.commit()
        session.rollback()
    engine.dispose()


def test_no_password_comes_out_anywhere(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    seen = Seen()
    grant(cluster.url(), owner="keeper", passwords=[PASSWORDS["login"]])
    seen.command(cluster.url(), "grant", "--ingest", "feeder", "--password-stdin", text=PASSWORDS["role"] + "\n")
    url = with_password(cluster.url(), "keeper", PASSWORDS["login"])
    both = Settings(database_url=url, secret_key=f"{NEW_KEY},{SECRET_KEY}")
    seen.add(both, Keyring(both.secret_key))
    with Store.open(url, settings=Settings(secret_key=SECRET_KEY)) as store:
        use_cameras(store, seen, tmp_path)
        seen.add(Keys(store.pool, Keyring(both.secret_key)).rotate(), Keys(store.pool, Keyring(NEW_KEY)).check())
    use_sqlalchemy(url, seen)
    seen.add(analytics.weekday_averages(url=url))
    arrow_client.close(url)
    for words in (["status"], ["status", "--json"], ["camera", "list", "--json"], ["key", "check"], ["key", "rotate"]):
        seen.command(url, *words, keys=both.secret_key)
    seen.command(url, "camera", "add", "South Lot", "--connection-string-stdin", text=RTSP + "\n")
    seen.command(url, "camera", "update", "nobody", "--connection-string-stdin", text=RTSP + "\n")
    wrong = with_password(url, "keeper", PASSWORDS["mistyped"])
    for use in (Store.open, migrations.migrate, revisions.current, lambda u: analytics.weekday_averages(url=u)):
        with seen.error():
            use(wrong)
    with seen.error():
        create_engine(wrong).connect()
    seen.command(wrong, "status")
    seen.texts += [caplog.text, *capfd.readouterr(), cluster.log.read_text()]
    assert "INSERT INTO public.cameras" in cluster.log.read_text()
    assert "UPDATE public.cameras SET capacity = -1" in cluster.log.read_text()
    assert seen.found() == []


SECRET = PASSWORDS["login"]


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@host:port/db",
        f"postgresql://me:{SECRET}@host:5432",
        f"postgresql://me:{SECRET}@[host/db",
        f"postgresql://me:{SECRET}/x@127.0.0.1:1/db",
        f"postgresql://me:{SECRET}#@127.0.0.1:1/db",
        f"postgresql://me:{SECRET}%zz@127.0.0.1:1/db",
        f"postgresql://me:x@{SECRET}@127.0.0.1:1/db",
        f"postgresql://me:{SECRET}?@127.0.0.1:1/db",
        f"postgresql://127.0.0.1:1/db?password={SECRET}&nonsense=1",
        f"postgresql://127.0.0.1:1/db?user=me&password={SECRET}",
        f"postgresql:/me:{SECRET}@host/db",
        f"mysql://me:{SECRET}@host/db",
        f"me:{SECRET}@host/db",
        f"host=127.0.0.1 port=1 user=me password={SECRET}",
        f"{SECRET}://me@host/db",
    ],
)
def test_a_malformed_or_unreachable_url_is_named_without_its_password(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen = Seen()
    uses: list[Any] = [
        lambda: Store.open(url, settings=Settings()),
        lambda: create_engine(url).connect(),
        lambda: migrations.migrate(url),
        lambda: revisions.current(url),
        lambda: analytics.weekday_averages(url=url),
    ]
    for use in uses:
        with seen.error():
            use()
    seen.texts.append(caplog.text)
    assert seen.found() == []


def test_a_url_in_a_wrong_form_is_one_of_our_errors() -> None:
    for url in (f"mysql://me:{SECRET}@host/db", f"postgresql://me:{SECRET}@host:port/db"):
        with pytest.raises(TimeseriesError):
            conninfo(url)


def test_an_error_of_a_constraint_shows_ciphertext_at_most(store: Store) -> None:
    store.cameras.add("North Lot", connection_string=RTSP)
    with pytest.raises(CameraExistsError) as raised:
        store.cameras.add("North Lot", connection_string=RTSP)
    shown = "".join(traceback.format_exception(raised.value))
    assert PASSWORDS["rtsp"] not in shown
    with psycopg.connect(store.url) as connection, pytest.raises(psycopg.errors.CheckViolation) as refused:
        connection.execute("UPDATE public.cameras SET capacity = -1")
    assert "Failing row" in str(refused.value)
    assert PASSWORDS["rtsp"] not in str(refused.value)
