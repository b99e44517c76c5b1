"""Who is this, over the whole fleet: compared by a server with pgvector, and by the device without it."""

import contextlib
import hashlib
import subprocess
import threading
import uuid

import numpy as np
import pytest
from postgres import PASSWORD

from app.database.connection import connected
from app.database.devices import greet
from app.database.gallery import NewRow, SharedGallery
from app.database.ids import new_id
from app.database.pgvector import prepare_search, server_search
from app.database.schema import migrate
from app.database.search import FleetSearch
from app.database.strangers import SeenStranger, SharedStrangers
from app.fleet.merger import packed, update_survivors
from app.settings import FleetSettings

D = 16


@pytest.fixture(params=["server", "device"], scope="module")
def fleet(request):
    """Settings of a database with tables. The server of the first kind has pgvector. Each test has an embedder of its
    own, so that it finds nobody of the others."""
    server = request.getfixturevalue("with_pgvector" if request.param == "server" else "_postgres")
    if server.process.poll() is not None:
        server.start()
    address = server.database()
    settings = FleetSettings(database=address)
    with connected(settings) as connection:
        migrate(connection)
        prepare_search(connection)
    yield settings
    server.drop(address)


@pytest.fixture
def embedder():
    return new_id()


class Device:
    def __init__(self, connection, name, embedder):
        self.id, self.embedder = new_id(), embedder
        greet(connection, self.id, name, embedder, "1", [new_id()])
        self.connection = connection
        self.gallery = SharedGallery(connection, self.id)
        self.all_strangers = SharedStrangers(connection, self.id)

    def adds(self, name, vector, embedder=None):
        sha256 = new_id().replace("-", "") * 2
        self.gallery.add(NewRow(sha256, f"{name}.jpg", b"1", None), name, None)
        self.gallery.add_embedding(
            sha256, embedder or self.embedder, vector if isinstance(vector, bytes) else stored(vector)
        )
        return sha256

    def sees(self, number, vector, stranger=None, weight=1.0, embedder=None, expires=4e9):
        stranger = stranger or new_id()
        prototype = vector if isinstance(vector, bytes) else packed(vector)
        assert self.all_strangers.seen(
            SeenStranger(stranger, number, "door", embedder or self.embedder, prototype, weight, 2, 1.0, 2.0, expires)
        )
        return stranger

    def search(self):
        return FleetSearch(self.connection, self.embedder)

    def people(self, face, top=10):
        return self.search().people(face[None], top)[0]

    def strangers(self, face, top=10):
        return self.search().strangers(face[None], top)[0]


@pytest.fixture
def device(fleet, embedder):
    with contextlib.ExitStack() as stack:
        yield lambda name="a": Device(stack.enter_context(connected(fleet)), name, embedder)


@pytest.fixture
def rows(fleet, embedder):
    """How many rows of the embedder the tables of the search have; None without them."""

    def count():
        with connected(fleet) as connection:
            if not server_search(connection).is_on:
                return None
            return connection.execute(
                "select (select count(*) from search_photo where embedder = %(embedder)s), "
                "(select count(*) from search_stranger where embedder = %(embedder)s)",
                {"embedder": embedder},
            ).fetchone()

    return count


def stored(vector):
    return np.asarray(vector, "<f4").tobytes()


def faces(count, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, D)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cosine(one, other):
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_a_person_is_as_similar_as_the_best_photo(device):
    a, (face, near, far, other) = device(), faces(4)
    near = 3 * (face + 0.2 * near)  # of any length
    a.adds("Ann", far)
    a.adds("Ann", near)
    a.adds("Eva", other)
    ann, eva = sorted(a.people(face), key=lambda one: one.name)
    assert (ann.name, ann.photo, eva.name) == ("Ann", "Ann.jpg", "Eva")
    assert ann.similarity == pytest.approx(cosine(face, near), abs=1e-5)
    assert eva.similarity == pytest.approx(cosine(face, other), abs=1e-5)
    assert [one.name for one in a.people(face, top=1)] == ["Ann"]


def test_strangers_who_are_one_person_are_one_with_all_their_places(device):
    a, b = device("a"), device("b")
    face, here, there, other = faces(4)
    here, there = face + 0.2 * here, face + 0.4 * there
    first, second = a.sees(7, here), b.sees(2, there)
    a.sees(8, other)
    a.all_strangers.decide(first, second, same=True, by_person=False)
    update_survivors(a.all_strangers)
    nearest, far = a.strangers(face)
    assert nearest.person == min(first, second)
    assert nearest.similarity == pytest.approx(cosine(face, here), abs=1e-3)  # stored with 11 bits
    assert {(one.device, one.stranger, one.channel) for one in nearest.seen} == {
        ("a", "stranger-7", "door"),
        ("b", "stranger-2", "door"),
    }
    assert (nearest.name, [one.stranger for one in far.seen]) == (None, ["stranger-8"])
    b.all_strangers.name(second, "Max")
    update_survivors(a.all_strangers)
    assert a.strangers(face)[0].name == "Max"


def test_what_is_added_after_a_search_is_found_by_the_next(device):
    a, (face, person, stranger) = device(), faces(3)
    assert (a.people(face), a.strangers(face)) == ([], [])
    a.adds("Ann", person)
    a.sees(1, stranger)
    assert [one.name for one in a.people(face)] == ["Ann"]
    assert len(a.strangers(face)) == 1


def test_who_is_forgotten_is_gone_from_the_search_at_once(device, rows):
    a, (face, person, stranger) = device(), faces(3)
    photo = a.adds("Ann", person)
    a.sees(1, stranger)
    assert len(a.people(face)) == len(a.strangers(face)) == 1
    assert rows() in (None, (1, 1))
    a.gallery.remove(photo)
    a.all_strangers.leave(1)
    assert rows() in (None, (0, 0))
    assert (a.people(face), a.strangers(face)) == ([], [])


def test_a_stranger_whose_time_is_over_is_not_found(device):
    a, (face, stranger) = device(), faces(2)
    a.sees(1, stranger, expires=1.0)
    assert a.strangers(face) == []


def test_a_stranger_who_was_seen_better_is_compared_as_seen_then(device, rows):
    a, (face, before, after) = device(), faces(3)
    stranger = a.sees(1, before)
    assert a.strangers(face)[0].similarity == pytest.approx(cosine(face, before), abs=1e-3)
    a.sees(1, after, stranger, weight=2.0)
    assert rows() in (None, (0, 0))
    assert a.strangers(face)[0].similarity == pytest.approx(cosine(face, after), abs=1e-3)


def test_only_embeddings_of_the_same_embedder_are_compared(device):
    a, face = device(), faces(1)[0]
    a.adds("Ann", np.ones(8), embedder="another")
    a.sees(1, np.ones(8), embedder="another")
    assert (a.people(face), a.strangers(face)) == ([], [])
    assert ("another", 1, 1) in a.search().shared()


@pytest.mark.parametrize("broken", [b"", b"1234", stored(np.zeros(D)), stored([np.nan] * D), stored([3e38] * D)])
def test_what_is_no_embedding_is_left_out(device, broken):
    a, (face, person) = device(), faces(2)
    a.adds("Nobody", broken)
    a.adds("Ann", person)
    a.sees(1, broken)
    for _ in range(2):
        assert [one.name for one in a.people(face)] == ["Ann"]
        assert a.strangers(face) == []


@pytest.fixture
def many(fleet, embedder):
    """1,500 people with two photos each and 3,000 strangers, of whom each tenth is the one before."""
    vectors = faces(6000, seed=1)
    with connected(fleet) as connection:
        connection.execute("set session_replication_role = replica")  # so many at once take long with triggers
        connection.execute(
            "insert into person(id, name, revision) select md5(%(key)s::text || n)::uuid, %(key)s::text || n, n "
            "from generate_series(0, 1499) n",
            {"key": embedder},
        )
        connection.execute(
            "insert into photo(sha256, person, file_name, data, revision) select "
            "sha256((%(key)s::text || n)::bytea), md5(%(key)s::text || n / 2)::uuid, n || '.jpg', 'x', n "
            "from generate_series(0, 2999) n",
            {"key": embedder},
        )
        connection.execute(
            "insert into embedding(photo, embedder, vector) select sha256((%(key)s::text || n - 1)::bytea), %(key)s, v "
            "from unnest(%(vectors)s::bytea[]) with ordinality as one(v, n)",
            {"key": embedder, "vectors": [stored(vector) for vector in vectors[:3000]]},
        )
        connection.execute(
            "insert into stranger(id, embedder, prototype, weight, looks, first_seen, last_seen, expires, revision, "
            "merged_into) select md5(%(key)s::text || n)::uuid, %(key)s, v, 1, 2, now(), now(), "
            "now() + interval '1 day', n, case when n %% 10 = 0 then md5(%(key)s::text || n - 1)::uuid end "
            "from unnest(%(vectors)s::bytea[]) with ordinality as one(v, n)",
            {"key": embedder, "vectors": [packed(vector) for vector in vectors[3000:]]},
        )
    return fleet


def test_both_ways_give_the_answer_of_a_comparison_with_everybody(many, embedder):
    searched, vectors = faces(5, seed=2), faces(6000, seed=1)
    photos = searched @ vectors[:3000].T
    strangers = searched @ vectors[3000:].astype("<f2").astype(np.float32).T
    one_person = np.array([one - 1 if one % 10 == 0 else one for one in range(1, 3001)])
    with connected(many) as connection:
        for by_server in (True, False):
            search = FleetSearch(connection, embedder, by_server)
            for top in (1, 20):
                for row, near in zip(photos, search.people(searched, top)):
                    best = np.argsort(-row.reshape(-1, 2).max(axis=1))[:top]
                    assert [one.name for one in near] == [f"{embedder}{person}" for person in best]
                    assert [one.similarity for one in near] == pytest.approx(
                        row.reshape(-1, 2).max(axis=1)[best], abs=1e-5
                    )
                    assert [one.photo for one in near] == [
                        f"{2 * person + row[2 * person : 2 * person + 2].argmax()}.jpg" for person in best
                    ]
                for row, near in zip(strangers, search.strangers(searched, top)):
                    order = dict.fromkeys(one_person[np.argsort(-row)].tolist())
                    assert [one.person for one in near] == [person_id(embedder, one) for one in list(order)[:top]]
                    expected = sorted((row[one_person == one].max() for one in list(order)[:top]), reverse=True)
                    assert [one.similarity for one in near] == pytest.approx(expected, abs=1e-3)


def test_the_server_and_the_device_agree_about_similarities(many, embedder):
    searched = faces(5, seed=3)
    with connected(many) as connection:
        server, device = (
            FleetSearch(connection, embedder, by_server).strangers(searched, 20) for by_server in (True, False)
        )
    for one, other in zip(server, device):
        assert [near.person for near in one] == [near.person for near in other]
        assert [near.similarity for near in one] == pytest.approx([near.similarity for near in other], abs=1e-5)


def person_id(embedder, number):
    return str(uuid.UUID(hashlib.md5(f"{embedder}{number}".encode()).hexdigest()))


def test_many_who_search_at_once_while_strangers_are_forgotten_agree_and_keep_nothing_of_them(many, embedder, rows):
    face, found, errors = faces(1), [], []

    def run(work):
        try:
            with connected(many) as connection:
                work(connection)
        except Exception as error:
            errors.append(error)
            raise

    def search(connection):
        shared = FleetSearch(connection, embedder)
        shared.strangers(face, 5)
        found.append([one.name for one in shared.people(face, 5)[0]])

    def forget(connection):
        shared = SharedStrangers(connection, new_id())
        for number in range(1, 3000, 300):
            connection.execute("insert into device(id, name) values (%s, 'x') on conflict do nothing", [shared._device])
            with connection.transaction():
                connection.execute("select from stranger_head for update")
                connection.execute(
                    "update stranger set gone = true, prototype = null, merged_into = null "
                    "where embedder = %s and revision between %s and %s",
                    [embedder, number, number + 149],
                )

    threads = [threading.Thread(target=run, args=(work,)) for work in (search, search, forget, search)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(found) == 3 and found[0] == found[1] == found[2]
    with connected(many) as connection:
        left = connection.execute(
            "select count(*) from stranger where embedder = %s and not gone", [embedder]
        ).fetchone()[0]
        FleetSearch(connection, embedder).strangers(face, 5)
        if rows() is not None:
            assert rows() == (3000, left)
            assert connection.execute(
                "select count(*) from search_stranger join stranger on id = stranger where gone"
            ).fetchone() == (0,)


def test_a_server_without_pgvector_is_no_error(postgres, database):
    with connected(FleetSettings(database=database)) as connection:
        migrate(connection)
        assert prepare_search(connection) is None
        assert server_search(connection) == (None, None, False)


def test_pgvector_that_is_installed_later_is_used_later(with_pgvector):
    address = with_pgvector.database()
    with connected(FleetSettings(database=address)) as connection:
        with with_pgvector.without_pgvector():
            migrate(connection)
            assert prepare_search(connection) is None
            assert server_search(connection) == (None, None, False)
            a = Device(connection, "a", new_id())
            face, other = faces(2)
            a.adds("Ann", other)
            (before,) = a.people(face)
        assert prepare_search(connection) is None
        assert prepare_search(connection) is None
        found = server_search(connection)
        assert found.is_on and found.installed == found.available
        assert a.search().by_server
        (now,) = a.people(face)
        assert (now.name, now.similarity) == ("Ann", pytest.approx(before.similarity, abs=1e-5))
        connection.execute("drop extension vector cascade")  # with its columns; the rest goes on
        assert not server_search(connection).is_on
        assert a.people(face)[0].name == "Ann"
        assert prepare_search(connection) is None
        assert a.search().by_server
        connection.execute("comment on table search_stranger is 'of another program'")
        assert not a.search().by_server
        assert prepare_search(connection) is None
        assert a.search().by_server and a.people(face)[0].name == "Ann"
    with_pgvector.drop(address)


def test_a_crash_of_the_server_takes_nothing_from_a_search(with_pgvector):
    address = with_pgvector.database()
    settings, (face, person, stranger) = FleetSettings(database=address), faces(3)
    with connected(settings) as connection:
        migrate(connection)
        prepare_search(connection)
        a = Device(connection, "a", new_id())
        a.adds("Ann", person)
        a.sees(1, stranger)
        before = a.people(face), a.strangers(face)
    with_pgvector.kill()
    with_pgvector.start()
    with connected(settings) as connection:
        assert connection.execute("select count(*) from search_photo").fetchone() == (0,)
        a.connection = connection
        assert (a.people(face), a.strangers(face)) == before
    with_pgvector.drop(address)


def test_pgvector_in_a_schema_that_is_not_searched_is_not_used(with_pgvector):
    address = with_pgvector.database()
    with connected(FleetSettings(database=address)) as connection:
        connection.execute("create schema elsewhere")
        connection.execute("create extension vector schema elsewhere")
        migrate(connection)
        assert "vector" in prepare_search(connection)
        assert not server_search(connection).is_on
    with_pgvector.drop(address)


def test_an_owner_who_must_not_create_pgvector_is_told_and_an_administrator_helps(with_pgvector):
    address = with_pgvector.database()
    name = address.rpartition("/")[2]
    with_pgvector.sql(
        name,
        f"create role {name}_owner login password '{PASSWORD}'",
        f"alter database {name} owner to {name}_owner",
        f"grant create on schema public to {name}_owner",
    )
    owner = FleetSettings(database=with_pgvector.address(name, f"{name}_owner:{PASSWORD}"))
    with connected(owner) as connection:
        migrate(connection)
        assert "vector" in prepare_search(connection)
        assert not server_search(connection).is_on
        a, (face, other) = Device(connection, "a", new_id()), faces(2)
        a.adds("Ann", other)
        assert [one.name for one in a.people(face)] == ["Ann"]
        with_pgvector.sql(name, "create extension vector")
        assert prepare_search(connection) is None
        assert a.search().by_server
        assert [one.name for one in a.people(face)] == ["Ann"]
    with_pgvector.drop(address)
    with_pgvector.sql("postgres", f"drop role {name}_owner")


def test_a_backup_can_be_restored_on_a_server_without_pgvector(with_pgvector, database, postgres):
    origin = with_pgvector.database()
    face, person, stranger, better = faces(4)
    with connected(FleetSettings(database=origin)) as connection:
        migrate(connection)
        prepare_search(connection)
        a = Device(connection, "a", new_id())
        photo = a.adds("Ann", person)
        one = a.sees(1, stranger)
        assert len(a.people(face)) == len(a.strangers(face)) == 1
    programs = with_pgvector.programs / "bin"
    dump = subprocess.run([programs / "pg_dump", "--exclude-table=search_*", origin], check=True, capture_output=True)
    subprocess.run([programs / "psql", "-q", database], input=dump.stdout, check=True, capture_output=True)
    with connected(FleetSettings(database=database)) as connection:
        assert not server_search(connection).is_on
        a.connection, a.gallery, a.all_strangers = (
            connection,
            SharedGallery(connection, a.id),
            SharedStrangers(connection, a.id),
        )
        a.sees(1, better, one, weight=2.0)
        assert a.strangers(face)[0].similarity == pytest.approx(cosine(face, better), abs=1e-3)
        a.gallery.remove(photo)
        assert a.people(face) == []
    with_pgvector.drop(origin)
