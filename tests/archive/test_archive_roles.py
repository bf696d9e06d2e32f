"""Who may archive, and what nobody gets to see."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from tests.support.archives import DAY, OLD, TODAY, execute, fill, stored
from tests.support.roles import MakeRole, as_role, ingest, make_role, reader, refusal
from timeseries import OccupancyEvent, ServerKind, Store
from timeseries.access.roles import grant
from timeseries.cli.main import main

__all__ = ["ingest", "make_role", "reader"]


@pytest.mark.parametrize(
    "uri",
    [
        "s3://AKIAKEY:hunter2@bucket/folder",
        "s3://bucket/folder?secret_key=hunter2",
        "s3://bucket/folder?region=eu-west-1&access_key=hunter2",
        "s3://bucket/folder#hunter2",
        "s3://[hunter2/folder",
    ],
)
@pytest.mark.kinds(ServerKind.POSTGRESQL)
def test_credentials_in_a_uri_are_refused_and_not_shown(store: Store, uri: str) -> None:
    run = CliRunner().invoke(main, ["--database-url", store.url, "archive", uri])
    assert run.exit_code == 1
    assert "hunter2" not in run.output
    assert "AWS_SECRET_ACCESS_KEY" in run.output
    assert execute(store, "SELECT FROM timeseries.archive") == []


def test_ingest_and_reader_roles_may_note_changes_and_ask_for_the_lag_and_nothing_else(
    store: Store, ingest: str, reader: str, tmp_path: Path
) -> None:
    lot = store.cameras.add("lot").id
    store.archive(tmp_path)
    with Store.open(ingest) as writer:
        assert writer.record([OccupancyEvent(lot, OLD, 1), OccupancyEvent(lot, TODAY - 5 * DAY, 1)]).inserted == 2
    assert store.role_deviations() == []
    for role in (ingest, reader):
        for statement in (
            "SELECT FROM timeseries.archive",
            "SELECT FROM timeseries.archived_days",
            "DELETE FROM timeseries.archive",
            "UPDATE timeseries.archived_days SET archived_at = now()",
            "SELECT timeseries.let_go('occupancy', now(), now(), 0)",
        ):
            assert refusal(role, statement) == "42501", statement
    assert refusal(reader, "SELECT timeseries.note_change('occupancy', ARRAY[now()])") == "42501"
    with psycopg.connect(reader) as connection:
        assert len(connection.execute("SELECT * FROM store_archive()").fetchall()) == 2


def test_an_owner_who_is_no_superuser_archives(store: Store, make_role: MakeRole, tmp_path: Path) -> None:
    fill(store)
    name = make_role(store.url, "owner")
    grant(store.url, owner=name)
    with Store.open(as_role(store.url, name)) as owned:
        assert owned.archive(tmp_path).rows > 0
        owned.prune()
        assert owned.status().problems == ()
    assert stored(store) == set()
