"""A headless Chromium, driven through Debian's chromedriver by Selenium (deploy/packages.sh browser),
and what is done with the page in it."""

import json
import shutil

SIZES = {"desk": (1280, 800), "phone": (390, 844)}


def chromium():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def resize(driver, name):
    width, height = SIZES[name]
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": name == "phone"}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def console(driver):
    """What went wrong in the page since the last look."""
    return [json.dumps(line) for line in driver.get_log("browser")]


def text(browser, css):
    script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent).join('\\n')"
    return browser.execute_script(script, css)


def number(browser, css):
    return browser.execute_script("return document.querySelectorAll(arguments[0]).length", css)


def answer(browser):
    """The text of the last answer as it came, not as it is shown."""
    return browser.execute_script(
        "const talk = JSON.parse(sessionStorage.getItem('hydac.talk')); return talk.at(-1).content"
    )


def click(browser, css):
    browser.execute_script("document.querySelector(arguments[0]).click()", css)


def ask(browser, words):
    browser.execute_script(
        "const p = document.getElementById('prompt'); p.value = arguments[0];"
        "document.getElementById('composer').requestSubmit()",
        words,
    )


def finished(browser):
    return browser.execute_script(
        "return document.getElementById('log').getAttribute('aria-busy') === 'false'"
    )
