"""What a search over the fleet says of a face: decided as a run decides."""

import numpy as np
import pytest

from app.database.connection import connected
from app.database.devices import greet
from app.database.gallery import NewRow, SharedGallery
from app.database.ids import new_id
from app.database.search import FleetSearch
from app.fleet.search import Similarities, search_fleet
from app.types import Reason

FROM = Similarities(person=0.4, stranger=0.5)


@pytest.fixture
def decided(device):
    """The answer about a face, with people at these similarities in the database."""
    one = device("a")

    def decide(top=3, **similarities):
        face, other = np.eye(128, dtype=np.float32)[:2]
        with connected(one.settings.fleet) as connection:
            own, embedder = new_id(), one.gallery.embedder_id
            greet(connection, own, "a", embedder, "1", [new_id()])
            gallery = SharedGallery(connection, own)
            for number, (name, similarity) in enumerate(similarities.items()):
                vector = similarity * face + np.sqrt(1 - similarity**2) * other
                gallery.add(NewRow(f"{number:064x}", "1.jpg", b"1", None), name, None)
                gallery.add_embedding(f"{number:064x}", embedder, vector.astype("<f4").tobytes())
            (answer,) = search_fleet(FleetSearch(connection, embedder), one.gallery, face[None], FROM, top)
        return answer

    return decide


def test_the_nearest_person_has_the_name_if_nobody_else_is_as_similar(decided):
    answer = decided(Ann=0.6, Eva=0.5, Max=0.1)
    assert (answer.match.name, answer.match.reason, answer.stranger) == ("Ann", Reason.MATCHED, None)
    assert [one.name for one in answer.people] == ["Ann", "Eva", "Max"]


@pytest.mark.parametrize("top", [1, 3])
def test_two_people_who_are_as_similar_make_no_name_however_many_are_listed(decided, top):
    answer = decided(top=top, Ann=0.6, Eva=0.59)
    assert (answer.match.name, answer.match.reason) == (None, Reason.AMBIGUOUS)
    assert (answer.match.nearest, answer.match.runner_up) == ("Ann", "Eva")
    assert len(answer.people) == min(top, 2)


def test_nobody_who_is_similar_enough_makes_no_name(decided):
    answer = decided(Ann=0.39)
    assert (answer.match.name, answer.match.reason, answer.match.nearest) == (None, Reason.BELOW_THRESHOLD, "Ann")


def test_an_empty_database_makes_no_name(decided):
    answer = decided()
    assert (answer.match.name, answer.match.reason) == (None, Reason.NO_ONE_ENROLLED)
    assert answer.people == answer.strangers == ()
