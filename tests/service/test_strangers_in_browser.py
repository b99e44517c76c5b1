"""Today and Strangers as people use them: a real browser, and a real server."""

import time

import pytest
from browser import Tab, chromium, program

pytest.importorskip("playwright", reason="needs the extra dev")
if program() is None:
    pytest.skip("needs chromium (tests/install_system_packages.sh)", allow_module_level=True)

BEGIN = 1_800_000_000.0
"""When the visits of `home` began."""

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def tab(browser):
    opened = []

    def make(client, **context):
        opened.append(Tab(browser, client.port, **context))
        return opened[-1]

    yield make
    for one in opened:
        one.context.close()
        assert one.complaints == []


def listed(client):
    return {one["stranger"] for one in client.get("/api/v1/strangers").json["strangers"]}


def visits_of(client, name):
    return len(client.get(f"/api/v1/visits?person={name}").json["visits"])


def test_a_stranger_is_named_by_keyboard_and_that_is_undone(home, tab):
    page = tab(home, color_scheme="dark").open("strangers/stranger-1")
    page.wait_for_selector(".review > .photo img")
    page.keyboard.press("n")
    page.keyboard.type("Grace")
    page.keyboard.press("Enter")
    assert "2 past visits" in page.wait_for_selector(".banner.notice").inner_text()
    assert (visits_of(home, "Grace"), "stranger-1" in listed(home)) == (2, False)
    page.wait_for_selector(".queue a[href$=stranger-1]", state="detached")
    # The key is for what has the focus: an entry field keeps it.
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("u")
    page.wait_for_selector(".queue a[href$=stranger-1]")
    assert (visits_of(home, "Grace"), "stranger-1" in listed(home)) == (0, True)


def test_a_merge_of_people_is_undone(home, photos, tab):
    home.upload("/api/v1/people/Grace/photos", {}, [("photos", "g.jpg", photos[1][0])])
    page = tab(home).open("people/Grace")
    page.click(".heading button:nth-child(2)")
    page.select_option("dialog select", "Collins")
    page.click("dialog button[type=submit]")
    page.click(".banner .undo")
    page.wait_for_selector("h1:has-text('Grace')")
    assert {one["name"]: one["photos"] for one in home.get("/api/v1/people").json["people"]} == {
        "Collins": 1,
        "Grace": 1,
    }


def test_strangers_who_were_seen_once_are_ignored_and_a_photo_finds_earlier_visits(home, photos, tab):
    home.post("/api/v1/strangers/stranger-3/split", {})
    one = tab(home, viewport={"width": 390, "height": 844})
    page = one.open("strangers")
    page.click(".heading .actions button")
    page.wait_for_selector(".banner .undo")
    assert listed(home) == {"stranger-1"}
    one.upload(("hopper.jpg", photos[1][0]))
    page.wait_for_selector(".card:has-text('stranger-1')")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click(".banner .undo")
    page.wait_for_selector(".queue li:nth-child(4)")
    assert len(listed(home)) == 4


def test_the_visits_of_a_day_are_shown_for_each_person_and_stranger(home, tab):
    day = time.strftime("%Y-%m-%d", time.localtime(BEGIN))
    page = tab(home).open(f"today?day={day}")
    first = page.wait_for_selector(".card:has-text('stranger-1')")
    assert (len(first.query_selector_all(".times li")), page.locator(".card").count()) == (2, 2)
    first.click()
    page.wait_for_selector(".queue a[aria-current]")
