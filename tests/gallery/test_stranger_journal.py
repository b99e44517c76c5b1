"""The strangers' journal: what was written is there after a crash, and other programs see it."""

import subprocess
import sys
from pathlib import Path

import pytest
from planted_visits import BASIS, MODEL, visit
from shipped import ROOT
from waiting import until

from app.gallery.stranger_journal import StrangerJournal
from app.identity.stranger_rules import without
from app.identity.strangers import Denied, Dropped, Ignored, Merged, Moved, Named, Numbered, Renamed, Seen, StrangerBook

CHANGES = [
    Seen(visit("a", 0, stranger=1, crop_quality=0.5)),
    Seen(visit("b", 1, stranger=2, position=4.25, file="x/é.jpg")),
    Seen(visit("c", 2, name="José")),
    Moved(("c",), None),
    Moved(("c",), None, "José"),
    Moved(("b",), 3),
    Merged(3, 1),
    Ignored(1),
    Ignored(1, False),
    Named(1, "Eva"),
    Renamed("Eva", "Ida"),
    Denied("Ann", MODEL, BASIS[3], 12.5, "a"),
    Dropped(("c",)),
    Numbered(9),
]


def state(book):
    visits = {key: {**vars(kept), "embedding": kept.embedding.tobytes()} for key, kept in book.visits.items()}
    denied = [{**vars(one), "embedding": one.embedding.tobytes()} for one in book.denied]
    return book.next_number, visits, denied, book.ignored, book.named, book.merged


def read(folder):
    journal = StrangerJournal(folder)
    journal.refresh()
    return journal


@pytest.mark.parametrize("count", range(len(CHANGES) + 1))
def test_what_was_written_is_read_back(tmp_path, count):
    journal = StrangerJournal(tmp_path / "new" / "folder")
    for change in CHANGES[:count]:
        assert journal.update(lambda book, change=change: [change]) == [change]
    again = read(journal.folder)
    assert state(again.book) == state(journal.book)
    assert again.rewrite(lambda book: book)
    assert state(read(journal.folder).book) == state(journal.book)


def test_half_a_line_of_a_killed_program_is_replaced_by_the_next(tmp_path):
    journal = StrangerJournal(tmp_path)
    journal.update(lambda book: CHANGES[:1])
    with journal.path.open("ab") as file:
        file.write(b'{"change": "seen", "visit": {"id": "torn')
    other = StrangerJournal(tmp_path)
    other.update(lambda book: CHANGES[1:2])
    journal.refresh()
    assert set(journal.book.visits) == set(other.book.visits) == set(read(tmp_path).book.visits) == {"a", "b"}


def test_a_damaged_line_is_skipped_with_a_warning(tmp_path, caplog):
    journal = StrangerJournal(tmp_path)
    journal.update(lambda book: CHANGES[:1])
    with journal.path.open("ab") as file:
        file.write(b'{"change": "unheard of"}\nnot json\n')
    journal.update(lambda book: CHANGES[1:2])
    assert set(read(tmp_path).book.visits) == {"a", "b"}
    assert "journal.jsonl" in caplog.text


def test_decisions_are_made_on_what_other_programs_have_written(tmp_path):
    one, other = StrangerJournal(tmp_path), StrangerJournal(tmp_path)
    one.update(lambda book: CHANGES[:2])
    assert other.update(lambda book: [Numbered(book.next_number + 1)]) == [Numbered(4)]


def test_a_replaced_journal_is_noticed_by_other_programs_only(tmp_path):
    one, other = StrangerJournal(tmp_path), StrangerJournal(tmp_path)
    one.update(lambda book: CHANGES[:2])
    other.refresh()
    one.rewrite(lambda book: StrangerBook(next_number=book.next_number))
    other.refresh()
    assert (one.generation, other.generation) == (0, 1)
    assert one.book.visits == other.book.visits == {} and other.book.next_number == 3


def test_after_the_folder_was_deleted_numbers_go_on(tmp_path):
    journal = StrangerJournal(tmp_path / "s")
    journal.update(lambda book: CHANGES[:2])
    for path in [journal.path, journal.folder / ".lock"]:
        path.unlink()
    journal.crops.rmdir()
    journal.folder.rmdir()
    journal.refresh()
    assert (journal.book.visits, journal.book.next_number, journal.generation) == ({}, 3, 1)
    journal.update(lambda book: [Numbered(book.next_number)])
    assert read(tmp_path / "s").book.next_number == 3


def test_pictures_without_a_visit_are_deleted(tmp_path):
    journal = StrangerJournal(tmp_path)
    journal.update(lambda book: CHANGES[:1])
    for name in ("a.jpg", "orphan.jpg"):
        (journal.crops / name).write_bytes(b"picture")
    journal.rewrite(lambda book: None)
    assert [path.name for path in journal.crops.iterdir()] == ["a.jpg"]


WRITER = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from planted_visits import visit
from app.gallery.stranger_journal import StrangerJournal
from app.identity.strangers import Seen
journal = StrangerJournal(Path(sys.argv[1]))
while True:
    changes = journal.update(lambda book: [Seen(visit(f"v{book.next_number}", 0, stranger=book.next_number))])
    print(changes[0].visit.stranger, flush=True)
"""


@pytest.mark.slow
def test_killed_writers_never_lose_a_number_and_never_give_one_out_twice(tmp_path):
    given = []
    for _ in range(10):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(tmp_path), str(ROOT), str(ROOT / "tests")],
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        for writer in writers:
            given.append(int(writer.stdout.readline()))
        for writer in writers:
            writer.kill()
        for writer in writers:
            given += map(int, writer.stdout.read().split())
            writer.wait()
    assert len(given) == len(set(given)) and len(given) >= 20
    book = read(tmp_path).book
    assert set(given) <= set(book.strangers)


def test_a_program_that_keeps_the_folder_locked_is_waited_for_and_then_reported(tmp_path):
    journal = StrangerJournal(tmp_path)
    journal.update(lambda book: CHANGES[:1])
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys; f = open(sys.argv[1], 'ab'); fcntl.flock(f, 2); print(1, flush=True); input()",
            str(tmp_path / ".lock"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    holder.stdout.readline()
    assert journal.update(lambda book: CHANGES[1:2], wait_s=0.05) is None
    holder.communicate(b"\n")
    until(lambda: holder.poll() is not None)
    assert journal.update(lambda book: CHANGES[1:2]) == CHANGES[1:2]


def test_a_journal_that_was_replaced_twice_is_read_again_although_it_has_the_inode_of_before(tmp_path):
    """A file system gives the inode of the first file, which was deleted, to the third one."""
    journal, other = StrangerJournal(tmp_path), StrangerJournal(tmp_path)
    journal.update(lambda book: CHANGES[:1])
    other.update(lambda book: [Seen(visit("b", 1, stranger=2)), Seen(visit("c", 2, stranger=3))])
    content = journal.path.read_bytes()
    other.rewrite(lambda book: without(book, [1], []))
    other.update(lambda book: [Seen(visit("d", 3, stranger=4, file="x" * 500))])
    with_same_inode = tmp_path / "same"
    with_same_inode.write_bytes(content[: content.index(b"\n", content.index(b'"a"')) + 1])
    run = StrangerJournal(tmp_path)
    after = journal.path.read_bytes()
    with_same_inode.replace(journal.path)
    run.refresh()
    assert set(run.book.visits) == {"a"}
    with journal.path.open("r+b") as file:
        file.write(after)
    run.refresh()
    assert set(run.book.visits) == {"b", "c", "d"}
    assert run.generation == 1


def test_a_journal_that_is_replaced_while_it_is_opened_is_read_as_the_one_or_the_other(tmp_path, monkeypatch):
    journal, other = StrangerJournal(tmp_path), StrangerJournal(tmp_path)
    journal.update(lambda book: CHANGES[:1])
    other.update(lambda book: [Seen(visit("b", 1, stranger=2))])
    replacing = [lambda: other.rewrite(lambda book: without(book, [1], []))]
    open_file = Path.open

    def replace_and_open(path, *arguments, **options):
        if path == journal.path and replacing:
            replacing.pop()()
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", replace_and_open)
    journal.refresh()
    assert set(journal.book.visits) == {"b"}


def test_the_picture_of_a_visit_that_another_program_stores_is_kept(tmp_path, monkeypatch):
    journal, run = StrangerJournal(tmp_path), StrangerJournal(tmp_path)
    journal.update(lambda book: [Seen(visit("a", 0, stranger=1, crop_quality=0.5))])
    (journal.crops / "left.jpg").write_bytes(b"of nobody")
    (journal.crops / ".left.jpg.abcd_123.part").write_bytes(b"of a program that was killed")
    (journal.crops / ".a.jpg.abcd_123.part").write_bytes(b"being written")
    list_folder, stored = Path.glob, []

    def store_and_list(folder, pattern):
        if folder == journal.crops and not stored:
            stored.append(run.update(lambda book: [Seen(visit("b", 1, stranger=2, crop_quality=0.5))], wait_s=0.0))
            if stored[0] is not None:
                (journal.crops / "b.jpg").write_bytes(b"new")
        return list_folder(folder, pattern)

    monkeypatch.setattr(Path, "glob", store_and_list)
    journal.rewrite(lambda book: None)
    assert (journal.crops / "b.jpg").exists() or stored == [None], "the run stores it when it is its turn"
    assert sorted(path.name for path in journal.crops.iterdir() if path.name != "b.jpg") == [".a.jpg.abcd_123.part"]
