"""Today and Strangers as people use them: a real browser, and a real server."""

import time

import pytest
from browser import program
from made_galleries import copy_photos
from waiting import until
from watched_run import held_run

pytest.importorskip("playwright", reason="needs the extra dev")
if program() is None:
    pytest.skip("needs chromium (tests/install_system_packages.sh)", allow_module_level=True)

BEGIN = 1_800_000_000.0
"""When the visits of `home` began."""

COLLINS = "Eileen%20Collins"


@pytest.fixture(scope="module")
def lasting(people_video, people_gallery, built_in_models, tmp_path_factory):
    """A client of a run that has seen Collins, stranger 1 and somebody who looks away."""
    folder = tmp_path_factory.mktemp("lasting")
    copy_photos(people_gallery, folder / "gallery", "Grace*")
    files = {"events": folder / "visits.jsonl", "visit_snapshots": folder / "pictures"}
    with held_run(people_video, folder / "gallery", built_in_models, folder, 20, strangers=True, **files) as one:
        yield one.client


def listed(client):
    return {one["stranger"] for one in client.get("/api/v1/strangers").json["strangers"]}


def visits_of(client, name):
    return len(client.get(f"/api/v1/visits?person={name}").json["visits"])


def test_a_stranger_is_named_by_keyboard_and_that_is_undone(home, tab):
    page = tab(home, color_scheme="dark").open("strangers/stranger-1")
    page.wait_for_selector(".seen > .photo img")
    until(lambda: page.query_selector("input:focus") is not None, lambda: page.keyboard.press("n"))
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
    # A photo that is asked for under the old name would not be found.
    page.wait_for_selector(".grid img")
    page.click(".heading button:nth-child(2)")
    page.select_option("dialog select", "Collins")
    page.click("dialog button[type=submit]")
    page.wait_for_selector(".grid > li:nth-child(1) img")
    page.wait_for_selector(".grid > li:nth-child(2) img")
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


def test_a_stranger_who_comes_appears_without_a_reload(meeting, tab):
    with meeting(1) as (client, _, held):
        today, strangers = tab(client).open("today"), tab(client).open("strangers")
        strangers.wait_for_selector(".state h2")
        assert today.query_selector(".card:has-text('stranger-1')") is None
        held.go_on(20)
        strangers.wait_for_selector(".review:has-text('stranger-1') .photo img")
        today.wait_for_selector(".card:has-text('stranger-1')")


def names(client):
    return {one["name"]: one["photos"] for one in client.get("/api/v1/people").json["people"]}


def test_a_stranger_is_named_in_the_live_view_and_that_is_undone(meeting, tab):
    with meeting(20) as (client, _, _held):
        page = tab(client).open("live")
        page.wait_for_selector(".face[aria-label*=stranger-1]").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog .photo img")
        page.wait_for_selector("dialog input:focus")
        page.keyboard.type("Eva")
        page.keyboard.press("Enter")
        page.wait_for_selector(".banner.notice")
        assert ("Eva" in names(client), listed(client)) == (True, set())
        page.keyboard.press("u")
        until(lambda: listed(client) == {"stranger-1"}, lambda: page.wait_for_timeout(10))
        assert "Eva" not in names(client)


def test_a_face_with_a_wrong_name_in_the_live_view_becomes_a_photo_of_somebody_else(meeting, tab):
    with meeting(20) as (client, _, _held):
        page = tab(client).open("live")
        page.click(".face[aria-label*=Collins]")
        page.wait_for_selector("dialog .photo img")
        page.fill("dialog input", "Eileen Collins")
        assert page.is_disabled("dialog button[type=submit]")
        page.fill("dialog input", "Sally")
        page.click("dialog button[type=submit]")
        page.wait_for_selector(".banner.notice")
        assert names(client)["Sally"] == 1
        page.click(".banner .undo")
        until(lambda: "Sally" not in names(client), lambda: page.wait_for_timeout(10))
        assert names(client) == {"Eileen Collins": 2}


@pytest.mark.parametrize("view", ["today", "strangers", "events", "status", "live"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_views_are_accessible_and_fit_a_phone(lasting, tab, view, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the extra dev")
    # Without a doctor, the status view has no findings of this machine.
    expected = "status of 404" if view == "status" else "(?!)"
    page = tab(lasting, expected, color_scheme=scheme, viewport={"width": 390, "height": 844}).open(view)
    page.wait_for_selector(
        {"status": ".channel-row", "live": ".face", "events": ".visit", "today": ".card"}.get(view, ".review")
    )
    if view == "live":
        page.click(".face[aria-label*=stranger-1]")
        page.wait_for_selector("dialog .photo img")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    violations = axe.Axe().run(page).response["violations"]
    assert [
        (one["id"], one["nodes"][0]["html"]) for one in violations if one["impact"] in ("serious", "critical")
    ] == []


def test_the_visits_of_a_day_are_shown_for_each_person_and_stranger(home, tab):
    day = time.strftime("%Y-%m-%d", time.localtime(BEGIN))
    page = tab(home).open(f"today?day={day}")
    first = page.wait_for_selector(".card:has-text('stranger-1')")
    assert (len(first.query_selector_all(".times li")), page.locator(".card").count()) == (2, 2)
    first.click()
    page.wait_for_selector(".queue a[aria-current]")


def test_a_stranger_is_shown_with_the_frame_and_with_the_nearest_people(lasting, tab):
    (one,) = (found for found in lasting.get("/api/v1/strangers").json["strangers"] if found["frames"])
    picture = f"/api/v1/strangers/{one['stranger']}/pictures/{one['frames'][0]}"
    assert lasting.get(f"{picture}/frame.jpg").body.startswith(b"\xff\xd8")
    assert lasting.get(f"/api/v1/strangers/{one['stranger']}/pictures/x.jpg/frame.jpg").status == 404
    page = tab(lasting, viewport={"width": 390, "height": 844}).open(f"strangers/{one['stranger']}")
    page.wait_for_selector(".seen > .photo img")
    width, height = page.wait_for_selector(".seen .frame img").evaluate("one => [one.naturalWidth, one.naturalHeight]")
    assert max(width, height) <= 640 and width > height
    assert page.inner_text(".lookalikes .name") == "Eileen Collins"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_wrong_name_is_taken_from_a_visit_and_given_back(lasting, tab):
    """On Today for one of several visits, and in the visit itself for the only one."""
    page = tab(lasting, viewport={"width": 390, "height": 844}).open("today")
    page.click(".grid.day .not-this")
    page.wait_for_selector("dialog[open]")
    choices = page.query_selector_all("dialog input[type=radio]")
    if choices:
        choices[0].click()
    page.click("dialog button[type=submit]")
    notice = page.wait_for_selector(".banner.notice").inner_text()
    assert "1 past visit is no longer Eileen Collins." in notice
    assert visits_of(lasting, COLLINS) == max(0, len(choices) - 1)
    page.click(".banner.notice button:has-text('Undo')")
    page.wait_for_selector(".grid.day .not-this")
    (visit, *_) = lasting.get(f"/api/v1/visits?person={COLLINS}").json["visits"]

    page.goto(f"{page.url.split('#')[0]}#/events/{visit['visit']}")
    page.click(".heading button:has-text('This is not Eileen Collins')")
    page.select_option("dialog select", "sstranger-1")
    page.click("dialog button[type=submit]")
    page.wait_for_selector("h1:has-text('stranger-1')")
    assert visit["visit"] in {one["visit"] for one in lasting.get("/api/v1/visits?unknown=1").json["visits"]}
    page.click(".banner.notice button:has-text('Undo')")
    page.wait_for_selector("h1:has-text('Eileen Collins')")
