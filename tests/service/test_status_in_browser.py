"""Events, Status and the description of the API in a real browser."""

import pytest
from browser import program

pytest.importorskip("playwright", reason="needs the extra dev")
if program() is None:
    pytest.skip("needs chromium (tests/install_system_packages.sh)", allow_module_level=True)

PHONE = {"viewport": {"width": 390, "height": 844}}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_events_are_filtered_by_the_address_and_lead_to_candidates_and_reasons(crowd, tab, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the extra dev")
    page = tab(crowd[0], color_scheme=scheme, **PHONE).open("events")
    page.wait_for_selector(".visit:has-text('Grace Hopper')")
    all_visits = len(page.query_selector_all(".visit"))
    page.select_option(".filters select >> nth=0", "Grace Hopper")
    page.wait_for_selector(".visit:has-text('Eileen Collins')", state="detached")
    assert page.url.endswith("#/events?person=Grace+Hopper")
    page.reload()
    page.wait_for_selector(".visit:has-text('Grace Hopper')")
    assert 0 < len(page.query_selector_all(".visit")) < all_visits
    page.fill("input[type=date]", "2001-01-01")
    page.wait_for_selector(".state a")
    page.click(".state a")
    page.wait_for_selector(f".visit >> nth={all_visits - 1}")
    serious(axe, page)

    page.focus(".visit:has-text('Grace Hopper')")
    page.keyboard.press("Enter")
    page.wait_for_selector(".candidates li")
    assert page.inner_text("h1") == "Grace Hopper"
    assert page.get_attribute(".heading .actions a", "href") == "#/people/Grace%20Hopper"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    serious(axe, page)


def serious(axe, page):
    violations = axe.Axe().run(page).response["violations"]
    found = [(one["id"], one["nodes"][0]["html"]) for one in violations if one["impact"] in ("serious", "critical")]
    assert found == []


@pytest.mark.slow
def test_channels_are_stopped_and_started_by_those_who_may(two, tab):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the extra dev")
    admin, reader = two.tokens
    one = tab(two.admin, expected="status of 40[134]", color_scheme="dark", **PHONE)
    page = one.open("status")
    page.wait_for_selector(".login")
    page.fill(".login input", reader)
    page.click(".login button")
    page.wait_for_selector(".channel-row button")
    page.click("button[aria-label$='door']")
    page.wait_for_selector(".banner.busy:has-text('admin')")
    page.click("header button")
    page.fill(".login input", admin)
    page.click(".login button")
    # Back where it was.
    page.click("button[aria-label$='door']")
    page.wait_for_selector(".channel-row:has-text('door') .badge:has-text('stopped')")
    page.wait_for_selector(".channel-row:has-text('hall') .badge:has-text('running')")
    page.click("button[aria-label$='door']")
    page.wait_for_selector(".channel-row:has-text('door') .badge:not(:has-text('stopped'))")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    # Two values are needed for a line.
    page.wait_for_selector(".plot .uplot canvas >> nth=2")
    serious(axe, page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_api_is_described_offline(served, tab, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the extra dev")
    one = tab(served, color_scheme=scheme, **PHONE)
    page = one.page
    page.goto(f"{one.address}docs", wait_until="domcontentloaded")
    page.click(".operation:has-text('/api/v1/identify') summary")
    assert f"-F image=@photo.jpg '{one.address}api/v1/identify'" in page.inner_text(".operation[open] pre")
    page.click(".operation[open] a:has-text('Identification')")
    assert page.url.endswith("#schema-Identification")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert served.get("/docs").headers["content-security-policy"].startswith("default-src 'none'")
    serious(axe, page)
