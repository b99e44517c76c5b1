"""Devices, what they lack and conflicts, over HTTP and on the page."""

import contextlib
import dataclasses
import json
import shutil

import pytest
from http_client import serving
from tcp_link import Link
from waiting import PATIENT_S, until

from app.database.connection import connected
from app.fleet.decisions import conflicts_here
from app.fleet.strangers import FOREIGN
from app.identity.strangers import Seen, Visit
from app.service.api import fleet as fleet_api
from app.service.tokens import add_token

BEGIN = 1_800_000_000.0
PHONE = {"viewport": {"width": 390, "height": 844}}


@pytest.fixture
def link(postgres):
    """The cable between the server of the page and the database."""
    with contextlib.closing(Link(postgres.port)) as cable:
        yield cable


@pytest.fixture
def doors(device, numbered_photo):
    """Two devices that gave a person and a photo different names while they were apart."""
    lobby, yard = device("lobby"), device("yard")
    for one in (lobby, yard):
        one.put("Ann/1.jpg", numbered_photo(0))
        one.exchange(unsent=3)
    lobby.rename("Ann", "Anna")
    lobby.put("Eva/2.jpg", numbered_photo(2))
    lobby.exchange()
    yard.rename("Ann", "Hanna")
    yard.put("Ida/2.jpg", numbered_photo(2))
    yard.exchange(unsent=7)
    return lobby, yard


@pytest.fixture
def served(doors, link, fleet, postgres, tmp_path):
    """A client of the page of `yard`."""
    address = fleet.database.replace(f":{postgres.port}/", f":{link.port}/")
    tokens = tmp_path / "tokens.json"
    secrets = {scope: add_token(tokens, scope, scope) for scope in ("read", "admin")}
    shared = dataclasses.replace(fleet, database=address, timeout_s=PATIENT_S, sync_every_s=1.0)
    with serving(
        dataclasses.replace(doors[1].settings, fleet=shared), tokens=tokens, audit_log=tmp_path / "audit.jsonl"
    ) as client:
        client.headers = {"x-api-key": secrets["read"]}
        client.secrets, client.audit_log = secrets, tmp_path / "audit.jsonl"
        yield client


def test_devices_are_shown_with_what_they_lack(served, doors):
    found = served.get("/api/v1/fleet").json
    assert found["state"] == "available"
    assert found["problem"] is None
    by_name = {one["name"]: one for one in found["devices"]}
    assert sorted(by_name) == ["lobby", "yard"]
    assert [one["name"] for one in found["devices"] if one["own"]] == ["yard"]
    assert by_name["yard"]["conflicts"] == 2
    assert by_name["lobby"]["unsent"] is None
    assert by_name["lobby"]["embedder"] == doors[0].gallery.embedder_id
    doors[0].put("Eva/3.jpg", doors[0].files()[0][1] + b"more")
    doors[0].exchange(unsent=4)
    until(lambda: {one["name"]: one["unsent"] for one in served.get("/api/v1/fleet").json["devices"]}["lobby"] == 4)


def test_photos_that_are_missing_here_are_counted(served, doors, numbered_photo):
    lobby, yard = doors
    assert served.get("/api/v1/fleet").json["missing"] == 0
    for number in range(12):
        lobby.put(f"P{number}/1.jpg", numbered_photo(10 + number))
    lobby.exchange()
    until(lambda: {f"P{number}" for number in range(12)} <= set(yard.people()))  # they may come in parts
    with yard.sync.folder.locked():  # so that no exchange is going on
        for path in yard.folder.glob("P*"):
            shutil.rmtree(path)
    until(lambda: served.get("/api/v1/fleet").json["missing"] == 12)
    lobby.exchange()
    assert "P11" in lobby.people()


def test_a_conflict_is_decided_by_an_admin_and_the_others_get_it(served, doors):
    lobby, yard = doors
    found = {one["kind"]: one for one in served.get("/api/v1/fleet").json["conflicts"]}
    assert (found["person"]["mine"], found["person"]["theirs"]) == ("Hanna", "Anna")
    assert (found["photo"]["mine"], found["photo"]["theirs"]) == ("Ida", "Eva")
    for one in found.values():
        assert served.get(f"/api/v1/people/{one['mine']}/photos/{one['photo']}").status == 200
    path = f"/api/v1/fleet/conflicts/{found['person']['id']}"
    assert served.post(path, {"keep": "mine"}).status == 403
    admin = {"x-api-key": served.secrets["admin"]}
    assert served.post(path, {"keep": "both"}, **admin).status == 400
    assert served.post(path, {"keep": "mine"}, **admin).json == {"kind": "person", "name": "Hanna"}
    assert served.post(path, {"keep": "mine"}, **admin).status == 404
    assert served.post(f"/api/v1/fleet/conflicts/{found['photo']['id']}", {"keep": "theirs"}, **admin).status == 200
    assert conflicts_here(yard.folder) == []
    until(lambda: lobby.exchange() and lobby.people() == ["Eva", "Hanna"])
    until(lambda: yard.people() == ["Eva", "Hanna"])
    noted = [json.loads(line) for line in served.audit_log.read_text().splitlines()]
    assert [(one["kept"], one["dropped"]) for one in noted] == [("Hanna", "Anna"), ("Eva", "Ida")]


def test_the_photo_of_a_conflict_is_one_of_the_person_here(served, doors):
    """Another person may have a copy of it."""
    yard = doors[1]
    for name in ("Ada", "Zoe"):
        yard.put(f"{name}/2.jpg", (yard.folder / "Ida/2.jpg").read_bytes())
        yard.put(f"{name}/1.jpg", (yard.folder / "Hanna/1.jpg").read_bytes())
    until(lambda: {"Ada", "Zoe"} <= {one["name"] for one in served.get("/api/v1/people").json["people"]})
    yard.exchange()
    found = served.get("/api/v1/fleet").json["conflicts"]
    assert [one["mine"] for one in found if one["kind"] == "photo"] == ["Ida"]
    for one in found:
        assert served.get(f"/api/v1/people/{one['mine']}/photos/{one['photo']}").status == 200


def test_a_state_that_cannot_be_read_is_no_error_of_the_server(served, doors):
    state = doors[1].folder / ".fleet" / "state.json"
    with doors[1].sync.folder.locked():  # so that no exchange replaces it
        good = json.loads(state.read_bytes())
        conflicts = {"photo x": [1, 2, 3, 4, 5]}
        for broken in ({**good, "conflicts": conflicts}, {**good, "device": 5}, {**good, "seen": "x"}, []):
            state.write_text(json.dumps(broken))
            assert served.get("/api/v1/fleet").json["conflicts"] == []


def test_a_decision_is_about_the_names_that_were_shown(served, doors):
    (before,) = [one for one in served.get("/api/v1/fleet").json["conflicts"] if one["kind"] == "person"]
    doors[0].rename("Anna", "Annabel")
    doors[0].exchange()
    until(lambda: "Annabel" in [one.theirs for one in conflicts_here(doors[1].folder)])
    admin = {"x-api-key": served.secrets["admin"]}
    assert served.post(f"/api/v1/fleet/conflicts/{before['id']}", {"keep": "theirs"}, **admin).status == 404
    assert doors[1].people() == ["Hanna", "Ida"]


@pytest.mark.slow
def test_what_is_known_stays_while_the_database_is_away(served, link):
    before = served.get("/api/v1/fleet").json
    link.cut()
    until(lambda: served.get("/api/v1/fleet").json["state"] == "unavailable")
    away = served.get("/api/v1/fleet").json
    assert away["problem"]
    assert before["asked"] <= away["asked"]
    until(lambda: served.get("/api/v1/fleet").json["asked"] == away["asked"])
    assert [one["name"] for one in away["devices"]] == ["lobby", "yard"]
    assert away["conflicts"] == before["conflicts"]
    link.mend()
    until(lambda: served.get("/api/v1/fleet").json["state"] == "available")


def test_a_database_that_goes_away_in_the_middle_of_an_answer_is_no_error_of_the_server(served, link, fleet):
    with connected(fleet) as holding, holding.transaction():
        holding.execute("lock table device")
        until(lambda: "has not answered" in (served.get("/api/v1/fleet").json["problem"] or ""))
        link.cut()
        until(lambda: "has not answered" not in (served.get("/api/v1/fleet").json["problem"] or ""))
        assert served.get("/api/v1/fleet").json["state"] == "unavailable"
    link.mend()
    until(lambda: served.get("/api/v1/fleet").json["state"] == "available")


def test_an_answer_that_comes_late_is_shown_the_next_time(served, monkeypatch):
    monkeypatch.setattr(fleet_api, "WAIT_S", 0.0)
    monkeypatch.setattr(fleet_api, "ASK_EVERY_S", 0.0)
    until(lambda: [one["name"] for one in served.get("/api/v1/fleet").json["devices"]] == ["lobby", "yard"])


def test_a_device_is_away_when_it_missed_several_exchanges(doors, fleet, postgres):
    rare = dataclasses.replace(fleet, timeout_s=PATIENT_S, sync_every_s=200.0)
    with serving(dataclasses.replace(doors[1].settings, fleet=rare)) as client:

        def away_after(seconds):
            statement = f"update device set last_seen = now() - interval '{seconds} s' where name = 'lobby'"
            postgres.sql(fleet.database.rpartition("/")[2], statement)
            return {one["name"]: one["away"] for one in client.get("/api/v1/fleet").json["devices"]}

        until(lambda: away_after(3000) == {"lobby": True, "yard": False})
        until(lambda: away_after(300) == {"lobby": False, "yard": False})


def test_a_server_without_a_database_has_no_devices(settings):
    with serving(settings) as client:
        assert client.get("/api/v1/fleet").json["state"] == "off"


@pytest.mark.slow
def test_the_page_shows_devices_and_decides_conflicts(served, doors, link, tab):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the extra dev")
    page = tab(served, expected="status of 40[134]", **PHONE).open("status")
    page.fill(".login input", served.secrets["read"])
    page.click(".login button")
    page.wait_for_selector(".fleet .channel-row:has-text('lobby')")
    page.wait_for_selector(".fleet .channel-row:has-text('yard'):has-text('this device')")
    page.click("text=Take Anna")
    page.wait_for_selector(".banner.busy:has-text('admin')")
    page.click("header button")
    page.fill(".login input", served.secrets["admin"])
    page.click(".login button")
    page.click("text=Take Anna")
    page.wait_for_selector("text=Take Anna", state="detached")
    page.click("text=Keep Ida")
    page.wait_for_selector(".fleet .conflict", state="detached")
    assert conflicts_here(doors[1].folder) == []
    until(lambda: doors[0].exchange() and doors[0].people() == doors[1].people() == ["Anna", "Ida"])
    link.cut()
    page.wait_for_selector(".fleet .note")
    page.wait_for_selector(".fleet .channel-row:has-text('lobby')")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        violations = axe.Axe().run(page).response["violations"]
        assert [one["id"] for one in violations if one["impact"] in ("serious", "critical")] == []


@pytest.fixture
def visited(home, recognizer, embeddings):
    """A client of a server that knows of a stranger who was seen at the device `lobby` only."""
    visit = Visit(
        id=f"{FOREIGN}0190-1",
        channel="lobby/entrance",
        track=0,
        first_seen=BEGIN,
        last_seen=BEGIN + 5,
        model=recognizer.embedder_id,
        embedding=-embeddings[0],
        weight=2.0,
        looks=3,
        stranger=9,
    )
    home.journal.update(lambda book: [Seen(visit)])
    return home


def test_a_stranger_of_another_device_says_where(visited):
    found = {one["stranger"]: one for one in visited.get("/api/v1/strangers").json["strangers"]}
    assert found["stranger-9"]["devices"] == ["lobby"]
    assert found["stranger-9"]["channels"] == ["lobby/entrance"]
    assert found["stranger-1"]["devices"] == []


def test_the_page_says_at_which_device_a_stranger_was_seen(visited, tab):
    page = tab(visited, **PHONE).open("strangers/stranger-9")
    page.wait_for_selector(".review .badge:has-text('lobby')")
    assert "lobby/entrance" in page.inner_text(".review .detail")
    page.wait_for_selector(".queue a[aria-current]:has-text('lobby')")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
