"""A person waits for a branch: the page says what happens and turns into the site by itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.support.edgehouse import EdgeHouse, edge_house_with_pages

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for which every environment is on this host."""
    program = next(
        (path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None
    )
    assert program is not None, "no Chromium here: `make test` installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--host-resolver-rules=MAP *.staging.test 127.0.0.1"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeHouse]:
    with edge_house_with_pages(tmp_path_factory.mktemp("pages")) as house:
        yield house


def test_the_waiting_page_becomes_the_site_by_itself(house: EdgeHouse, browser: Browser) -> None:
    page = browser.new_page()
    answer = page.goto(house.settings.url(house.hostname("feature-x")))
    assert answer is not None
    assert answer.status == 503
    expect(page.get_by_role("heading", name="The curtain rises in a moment")).to_be_visible()
    expect(page.get_by_text("Branch feature/x of shop is waiting for its turn.")).to_be_visible()
    house.put(house.table("feature-x", house.backend("feature-x", "<h1>The site</h1>")))
    expect(page.get_by_role("heading", name="The site")).to_be_visible(timeout=20_000)
    page.close()


def test_an_unknown_address_says_so_on_a_small_screen_too_and_loads_nothing_else(
    house: EdgeHouse, browser: Browser
) -> None:
    page = browser.new_page(viewport={"width": 320, "height": 568})
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    url = house.settings.url(house.hostname("nobody"))
    answer = page.goto(url)
    assert answer is not None
    assert answer.status == 404
    expect(page.get_by_role("heading", name="Nothing is on stage here")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert [asked for asked in requested if "favicon" not in asked] == [f"{url}/"]
    assert not [text for text in complaints if "Content Security Policy" in text]
    page.close()
