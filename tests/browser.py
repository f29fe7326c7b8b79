"""A real browser for pages."""

import os
import shutil

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium through selenium; `browser.downloads` is where it saves files."""
    if not BROWSER:
        if os.environ.get("ANOMALYCLI_REQUIRE_BROWSER") == "1":
            pytest.fail("ANOMALYCLI_REQUIRE_BROWSER=1, and there is no Chromium or Chrome.")
        pytest.skip("there is no Chromium or Chrome on this machine")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,900"):
        options.add_argument(argument)
    for argument in ("--disable-background-networking", "--no-first-run"):  # Chromium's own requests
        options.add_argument(argument)
    downloads = tmp_path_factory.mktemp("downloads")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.downloads = downloads
    yield driver
    driver.quit()
