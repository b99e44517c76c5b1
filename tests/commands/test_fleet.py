"""`python -m app fleet` with a real server."""

import json
import shutil
import time
from datetime import datetime, timedelta, timezone

import cv2
import numpy as np
import pytest

from app.database.connection import connected
from app.database.devices import greet
from app.database.gallery import NewRow, SharedGallery
from app.database.ids import new_id
from app.database.strangers import SeenStranger, SharedStrangers
from app.fleet.merger import merge, packed
from app.gallery.files import photos_by_person, rename_person
from app.settings import FleetSettings


@pytest.fixture
def config(config_file, database):
    with config_file.open("a") as file:
        file.write(f"fleet:\n  database: {database}\n")
    (config_file.parent / "gallery").mkdir(exist_ok=True)
    return config_file


def test_a_database_is_prepared_once(answered, config):
    assert answered("fleet", "status", "--config", config)[0] == 1
    assert answered("fleet", "migrate", "--config", config)[0] == 2
    assert answered("fleet", "init", "--config", config)[0] == 0
    assert answered("fleet", "init", "--config", config)[0] == 2
    assert answered("fleet", "migrate", "--config", config)[0] == 0
    code, out, _ = answered("fleet", "status", "--config", config)
    assert code == 0
    assert "PostgreSQL" in out


def test_the_owner_sets_for_how_long_events_are_kept(answered, config):
    assert answered("fleet", "retention", "--config", config)[0] == 2
    answered("fleet", "init", "--config", config)
    for words, answer in (
        ((), "for ever"),
        (("90",), "90 days"),
        ((), "90 days"),
        (("7",), "7 days"),
        (("off",), "ever"),
    ):
        code, out, _ = answered("fleet", "retention", *words, "--config", config)
        assert code == 0 and answer in out
    assert answered("fleet", "retention", "0", "--config", config)[0] == 2


def test_without_a_database_the_setting_is_named(answered, config_file):
    code, _, err = answered("fleet", "status", "--config", config_file)
    assert code == 2
    assert "fleet.database" in err


def test_what_other_devices_wrote_is_safe_for_a_terminal(answered, config, postgres, database):
    answered("fleet", "init", "--config", config)
    clear = "\x1b[2J"
    device = "00000000-0000-7000-8000-000000000000"
    postgres.sql(
        database.rpartition("/")[2],
        f"insert into device(id, name) values ('{device}', 'door{clear}')",
        f"insert into conflict values ('{device}', 'photo', 'deleted', 'a{clear}.jpg', '')",
    )
    for action, named in (("devices", "door"), ("conflicts", "a\ufffd[2J.jpg")):
        out = answered("fleet", action, "--config", config)[1]
        assert named in out and "\x1b" not in out


def test_a_device_that_is_not_in_use_any_more_is_removed(answered, config, postgres, database):
    answered("fleet", "init", "--config", config)
    ids = [f"00000000-0000-7000-8000-00000000000{number}" for number in range(3)]
    name = database.rpartition("/")[2]
    for one, called, seen in zip(ids, ("door", "door", "yard"), ("100 days", "100 days", "1 second")):
        postgres.sql(
            name, f"insert into device(id, name, last_seen) values ('{one}', '{called}', now() - interval '{seen}')"
        )

    def remove(*words):
        return answered("fleet", "devices", "--remove", *words, "--config", config)

    code, _, err = remove("dor")
    assert (code, "did you mean 'door'" in err) == (2, True)
    code, _, err = remove("door")
    assert (code, ids[0] in err, ids[1] in err) == (2, True, True)
    assert remove(ids[0])[0] == 0
    assert remove("door")[0] == 0
    code, _, err = remove("yard")
    assert (code, "--force" in err) == (2, True)
    assert postgres.sql(name, "select name from device") == [("yard",)]
    assert remove("yard", "--force")[0] == 0
    assert postgres.sql(name, "select name from device") == []


def test_devices_of_one_name_are_listed_with_their_ids(answered, config, postgres, database):
    answered("fleet", "init", "--config", config)
    ids = [f"00000000-0000-7000-8000-00000000000{number}" for number in range(3)]
    for one, called in zip(ids, ("door", "door", "yard")):
        postgres.sql(database.rpartition("/")[2], f"insert into device(id, name) values ('{one}', '{called}')")
    out = answered("fleet", "devices", "--config", config)[1]
    assert [one in out for one in ids] == [True, True, False]


def test_an_older_entry_of_this_device_is_said_with_what_to_do(answered, config, postgres, database):
    """Its folder was restored from a backup, and has a new id."""
    answered("fleet", "init", "--config", config)
    answered("fleet", "sync", "--config", config)
    name = database.rpartition("/")[2]
    before, other = "00000000-0000-7000-8000-000000000000", "00000000-0000-7000-8000-000000000001"
    added = "insert into device(id, name, last_seen) select '{}', {}, now() - interval '1 day' from device limit 1"
    postgres.sql(name, added.format(before, "name"), added.format(other, "'yard'"))
    out = answered("fleet", "status", "--config", config)[1]
    assert (f"--remove {before}" in out, f"--remove {other}" in out) == (True, False)


def test_times_of_strangers_are_those_of_this_place(answered, config, database, monkeypatch):
    answered("fleet", "init", "--config", config)
    first = time.time() - 1000
    with connected(FleetSettings(database=database)) as connection:
        stranger, look = new_id(), packed(np.eye(1, 128, dtype=np.float32)[0])
        for number, name in enumerate(("door-a", "door-b"), 1):
            device = new_id()
            greet(connection, device, name, "embedder", "1", [new_id()])
            SharedStrangers(connection, device).seen(
                SeenStranger(stranger, number, "back", "embedder", look, 1.0, 2, first, first + 60, first + 90000)
            )
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        out = answered("fleet", "strangers", "--config", config)[1]
    finally:
        monkeypatch.undo()
        time.tzset()
    begin = datetime.fromtimestamp(first, timezone(timedelta(hours=5, minutes=30)))
    assert f"door-a: stranger-1, back, {begin:%Y-%m-%d %H:%M:%S} to " in out


def test_an_exchange_by_hand_says_how_many_strangers_came_in(answered, config, database, recognizer):
    assert answered("fleet", "init", "--config", config)[0] == 0
    embedder, looks = recognizer.embedder_id, np.eye(2, 128, dtype=np.float32)
    now = time.time()
    with connected(FleetSettings(database=database)) as connection:
        device = new_id()
        greet(connection, device, "door-b", embedder, "1", [new_id()])
        for number, look in enumerate(looks, 1):
            SharedStrangers(connection, device).seen(
                SeenStranger(new_id(), number, "back", embedder, packed(look), 1.0, 2, now, now, now + 1000)
            )
    for came in ("2", "0"):
        code, out, _ = answered("fleet", "sync", "--config", config)
        assert (code, out.splitlines()) == (
            0,
            ["gallery: 0 changes sent, 0 received", f"strangers: {came} new from other devices"],
        )
    with config.open("a") as file:
        file.write("  share_strangers: false\n")
    assert "strangers" not in answered("fleet", "sync", "--config", config)[1]


@pytest.mark.parametrize("action", ["status", "devices", "sync", "conflicts", "strangers"])
def test_a_misspelt_gallery_is_named(answered, config, action):
    answered("fleet", "init", "--config", config)
    code, _, err = answered("fleet", action, "--config", config, "--gallery", config.parent / "galery")
    assert (code, "did you mean 'gallery'" in err) == (2, True)


def test_the_settings_of_the_owner_are_not_suggested_for_an_exchange(answered, config, postgres, database):
    answered("fleet", "init", "--config", config)
    assert f"{config} fleet sync" not in answered("fleet", "status", "--config", config)[1]
    name = database.rpartition("/")[2]
    postgres.sql(
        name,
        f"create role door_of_{name} login password 'p'",
        f"grant select, insert, update on all tables in schema public to door_of_{name}",
    )
    address = postgres.address(name, f"door_of_{name}:p")
    config.write_text(config.read_text().replace(f"database: {database}", f"database: {address}"))
    assert f"{config} fleet sync" in answered("fleet", "status", "--config", config)[1]


def test_an_emptied_folder_is_said_and_filled_again(answered, config, people_gallery, tmp_path):
    own = tmp_path / "gallery"
    photo = next(people_gallery.glob("*.jpg")).read_bytes()
    for number in range(12):
        (own / f"P{number}").mkdir()
        (own / f"P{number}" / "1.jpg").write_bytes(photo + bytes([number]))
    assert answered("fleet", "init", "--config", config)[0] == 0
    assert answered("fleet", "sync", "--config", config)[0] == 0
    assert "missing" not in answered("fleet", "status", "--config", config)[1]
    for path in own.glob("P*"):
        shutil.rmtree(path)
    out = answered("fleet", "status", "--config", config)[1]
    assert "12 photos are missing here" in out and "fleet sync --restore" in out
    code, out, _ = answered("fleet", "sync", "--config", config)
    assert (code, "fleet sync --restore" in out) == (1, True)
    assert answered("fleet", "sync", "--restore", "--remove-many", "--config", config)[0] == 2
    assert answered("fleet", "sync", "--restore", "--config", config)[0] == 0
    assert len(list(own.glob("P*/1.jpg"))) == 12
    assert "missing" not in answered("fleet", "status", "--config", config)[1]


@pytest.mark.slow
def test_devices_exchange_their_galleries_and_decide_about_conflicts(
    answered, config, postgres, database, people_gallery, tmp_path
):
    other = tmp_path / "other" / "gallery"
    other.mkdir(parents=True)
    second = tmp_path / "second.yaml"
    second.write_text(config.read_text().replace("folder: gallery", f"folder: {other}") + "delivery:\n  device: b\n")
    own = tmp_path / "gallery"
    for path in people_gallery.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, own)
    assert answered("fleet", "init", "--config", config)[0] == 0
    assert answered("fleet", "sync", "--config", config)[0] == 0
    code, out, err = answered("fleet", "sync", "--config", second)
    assert (code, "no one is enrolled" in out + err) == (0, False)
    assert list(photos_by_person(own)) == list(photos_by_person(other)) == ["Eileen Collins", "Grace Hopper"]

    rename_person(own, "Grace Hopper", "Mine")
    rename_person(other, "Grace Hopper", "Theirs")
    assert answered("fleet", "sync", "--config", config)[0] == 0
    assert answered("fleet", "sync", "--config", second)[0] == 1
    code, out, _ = answered("fleet", "conflicts", "--config", second)
    assert (code, "Theirs here, Mine on other devices" in out) == (1, True)
    assert answered("fleet", "conflicts", "--keep", "mine", "--config", second)[0] == 2
    assert answered("fleet", "conflicts", "--keep", "mine", "1", "--config", second)[0] == 0
    for settings in (second, config):
        assert answered("fleet", "sync", "--config", settings)[0] == 0
    assert (own / "Theirs").is_dir()
    code, out, _ = answered("fleet", "devices", "--config", config)
    assert (code, len(out.splitlines()), "(this one)" in out) == (0, 2, True)
    assert "up to date" in answered("fleet", "status", "--config", config)[1]

    kept = tmp_path / "kept.jpg"
    for code in (0, 1):
        photo = next((own / "Theirs").iterdir())
        kept.write_bytes(photo.read_bytes())
        photo.unlink()
        assert answered("fleet", "sync", "--config", config)[0] == 0
        assert answered("fleet", "sync", "--config", second)[0] == 0
        if code == 1:  # another photo of the database is damaged
            postgres.sql(
                database.rpartition("/")[2],
                "insert into photo(sha256, person, file_name, data) "
                "select decode(repeat('ab', 32), 'hex'), id, 'x.jpg', 'x' from person where name = 'Eileen Collins'",
            )
        found = answered("fleet", "again", "Theirs", kept, "--config", second)
        assert (found[0], "kept.jpg: added" in found[1]) == (code, True)
        answered("fleet", "sync", "--config", config)
        assert kept.read_bytes() in [path.read_bytes() for path in (own / "Theirs").iterdir()]


def test_an_unknown_action_is_named_before_its_options(answered):
    code, _, err = answered("fleet", "synk", "--config", "x.yaml")
    assert (code, "'synk'" in err, "'sync'" in err) == (2, True, True)


@pytest.fixture(params=["server", "device"])
def prepared(request, answered, config_file):
    """Settings of a device whose database has tables, on a server with pgvector and on one without."""
    server = request.getfixturevalue("with_pgvector" if request.param == "server" else "postgres")
    address = server.database()
    with config_file.open("a") as file:
        file.write(f"fleet:\n  database: {address}\n")
    (config_file.parent / "gallery").mkdir(exist_ok=True)
    code, out, _ = answered("fleet", "init", "--config", config_file)
    assert code == 0
    assert f"search     {'by' if request.param == 'server' else 'on'} the {request.param}" in out
    assert out.splitlines()[-1] in answered("fleet", "status", "--config", config_file)[1]
    assert out.splitlines()[-1] in answered("fleet", "migrate", "--config", config_file)[1]
    yield config_file, request.param
    server.drop(address)


def test_a_photo_is_searched_among_people_and_strangers_of_all_devices(
    answered, prepared, portraits, recognizer, tmp_path
):
    config, compared_by = prepared
    collins, hopper, stranger = portraits
    picture = tmp_path / "both.png"
    cv2.imwrite(str(picture), cv2.hconcat([cv2.resize(one.image, (480, 640)) for one in (collins, stranger)]))
    search = ("fleet", "search", "--config", config, picture)
    code, out, err = answered(*search)
    assert (code, recognizer.embedder_id in err) == (1, True)

    settings = FleetSettings(database=str(config.read_text().rpartition("database: ")[2].strip()))
    with connected(settings) as connection:
        embedder = recognizer.embedder_id
        for number, (device, channel) in enumerate((("door-a", "front"), ("door-b", "back")), 1):
            own = new_id()
            greet(connection, own, device, embedder, "1", [new_id()])
            shared = SharedStrangers(connection, own)
            shared.seen(
                SeenStranger(
                    new_id(), number, channel, embedder, packed(embedding_of(recognizer, stranger)), 1.0, 2, 0, 1, 4e9
                )
            )
        gallery = SharedGallery(connection, own)
        for at, (name, portrait) in enumerate((("Ann", collins), ("Eva\x1b[2J", hopper))):
            sha256 = f"{at:064x}"
            gallery.add(NewRow(sha256, f"{at}.jpg", b"1", None), name, None)
            gallery.add_embedding(sha256, embedder, embedding_of(recognizer, portrait).astype("<f4").tobytes())
        merge(shared, embedder, 0.9)

    code, out, err = answered(*search, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["picture"], found["compared_by"], found["embedder"]) == (str(picture), compared_by, embedder)
    ann, unknown = found["faces"]
    assert (ann["name"], ann["people"][0]["photo"], ann["people"][0]["same_person"]) == ("Ann", "0.jpg", True)
    assert [one["same_person"] for one in ann["strangers"]] == [False]
    assert (unknown["name"], unknown["people"][0]["same_person"]) == (None, False)
    ((nearest),) = unknown["strangers"]
    assert nearest["same_person"]
    assert {(one["device"], one["stranger"], one["channel"]) for one in nearest["seen"]} == {
        ("door-a", "stranger-1", "front"),
        ("door-b", "stranger-2", "back"),
    }
    assert len(json.loads(answered(*search, "--json", "--top", "1")[1])["faces"][0]["people"]) == 1

    code, out, err = answered(*search, tmp_path / "missing.jpg")
    assert code == 2 and "missing.jpg" in err
    (tmp_path / "broken.jpg").write_bytes(b"x")
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((200, 300, 3), 127, np.uint8))
    code, out, err = answered(*search, tmp_path / "broken.jpg", tmp_path / "wall.png")
    assert code == 1 and "broken.jpg" in err and "no face found" in out and "\x1b" not in out
    assert ": Ann\n" in out and "seen by 2 devices" in out
    with config.open("a") as file:
        file.write("strangers:\n  similarity: 0.999\n")
    code, out, _ = answered(*search, "--threshold", "0.99")
    assert (code, out.count("unknown"), "Ann" in out, "0.99" in out) == (1, 2, True, True)


def embedding_of(recognizer, portrait):
    (faces,) = recognizer.find([portrait.image])
    return recognizer.embed(portrait.image, faces, [0]).embeddings[0]


def test_a_search_without_a_server_says_so(answered, config_file, tmp_path):
    (config_file.parent / "gallery").mkdir(exist_ok=True)
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((200, 300, 3), 127, np.uint8))
    code, _, err = answered("fleet", "search", tmp_path / "wall.png", "--config", config_file)
    assert (code, "fleet.database" in err) == (2, True)
    with config_file.open("a") as file:
        file.write("fleet:\n  database: postgresql://admin@127.0.0.1:1/faces\n")
    code, _, err = answered("fleet", "search", tmp_path / "wall.png", "--config", config_file)
    assert (code, "127.0.0.1" in err) == (2, True)
