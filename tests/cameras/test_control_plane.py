"""The example of a control plane: a real server, asked as browsers and programs ask it, and a real browser."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.support.clusters import free_port
from tests.support.faults import opened, port_of, through
from tests.support.keys import SECRET_KEY
from tests.support.proxy import Proxy
from tests.support.roles import MakeRole, control, make_role
from timeseries import HealthLog, OccupancyEvent, Store
from timeseries.database.installations import wheel_bin_folder
from timeseries.settings import environment_with

__all__ = ["MakeRole", "control", "make_role"]

FOLDER = Path(__file__).parents[2] / "examples/control_plane"
RTSP = "rtsp://admin:hunter2@10.0.0.7/1"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
Message = tuple[str, Any]


@contextmanager
def serving(url: str, *words: str) -> Iterator[httpx.Client]:
    """A client of the control plane, which connects by this URL; `words` start it in place of uvicorn."""
    port = free_port()
    command = words or ("-m", "uvicorn", "--app-dir", str(FOLDER), "control_plane:app", "--port")
    environment = environment_with(TIMESERIES_DATABASE_URL=url, TIMESERIES_SECRET_KEY=SECRET_KEY)
    process = subprocess.Popen([sys.executable, *command, str(port)], env=environment, start_new_session=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            until(lambda: process.poll() is not None or answers(client), 300)  # it may make a server first
            yield client
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(90)
        finally:
            process.kill()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").is_success
    except httpx.TransportError:
        return False


def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


@pytest.fixture
def client(control: str) -> Iterator[httpx.Client]:
    with serving(control) as client:
        yield client


@pytest.fixture
def keeper(database: str) -> Iterator[Store]:
    """A store of another process, which may write connection strings."""
    with opened(database) as store:
        yield store


class Listener:
    """Server-sent events as they come, until the block ends: then the client has left."""

    def __init__(self, client: httpx.Client) -> None:
        self.messages: list[Message] = []
        self._client = client
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        self._thread.join(30)

    def leave(self) -> None:
        """Leave at the next line that comes."""
        self._left.set()

    def _listen(self) -> None:
        event = ""
        with self._client.stream("GET", "/live") as answer:
            for line in answer.iter_lines():
                if self._left.is_set():
                    return
                name, _, value = line.partition(": ")
                if name == "event":
                    event = value
                elif name == "data":
                    self.messages.append((event, json.loads(value)))

    def of(self, event: str) -> list[Any]:
        return [data for name, data in list(self.messages) if name == event]

    def cameras(self) -> list[tuple[str, int]]:
        return [(data["kind"], data["camera"] and data["camera"]["revision"]) for data in self.of("camera")]

    def counts(self) -> list[Any]:
        return [row for rows in self.of("newest") for row in rows if row["occupied_count"] is not None]


def test_cameras_are_listed_and_edited_with_their_revision(keeper: Store, client: httpx.Client) -> None:
    lot = keeper.cameras.add("North Lot", capacity=80, connection_string=RTSP)
    (listed,) = client.get("/cameras").json()
    assert (listed["id"], listed["name"], listed["revision"]) == (str(lot.id), "North Lot", 1)
    edit = {"revision": 1, "capacity": 90, "desired_state": "maintenance"}
    edited = client.patch(f"/cameras/{lot.id}", json=edit, headers={"X-Forwarded-User": "ada"})
    assert edited.status_code == 200
    assert (edited.json()["capacity"], edited.json()["revision"], edited.json()["changed_by"]) == (90, 2, "ada")
    stored = keeper.cameras.get(lot.id)
    assert (stored.capacity, stored.desired_state, stored.changed_by) == (90, "maintenance", "ada")
    assert keeper.cameras.connection_string(lot.id) == RTSP


def test_an_edit_of_an_old_revision_is_a_conflict_that_shows_both_versions(keeper: Store, client: httpx.Client) -> None:
    lot = keeper.cameras.add("North Lot", capacity=80, connection_string=RTSP)
    keeper.cameras.update(lot, capacity=90, by="bob")
    refused = client.patch(f"/cameras/{lot.id}", json={"revision": 1, "capacity": 85})
    assert refused.status_code == 409
    said = refused.json()
    assert "capacity (80 → 90)" in said["detail"]
    assert (said["edited"]["capacity"], said["edited"]["revision"]) == (80, 1)
    assert (said["current"]["capacity"], said["current"]["revision"], said["current"]["changed_by"]) == (90, 2, "bob")
    assert keeper.cameras.get(lot).capacity == 90


def test_what_cannot_be_is_refused_with_the_reason(keeper: Store, client: httpx.Client) -> None:
    lot = keeper.cameras.add("North Lot")
    keeper.cameras.add("South Lot")
    for edit, code, reason in (
        ({"capacity": 0}, 422, "capacity 0: it must be a whole number of at least 1"),
        ({"timezone": "Europe/Bern"}, 422, "did you mean Europe/Berlin"),
        ({"desired_state": "off"}, 422, "desired_state"),
        ({"name": "South Lot"}, 409, "another camera has the name 'South Lot'"),
        ({}, 422, "cannot change nothing"),
        ({"connection_string": RTSP}, 422, "connection_string: Extra inputs are not permitted"),
    ):
        answer = client.patch(f"/cameras/{lot.id}", json={"revision": 1, **edit})
        assert (answer.status_code, reason in answer.json()["detail"]) == (code, True), answer.text
        assert RTSP not in answer.text
    unknown = client.patch("/cameras/nowhere", json={"revision": 1, "capacity": 9})
    assert (unknown.status_code, "no camera has the name or id nowhere" in unknown.text) == (404, True)


def test_no_connection_string_reaches_a_browser_in_any_form(keeper: Store, client: httpx.Client) -> None:
    lot = keeper.cameras.add("North Lot", connection_string=RTSP)
    stored = keeper.cameras.get(lot).connection_string
    keeper.cameras.update(lot, connection_string=RTSP + "?new")
    with Listener(client) as listener:
        until(lambda: listener.of("newest"))
        keeper.cameras.update(lot, connection_string=RTSP)
        until(lambda: len(listener.cameras()) == 2)
    asked = [client.get(path).text for path in ("/", "/cameras", "/openapi.json")]
    asked += [client.patch(f"/cameras/{lot.id}", json={"revision": 1, "capacity": 9}).text]
    everything = "".join(asked) + json.dumps(listener.messages)
    assert listener.of("camera")[1]["changed"] == ["connection_string"]
    assert stored is not None
    assert not [part for part in (RTSP, "hunter2", stored, "v1.") if part in everything]


def test_a_browser_hears_of_changes_and_counts_by_other_connections(keeper: Store, client: httpx.Client) -> None:
    lot = keeper.cameras.add("North Lot", capacity=80)
    with Listener(client) as listener:
        until(lambda: listener.of("newest"))
        keeper.cameras.update(lot, capacity=90, by="bob")
        until(lambda: len(listener.cameras()) == 2)
        now = datetime.now(UTC)
        keeper.record([OccupancyEvent(lot.id, now, 42), HealthLog(lot.id, now, "degraded", "dark")])
        until(listener.counts)
        keeper.cameras.remove(keeper.cameras.add("Gone"))
        until(lambda: len(listener.cameras()) == 4)
    assert listener.cameras() == [("present", 1), ("changed", 2), ("added", 1), ("removed", None)]
    assert listener.of("camera")[1]["camera"]["changed_by"] == "bob"
    (row,) = listener.counts()
    assert (row["camera_id"], row["occupied_count"], row["status"]) == (str(lot.id), 42, "degraded")
    assert datetime.fromisoformat(row["counted_at"]) == now


def test_a_browser_hears_each_change_once_though_connections_are_cut(keeper: Store, control: str) -> None:
    lot = keeper.cameras.add("North Lot", capacity=1)
    with (
        Proxy(port_of(control)) as proxy,
        serving(through(control, proxy.port)) as client,
        Listener(client) as listener,
    ):
        until(lambda: listener.of("newest"))
        for capacity in range(2, 6):
            proxy.cut_all()
            keeper.cameras.update(lot, capacity=capacity)
        until(lambda: len(listener.cameras()) == 5)
        proxy.refusing = True
        proxy.cut_all()
        keeper.cameras.update(lot, capacity=6)
        until(lambda: listener.of("database")[-1]["problem"])
        proxy.refusing = False
        until(lambda: len(listener.cameras()) == 6 and listener.of("database")[-1]["problem"] is None)
    assert listener.cameras() == [("present", 1), *(("changed", revision) for revision in range(2, 7))]
    assert "hunter2" not in json.dumps(listener.messages)
    assert "secret" not in json.dumps(listener.messages)  # the password of the role


def connections(keeper: Store, role: str) -> int:
    with psycopg.connect(keeper.url) as connection:
        found = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [role]).fetchone()
        assert found is not None
        return int(found[0])


def test_a_browser_that_leaves_takes_its_watch_with_it(keeper: Store, client: httpx.Client, control: str) -> None:
    """The store has four connections at most, and so have the answers; a watch has one of its own."""
    keeper.cameras.add("North Lot")
    role = control.partition("//")[2].partition(":")[0]
    listeners = [Listener(client) for _ in range(20)]
    for listener in listeners:
        listener.__enter__()
    try:
        until(lambda: all(listener.of("newest") for listener in listeners))
        assert connections(keeper, role) > 20
    finally:
        for listener in listeners:
            listener.leave()  # all at once
        for listener in listeners:
            listener.__exit__()
    until(lambda: connections(keeper, role) <= 8)
    assert client.get("/cameras").is_success


@pytest.fixture
def page(client: httpx.Client) -> Iterator[Page]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"needs a browser: none of {', '.join(BROWSERS)} is on PATH; apt-get install chromium")
    expect.set_options(timeout=30_000)  # a busy machine
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=options)
        page = browser.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if "127.0.0.1" not in request.url else None)
        page.goto(str(client.base_url))
        yield page
        browser.close()
        assert problems == []


def test_the_page_shows_cameras_edits_them_and_shows_conflicts(keeper: Store, page: Page, tmp_path: Path) -> None:
    lot = keeper.cameras.add("North Lot", capacity=80, connection_string=RTSP)
    keeper.cameras.add("<img src=x onerror=alert(1)>")
    row = page.locator("tbody#cameras tr", has_text="North Lot")
    expect(row).to_contain_text("– of 80")
    expect(page.get_by_text("<img src=x onerror=alert(1)>")).to_be_visible()
    keeper.record([OccupancyEvent(lot.id, datetime.now(UTC), 42), HealthLog(lot.id, datetime.now(UTC), "healthy")])
    expect(row).to_contain_text("42 of 80")
    expect(row).to_contain_text("healthy")

    row.get_by_role("button", name="Edit").click()
    page.get_by_label("Capacity").fill("90")
    page.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("42 of 90")
    assert keeper.cameras.get(lot).revision == 2

    row.get_by_role("button", name="Edit").click()
    page.get_by_label("Capacity").fill("95")
    keeper.cameras.update(lot, capacity=85, desired_state="maintenance", by="bob")
    expect(row).to_contain_text("of 85")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#conflict-text")).to_contain_text("bob has changed it: revision 2 was edited")
    expect(page.locator("#versions tr")).to_have_text(
        ["nameNorth LotNorth LotNorth Lot", "capacity908595", "timezoneUTCUTCUTC",
         "desired_staterunningmaintenancemaintenance"]
    )  # fmt: skip
    page.screenshot(path=tmp_path / "conflict.png")
    page.get_by_role("button", name="Save over revision 3").click()
    expect(row).to_contain_text("42 of 95")
    stored = keeper.cameras.get(lot)
    assert (stored.capacity, stored.desired_state, stored.revision) == (95, "maintenance", 4)

    row.get_by_role("button", name="Edit").click()
    page.get_by_label("Time zone").fill("Europe/Bern")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#refused")).to_contain_text("did you mean Europe/Berlin")
    page.get_by_role("button", name="Cancel").click()
    keeper.cameras.update("<img src=x onerror=alert(1)>", name="Gone")
    keeper.cameras.remove("Gone")
    expect(page.locator("tbody#cameras tr")).to_have_count(1)
    assert "hunter2" not in page.content()


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder that the embedded server's own user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="ts-"))
    folder.chmod(0o755)
    monkeypatch.setenv("TIMESERIES_HOME", str(folder))
    monkeypatch.setenv("TIMESERIES_POSTGRES", str(wheel_bin_folder().parent))
    monkeypatch.setenv("DATABASE_URL", "")
    yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.usefixtures("home")
def test_one_command_starts_it_with_sample_data() -> None:
    with serving("", str(FOLDER / "demo.py")) as client:
        assert len(client.get("/cameras").json()) == 4
        with Listener(client) as listener:
            until(listener.counts)
        changed = client.get("/cameras").json()[0]
        edited = client.patch(f"/cameras/{changed['id']}", json={"revision": changed["revision"], "capacity": 77})
        assert edited.json()["changed_by"] == "control_plane"
