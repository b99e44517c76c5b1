"""Cookies, login codes and tickets: what a client may show instead of a token."""

import contextlib
import http.cookies
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from http_client import Client, serving
from made_results import frame, result
from shipped import ROOT

from app import files
from app.service import shared_state
from app.service.http import HttpError
from app.service.sessions import (
    CODE_VALID_S,
    CONSOLE,
    MAX_ALL_FAILED_LOGINS,
    MAX_FAILED_LOGINS,
    NOTE_USE_EVERY_S,
    SESSION_IDLE_S,
    TICKET_VALID_S,
    Failures,
    LoginCode,
    Sessions,
    Tickets,
    TokenUses,
    cookie_header,
    cookie_name,
)
from app.service.shared_state import SharedState
from app.service.tokens import Token, add_token, read_tokens, remove_token

SESSION = "/api/v1/session"
CSRF = {"X-CSRF": "1"}


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def state(tmp_path):
    return SharedState(tmp_path / "sessions.json")


@pytest.fixture
def locked(settings, tmp_path):
    """A client of a server with a token that may enrol, the token, and the file."""
    tokens = tmp_path / "tokens.json"
    secret = add_token(tokens, "phone", "enrol")
    with serving(settings, tokens=tokens, audit_log=tmp_path / "audit.jsonl") as client:
        yield client, secret, tokens


def logged_in(client, secret):
    """A client with the cookie that a log-in has set, and the cookie."""
    reply = client.post(SESSION, {"token": secret}, **CSRF)
    assert (reply.status, reply.json["client"], reply.json["scope"]) == (200, "phone", "enrol")
    (cookie,) = http.cookies.SimpleCookie(reply.headers["set-cookie"]).values()
    return Client(client.port, Cookie=f"{cookie.key}={cookie.value}"), cookie


def test_a_cookie_is_for_this_server_only_and_hidden_from_scripts(locked):
    client, secret, _ = locked
    _, cookie = logged_in(client, secret)
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "Strict", "/", "")
    assert len(cookie.value) >= 43 and secret not in cookie.value


def test_with_encryption_a_cookie_is_bound_to_it():
    name = cookie_name(8080, is_encrypted=True)
    assert name.startswith("__Host-")
    assert "; Secure" in cookie_header(name, "x", is_encrypted=True)["Set-Cookie"]


def test_with_a_cookie_a_change_needs_a_header_that_other_pages_cannot_send(locked):
    client, secret, _ = locked
    browser, _ = logged_in(client, secret)
    assert browser.get("/info").status == 200
    assert browser.request("DELETE", "/api/v1/people/Nobody").status == 403
    assert browser.request("DELETE", "/api/v1/people/Nobody", headers=CSRF).status == 404
    assert client.post(SESSION, {"token": secret}).status == 403
    assert browser.request("DELETE", SESSION).status == 403


def test_logging_out_ends_the_session(locked):
    client, secret, _ = locked
    browser, cookie = logged_in(client, secret)
    assert browser.get(SESSION).json == {"needs_token": True, "client": "phone", "scope": "enrol"}
    reply = browser.request("DELETE", SESSION, headers=CSRF)
    assert cookie.key in reply.headers["set-cookie"] and "Max-Age=0" in reply.headers["set-cookie"]
    assert browser.get("/info").status == 401
    assert browser.get(SESSION).json["client"] is None


def test_a_session_ends_with_its_token(locked):
    client, secret, tokens = locked
    browser, _ = logged_in(client, secret)
    remove_token(tokens, "phone")
    assert browser.get("/info").status == 401


def test_wrong_log_ins_are_counted_and_set_no_cookie(locked):
    client, secret, _ = locked
    replies = [client.post(SESSION, {"code": "guess"}, **CSRF) for _ in range(MAX_FAILED_LOGINS + 1)]
    assert [one.status for one in replies] == [401] * MAX_FAILED_LOGINS + [429]
    assert not any("set-cookie" in one.headers for one in replies)
    logged_in(client, secret)


def test_a_code_is_good_once_and_for_ten_minutes(clock, state):
    code = LoginCode(state, clock)
    assert not code.use("")
    first = code.make()
    assert not code.use(first + "x")
    assert code.use(first) and not code.use(first)
    second = code.make()
    clock.now_s += CODE_VALID_S + 1
    assert not code.use(second)


def test_a_code_that_is_used_while_another_process_changes_the_state_is_not_good_twice(state, tmp_path, monkeypatch):
    monkeypatch.setattr(shared_state, "LOCK_WAIT_S", 0.0)
    path, used = tmp_path / "sessions.json", []
    code = LoginCode(state).make()
    known_to_other = path.read_bytes()
    with files.locked(path.with_suffix(".lock"), 0.0):
        with contextlib.suppress(HttpError):
            used.append(LoginCode(state).use(code))
        path.write_bytes(known_to_other)
    used += [LoginCode(SharedState(path)).use(code) for _ in range(2)]
    assert used.count(True) == 1


def test_who_is_logged_in_does_not_wait_for_other_processes(clock, state, tmp_path):
    sessions, uses, token = Sessions(state, clock), TokenUses(state, clock), Token("phone", "read", "phone", "")
    cookie = sessions.open(CONSOLE)
    clock.now_s += NOTE_USE_EVERY_S + 1
    with files.locked((tmp_path / "sessions.json").with_suffix(".lock"), 0.0):
        assert sessions.find(cookie) == CONSOLE
        uses.note(token, (token,))
    uses.note(token, (token,))
    assert state.read().used == {"phone": clock.now_s}


CLOCK_THAT_IS_SET = """
    import sys, time
    from pathlib import Path

    real, ahead_s = time.time, 0.0
    time.time = lambda: real() + ahead_s

    from app.service.sessions import CONSOLE, LoginCode, Sessions
    from app.service.shared_state import SharedState

    state = SharedState(Path(sys.argv[1]))
    code = LoginCode(state).make()
    ahead_s = 1e6
    assert LoginCode(state).use(code), "the clock was set forward"
    cookie = Sessions(state).open(CONSOLE)
    ahead_s = 0.0
    assert Sessions(state).find(cookie) is None, "it would be good for 12 days"
"""


def test_a_clock_that_is_set_ends_no_code_and_makes_no_session_longer(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(CLOCK_THAT_IS_SET), str(tmp_path / "sessions.json")]
    run = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()


def test_codes_of_before_the_machine_was_started_are_not_good(clock, state, monkeypatch):
    code = LoginCode(state, clock).make()
    monkeypatch.setattr(Path, "read_text", lambda *arguments, **options: "another start")
    assert not LoginCode(state, clock).use(code)


def test_a_session_ends_when_it_is_not_used(clock, state):
    sessions = Sessions(state, clock)
    used, unused = sessions.open(CONSOLE), sessions.open(CONSOLE)
    clock.now_s += SESSION_IDLE_S - 1
    assert sessions.find(used) == CONSOLE
    clock.now_s += 2
    assert sessions.find(used) == CONSOLE
    assert sessions.find(unused) is None


def test_failures_are_counted_for_each_address_and_for_all_together(clock, state):
    failures = Failures(state, clock)
    assert [failures.count("a") for _ in range(MAX_FAILED_LOGINS + 1)] == [False] * MAX_FAILED_LOGINS + [True]
    others = [failures.count(f"b{number}") for number in range(MAX_ALL_FAILED_LOGINS)]
    assert others.count(False) == MAX_ALL_FAILED_LOGINS - MAX_FAILED_LOGINS
    clock.now_s += 61
    assert not failures.count("a")


def test_a_ticket_is_for_one_path_and_ten_minutes_and_one_token(clock, state):
    tickets, other = Tickets(state, clock), Token("b", "read", "f" * 64, "")
    ticket = tickets.make("/a", CONSOLE)
    assert tickets.is_good(ticket, "/a", CONSOLE)
    assert not tickets.is_good(ticket, "/b", CONSOLE)
    assert not tickets.is_good(ticket, "/a", other)
    later = f"{int(clock.now_s) + 99_999}.{ticket.partition('.')[2]}"
    for forged in (later, ticket[:-1], "", "x", "9" * 30, "1٣.x", "é"):
        assert not tickets.is_good(forged, "/a", CONSOLE)
    clock.now_s += TICKET_VALID_S + 1
    assert not tickets.is_good(ticket, "/a", CONSOLE)


def test_an_address_with_a_ticket_needs_no_token(watched, tmp_path):
    tokens = tmp_path / "tokens.json"
    secret = add_token(tokens, "panel", "read")
    client, view = watched("door", "yard")
    view.live.handle(result(frame(source="door"), []))
    picture = "/api/v1/channels/door/snapshot.jpg"
    token = {"Authorization": f"Bearer {secret}"}
    address = client.post("/api/v1/tickets", {"path": picture}, **token).json["address"]
    shown = client.get(address + "&width=160")
    assert (shown.status, shown.headers["content-type"]) == (200, "image/jpeg")
    assert shown.headers["cross-origin-resource-policy"] == "cross-origin"
    assert client.get(picture).status == 401
    assert client.get(address.replace("door", "yard")).status == 401
    assert client.get(address.replace("snapshot.jpg", "mjpeg")).status == 401
    assert client.get("/api/v1/people?" + address.partition("?")[2]).status == 401
    assert client.request("POST", "/api/v1/tickets?" + address.partition("?")[2], b"{}").status == 401
    # Whoever already has access gains nothing for other pages by inventing one.
    own = client.get(picture + "?ticket=1.x", **token)
    assert own.headers["cross-origin-resource-policy"] == "same-origin"
    remove_token(tokens, "panel")
    assert client.get(address).status == 401


@pytest.mark.parametrize("path", ["/api/v1/people", "/api/v1/channels/a/b/mjpeg", "https://evil.example/mjpeg", ""])
def test_tickets_are_for_pictures_of_channels_only(locked, path):
    client, secret, _ = locked
    assert client.post("/api/v1/tickets", {"path": path}, Authorization=f"Bearer {secret}").status == 400


@pytest.fixture
def other(locked, settings, tmp_path):
    """A client of a second server with the same file of tokens, as another process of the first has it."""
    _, _, tokens = locked
    with serving(settings, tokens=tokens, audit_log=tmp_path / "audit.jsonl") as client:
        yield client


def with_cookie(client, cookie):
    return Client(client.port, Cookie=f"{cookie_name(client.port, is_encrypted=False)}={cookie.value}")


def test_a_log_in_and_a_log_out_count_for_all_processes(locked, other):
    client, secret, tokens = locked
    browser, cookie = logged_in(client, secret)
    elsewhere = with_cookie(other, cookie)
    assert elsewhere.get("/info").status == 200
    assert elsewhere.request("DELETE", SESSION, headers=CSRF).status == 200
    assert (browser.get("/info").status, elsewhere.get("/info").status) == (401, 401)
    _, cookie = logged_in(client, secret)
    remove_token(tokens, "phone")
    assert with_cookie(other, cookie).get("/info").status == 401


def test_a_code_that_one_process_has_printed_is_good_once_for_all(caplog, settings, tmp_path):
    tokens = tmp_path / "tokens.json"
    add_token(tokens, "phone", "enrol")
    with caplog.at_level("INFO"), serving(settings, tokens=tokens), serving(settings, tokens=tokens) as second:
        codes = re.findall(r"/#/login/(\S+)", caplog.text)
        first = codes[0]
        replies = [second.post(SESSION, {"code": first}, **CSRF).status for _ in range(2)]
        assert (len(set(codes)), replies) == (2, [200, 401])


def test_a_ticket_of_one_process_is_taken_by_another(locked, other):
    client, secret, _ = locked
    path = "/api/v1/channels/door/snapshot.jpg"
    made = client.post("/api/v1/tickets", {"path": path}, Authorization=f"Bearer {secret}").json["address"]
    # Let in, and there is no such channel.
    assert other.get(made).status == client.get(made).status == 404
    assert other.get(made[:-1]).status == 401


def test_what_is_kept_of_log_ins_is_of_no_use_to_those_who_read_it(locked):
    client, secret, tokens = locked
    _, cookie = logged_in(client, secret)
    (kept,) = tokens.parent.glob(".*.sessions.json")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert cookie.value not in kept.read_text() and secret not in kept.read_text()


def test_deleting_or_damaging_the_file_ends_all_sessions(locked):
    client, secret, tokens = locked
    for change in (lambda path: path.unlink(), lambda path: path.write_text('{"key": 1}')):
        browser, _ = logged_in(client, secret)
        assert browser.get("/info").status == 200
        (kept,) = tokens.parent.glob(".*.sessions.json")
        change(kept)
        logged_in(client, secret)
        assert browser.get("/info").status == 401


def test_without_a_place_for_the_file_sessions_are_kept_in_memory(clock, tmp_path):
    sessions = Sessions(SharedState(tmp_path / "missing" / "sessions.json"), clock)
    cookie = sessions.open(CONSOLE)
    assert sessions.find(cookie) == CONSOLE
    sessions.close(cookie)
    assert sessions.find(cookie) is None


def test_when_a_token_was_used_last_is_noted_once_a_minute(clock, state, tmp_path):
    phone, gone = (Token(name, "read", name, "") for name in ("phone", "gone"))
    uses, other_process = TokenUses(state, clock), SharedState(tmp_path / "sessions.json")
    uses.note(gone, (phone, gone))
    uses.note(phone, (phone,))
    assert other_process.read().used == {phone.sha256: 1000.0}
    clock.now_s += NOTE_USE_EVERY_S
    uses.note(phone, (phone,))
    assert other_process.read().used == {phone.sha256: 1000.0}
    clock.now_s += 1
    uses.note(phone, (phone,))
    assert other_process.read().used == {phone.sha256: 1061.0}


def test_a_use_of_a_token_is_seen_in_each_way_that_clients_have(locked):
    client, secret, tokens = locked
    add_token(tokens, "unused", "admin")
    (phone, _) = read_tokens(tokens)
    state = SharedState.next_to(tokens)
    assert client.get("/info", Authorization="Bearer wrong").status == 401
    assert state.read().used == {}
    assert client.get("/info", **{"x-api-key": secret}).status == 200
    assert set(state.read().used) == {phone.sha256}
    state.change(lambda known: known.used.clear())
    browser, _ = logged_in(client, secret)
    assert browser.get("/info").status == 200
    assert set(state.read().used) == {phone.sha256}
