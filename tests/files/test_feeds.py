"""Feeds of parking sites: sites become cameras once, and what they report becomes events, row by row."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from click.testing import CliRunner

import analytics
from tests.support.roles import ingest, make_role
from timeseries import ImportResult, InvalidInputError, NotAllowedError, Store
from timeseries.cli import main

__all__ = ["ingest", "make_role"]

FEEDS = Path(__file__).parent / "feeds"
AT = datetime(2026, 11, 3, 8, 15, tzinfo=UTC)
BERLIN = "Europe/Berlin"


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    """A feed of the API, to be changed."""
    return Path(shutil.copy(FEEDS / "parkapi_api.json", tmp_path / "feed.json"))


def site(uid: str, free: object, spaces: object = 100, **values: object) -> dict[str, object]:
    return {
        "source_id": 1, "original_uid": uid, "name": f"Lot {uid}", "capacity": spaces, "has_realtime_data": True,
        "realtime_free_capacity": free, "realtime_data_updated_at": "2026-11-03T08:15:00Z",
    } | values  # fmt: skip


def write(path: Path, *sites: dict[str, object]) -> Path:
    path.write_text(json.dumps({"items": sites}))
    return path


def counts(result: ImportResult) -> tuple[int, int, int, int]:
    return result.cameras, result.inserted, result.duplicates, result.rejected


def events(store: Store) -> list[tuple[Any, ...]]:
    with psycopg.connect(store.url) as connection:
        return connection.execute("""
            SELECT c.name, e."timestamp", e.occupied_count, e.raw_data
            FROM occupancy_events AS e JOIN cameras AS c ON c.id = e.camera_id ORDER BY c.name
        """).fetchall()


def reasons(result: ImportResult) -> dict[int, str]:
    assert result.rejected_file is not None
    with result.rejected_file.open(newline="") as file:
        return {int(row["row"]): row["reason"] for row in csv.DictReader(file)}


def test_a_recorded_feed_of_a_city_is_stored(store: Store, tmp_path: Path) -> None:
    path = Path(shutil.copy(FEEDS / "parkapi_buchen.json", tmp_path))
    assert counts(store.import_feed(path, source="buchen", timezone=BERLIN)) == (1, 1, 0, 0)
    (camera,) = store.cameras.list()
    assert (camera.name, camera.capacity, camera.timezone) == ("P8 Parkdeck Altstadt Haagstraße", 60, BERLIN)
    assert camera.zone_config["parkapi"]["original_uid"] == "P8_Parkdeck_Altstadt_Haagstrasse"
    assert camera.zone_config["parkapi"]["lat"] == "49.52211082686668"
    ((_, at, occupied, raw),) = events(store)
    assert (at, occupied) == (datetime(2024, 2, 20, 16, 5, 33, tzinfo=UTC), 33)
    assert raw["realtime_opening_status"] == "UNKNOWN"


def test_sites_of_the_api_are_told_apart_by_source_and_named_apart(store: Store, feed: Path) -> None:
    assert counts(store.import_feed(feed, timezone=BERLIN)) == (3, 2, 0, 0)
    assert [(c.name, c.capacity, c.desired_state) for c in store.cameras.list()] == [
        ("Bahnhof", 120, "running"),
        ("Bahnhof (p1)", 80, "running"),
        ("Messe", None, "stopped"),
    ]
    assert [row[:3] for row in events(store)] == [("Bahnhof", AT, 70), ("Bahnhof (p1)", AT, 0)]


def test_the_next_feed_finds_the_same_cameras_whatever_they_are_called_now(store: Store, feed: Path) -> None:
    store.import_feed(feed, timezone=BERLIN)
    store.cameras.update("Bahnhof", name="Stuttgart Bahnhof", capacity=110)
    assert counts(store.import_feed(feed)) == (0, 0, 2, 0)
    later = AT + timedelta(minutes=5)
    write(feed, site("p1", 10, name="Hauptbahnhof", realtime_data_updated_at=later.isoformat()))
    assert counts(store.import_feed(feed)) == (0, 1, 0, 0)
    assert ("Stuttgart Bahnhof", later, 90) in [row[:3] for row in events(store)]
    assert store.cameras.get("Stuttgart Bahnhof").capacity == 110
    frame = analytics.hourly_averages("Stuttgart Bahnhof", start=AT, end=AT + timedelta(hours=1), url=store.url)
    assert frame["occupied_avg"].iloc[0] == pytest.approx((70 * 5 + 90 * 40) / 45)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"realtime_free_capacity": None}, "the number of free spaces is missing"),
        ({"realtime_free_capacity": -3}, "number of free spaces -3: it must be from 0 to 100"),
        ({"realtime_free_capacity": 101}, "number of free spaces 101: it must be from 0 to 100"),
        ({"realtime_free_capacity": "many"}, "number of free spaces 'many' is not a whole number"),
        ({"realtime_free_capacity": 2.5}, "number of free spaces 2.5 is not a whole number"),
        ({"realtime_capacity": 0, "realtime_free_capacity": 0}, "number of spaces 0: it must be at least 1"),
        ({"capacity": None}, "the number of spaces is missing"),
        ({"capacity": 2**40, "realtime_capacity": 9}, "capacity 1099511627776: it must be a whole number of at least"),
        ({"name": None}, "name None: it is new, and needs one to become a camera"),
        ({"original_uid": None}, "it needs a uid"),
        ({"realtime_data_updated_at": None}, "the time of its count is missing"),
        ({"realtime_data_updated_at": "noon"}, "timestamp 'noon' is not ISO 8601"),
        ({"realtime_data_updated_at": 1762157700}, "is a number, which may count seconds or milliseconds"),
        ({"realtime_data_updated_at": "2026-11-03T08:15:00"}, "is naive; give it an offset"),
        ({"realtime_data_updated_at": "1969-11-03T08:15:00Z"}, "is before 1970"),
    ],
    ids=str,
)
def test_a_site_that_cannot_be_stored_is_named_and_the_others_are_stored(
    store: Store, tmp_path: Path, values: dict[str, object], reason: str
) -> None:
    path = write(tmp_path / "feed.json", site("a", 40), site("bad", 50) | values, site("c", "60"))
    result = store.import_feed(path, timezone=BERLIN)
    assert (result.inserted, result.rejected) == (2, 1)
    (found,) = reasons(result).items()
    assert found[0] == 2
    assert f"site {values.get('original_uid', 'bad')} ({values.get('name', 'Lot bad')}): " in found[1]
    assert reason in found[1]
    assert [row[:3] for row in events(store)] == [("Lot a", AT, 60), ("Lot c", AT, 40)]


def test_a_rejected_site_is_corrected_in_its_file_and_imported_from_there(store: Store, tmp_path: Path) -> None:
    result = store.import_feed(write(tmp_path / "feed.json", site("a", -1)), timezone=BERLIN)
    assert result.rejected_file is not None
    with result.rejected_file.open(newline="") as file:
        (row,) = csv.DictReader(file)
    corrected = tmp_path / "corrected.csv"
    with corrected.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["camera", "timestamp", "occupied_count", "raw_data"], extrasaction="ignore")
        writer.writeheader()
        writer.writerow(row | {"occupied_count": "99"})
    assert counts(store.import_file(corrected)) == (0, 1, 0, 0)
    assert events(store) == [("Lot a", AT, 99, {"realtime_free_capacity": -1})]


def test_a_naive_time_is_stored_when_it_is_said_whose_it_is(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "feed.json", site("a", 40, realtime_data_updated_at="2026-11-03T09:15:00"))
    assert counts(store.import_feed(path, timezone=BERLIN, naive_timezone=BERLIN)) == (1, 1, 0, 0)
    assert events(store)[0][1] == AT


def test_one_site_of_the_api_and_a_gzipped_feed_are_read(store: Store, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(site("a", 40)))
    with gzip.open(tmp_path / "feed.json.gz", "wt", encoding="utf-8-sig") as file:
        json.dump({"items": [site("a", 40), site("b", 0), site("b", 0)]}, file)
    assert counts(store.import_feed(tmp_path / "one.json", timezone=BERLIN)) == (1, 1, 0, 0)
    assert counts(store.import_feed(tmp_path / "feed.json.gz", timezone=BERLIN)) == (1, 1, 2, 0)


def test_names_that_are_long_or_taken_stay_apart(store: Store, tmp_path: Path) -> None:
    long = "x" * 256
    sites = [site("a" * 256, 40, name=long), site("b", 40, name=long), site("c" * 200, 40, name=long)]
    result = store.import_feed(write(tmp_path / "feed.json", *sites), timezone=BERLIN)
    assert counts(result) == (3, 3, 0, 0)
    names = {camera.name for camera in store.cameras.list()}
    assert len(names) == 3
    assert "x" * 200 in names


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"lots": [{"name": "Altmarkt", "free": 3}], "last_updated": "x"}', "an object with lots, last_updated"),
        ('{"items": [{"name": "x", "price": 3}]}', "the first item is an object with name, price"),
        ('{"items": 3}', "an object with items"),
        ('{"items": [3]}', "an object with items"),
        ("[1]", "a list"),
        ("{", "is not JSON"),
        ("camera,timestamp", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
    ],
)
def test_another_json_is_refused_with_what_was_expected(
    store: Store, tmp_path: Path, text: str | bytes, found: str
) -> None:
    path = tmp_path / "feed.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidInputError) as caught:
        store.import_feed(path, timezone=BERLIN)
    assert found in str(caught.value)
    assert "items` has parking sites, with original_uid or uid, name, capacity" in str(caught.value)


def test_what_a_feed_does_not_say_is_asked_for_before_anything_is_stored(store: Store, feed: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"in which time zone its sites are.*--timezone"):
        store.import_feed(feed)
    with pytest.raises(InvalidInputError, match="'Europe/Bern' is unknown"):
        store.import_feed(feed, timezone="Europe/Bern")
    with pytest.raises(InvalidInputError, match=r"whose sites they are.*--source"):
        store.import_feed(FEEDS / "parkapi_buchen.json", timezone=BERLIN)
    with pytest.raises(InvalidInputError, match="format 'gtfs' is unknown; give one of parkapi, datex2"):
        store.import_feed(feed, format="gtfs", timezone=BERLIN)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"--format parkapi$"):
        store.import_file(feed)
    with pytest.raises(InvalidInputError, match=r"cannot read .*nowhere.json: No such file"):
        store.import_feed(feed.with_name("nowhere.json"))
    assert store.cameras.list() == []


def test_the_id_of_a_site_is_the_same_in_every_release(store: Store, tmp_path: Path) -> None:
    store.import_feed(write(tmp_path / "feed.json", site("a", 40)), timezone=BERLIN)
    assert store.cameras.ids() == {"Lot a": UUID("2c46ecf8-dc92-5b5d-b1ee-322569e8c0a6")}


def test_the_recorded_table_and_statuses_of_a_city_are_stored(store: Store, tmp_path: Path) -> None:
    table, status = (Path(shutil.copy(FEEDS / f"datex2_aachen_{name}.xml", tmp_path)) for name in ("table", "status"))
    early = store.import_feed(status, format="datex2")
    assert counts(early) == (0, 0, 0, 17)
    assert reasons(early)[1] == "site P1 (None): name None: it is new, and needs one to become a camera"
    assert counts(store.import_feed(table, format="datex2", timezone=BERLIN)) == (17, 0, 0, 0)
    result = store.import_feed(status, format="datex2")
    assert counts(result) == (0, 15, 0, 2)  # two closed sites say that they have no spaces at all
    assert [reason.partition(":")[0] for reason in reasons(result).values()] == ["site P5 (None)", "site P13 (None)"]
    assert counts(store.import_feed(status, format="datex2")) == (0, 0, 15, 2)
    camera = store.cameras.get("P01-Eurogress")
    assert (camera.capacity, camera.desired_state, camera.timezone) == (560, "running", BERLIN)
    assert camera.zone_config["datex2"] == {
        "source": "DE-MDM-Aachen", "id": "P1", "lat": "50.780552", "lon": "6.0927987", "type": "offStreetParking",
    }  # fmt: skip
    first = next(row for row in events(store) if row[0] == "P01-Eurogress")
    assert first[1:3] == (datetime(2025, 2, 7, 19, 5, 34, 176000, tzinfo=UTC), 148)
    assert first[3] == {"vacant": "412", "spaces": "560", "opening_status": "open"}


def test_statuses_that_cannot_be_are_rejected_by_name_and_the_others_are_stored(store: Store, tmp_path: Path) -> None:
    store.import_feed(FEEDS / "datex2_aachen_table.xml", format="datex2", timezone=BERLIN)
    text = (FEEDS / "datex2_aachen_status.xml").read_text()
    for old, new in ((">412<", ">-1<"), (">291<", ">600<"), (">143<", "><")):
        assert text.count(f"VacantSpaces{old}") == 1
        text = text.replace(f"VacantSpaces{old}", f"VacantSpaces{new}")
    (tmp_path / "status.xml").write_text(text)
    result = store.import_feed(tmp_path / "status.xml", format="datex2")
    assert counts(result) == (0, 12, 0, 5)
    assert [reasons(result)[row].partition(" (")[0] for row in (1, 2, 3)] == ["site P1", "site P2", "site P3"]
    assert "number of free spaces -1: it must be from 0 to 560" in reasons(result)[1]
    assert "number of free spaces '' is not a whole number" in reasons(result)[3]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<rss/>", "its root is rss"),
        ("{}", "is not XML"),
        ("<d2LogicalModel/>", "does not say whose sites they are"),
        (
            "<d2LogicalModel><payloadPublication><publicationCreator><nationalIdentifier>x</nationalIdentifier>"
            "</publicationCreator></payloadPublication></d2LogicalModel>",
            "with parkingRecord",
        ),
        (
            '<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa">'
            + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
            + "]><d2LogicalModel>&i;</d2LogicalModel>",
            "is not XML (limit on input amplification factor",
        ),
    ],
    ids=["another root", "no XML", "no creator", "no records", "a bomb"],
)
def test_another_xml_is_refused_with_what_was_expected(store: Store, tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "feed.xml"
    path.write_text(text)
    with pytest.raises(InvalidInputError) as caught:
        store.import_feed(path, format="datex2")
    assert found in str(caught.value)
    with pytest.raises(InvalidInputError, match=r"--format datex2$"):
        store.import_file(path)


def test_a_role_of_the_kind_ingest_imports_feeds_of_sites_that_are_there(store: Store, feed: Path, ingest: str) -> None:
    with Store.open(ingest) as narrow:
        with pytest.raises(NotAllowedError):
            narrow.import_feed(feed, timezone=BERLIN)
        store.import_feed(write(feed, site("a", 40)), timezone=BERLIN)
        write(feed, site("a", 30, realtime_data_updated_at="2026-11-03T08:20:00Z"))
        assert counts(narrow.import_feed(feed)) == (0, 1, 0, 0)


def test_text_that_postgresql_cannot_store_is_rejected_by_name(store: Store, tmp_path: Path) -> None:
    sites = [site("a\ud800", 1), site("b", 1, address="\0"), site("c", 1, name="\ud800"), site("d", 1)]
    result = store.import_feed(write(tmp_path / "feed.json", *sites), timezone=BERLIN)
    assert counts(result)[1:] == (1, 0, 3)
    assert sorted(reasons(result)) == [1, 2, 3]


def test_a_feed_is_imported_by_the_command(store: Store, feed: Path) -> None:
    write(feed, site("a", 40), site("b", -1))
    runner = CliRunner(env={"TIMESERIES_DATABASE_URL": store.url})
    done = runner.invoke(main, ["import", str(feed), "--format", "parkapi", "--timezone", BERLIN, "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["inserted"] == 1
    for wrong in (["--format", "parkapi", "--match-names"], ["--source", "x"]):
        assert runner.invoke(main, ["import", str(feed), *wrong]).exit_code == 2
