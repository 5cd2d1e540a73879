"""The page in a browser: it chats, shows the cluster, and a machine's death in the middle of an answer."""

import json
import os
import signal

import pytest

from client import body_of
from cluster import Up, until
from leaders import Leaders
from window import answer, ask, click, console, finished, number, resize, text

SMOLLM2 = os.environ.get("HYDAC_SMOLLM2", "")
QUESTION = "Explain in a few paragraphs, with a list, why the sky is blue."
TOKENS = 160

needs_model = pytest.mark.skipif(not SMOLLM2, reason="HYDAC_SMOLLM2 is not set")


def is_serving(browser):
    return text(browser, "#state") == "serving"


def open_page(browser, url, **settings):
    """A fresh tab's page, with these settings and nothing said."""
    browser.get(url + "/")
    said = {"temperature": "0", "max_tokens": str(TOKENS), **settings}
    browser.execute_script(
        "sessionStorage.clear(); localStorage.setItem('hydac.settings', arguments[0])", json.dumps(said)
    )
    browser.get(url + "/")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Up(SMOLLM2, workers=3, options=["--restart"]) as c:
        yield c


def undisturbed(client):
    body = body_of(None, TOKENS, messages=[{"role": "user", "content": QUESTION}], ignore_eos=False)
    del body["prompt"]
    return client.post("/v1/chat/completions", body)["choices"][0]["message"]["content"]


@needs_model
def test_a_death_in_the_middle(browser, served):
    """The page shows the loss, the heads move to other tiles, the text is the undisturbed one."""
    whole = undisturbed(served.client)
    open_page(browser, served.client.url)
    until(lambda: is_serving(browser), "the page shows a cluster that serves")
    until(lambda: number(browser, ".tile .head-unit") == 3, "all heads are in tiles")
    ask(browser, QUESTION)
    until(lambda: len(text(browser, ".message.assistant .text")) > 60, "the answer has begun")
    served.signal("w2", signal.SIGKILL)
    until(lambda: number(browser, ".loss svg rect") > 0, "the loss is shown with its phases")
    until(lambda: finished(browser), "the answer is whole")
    assert answer(browser) == whole
    assert "w2 was lost" in text(browser, ".loss-note")
    assert "w2 is lost: its connection ended." in text(browser, "#events")
    assert "outlived w2" in text(browser, ".message.assistant .facts")
    for phase in ("detect", "weights", "rebuild", "retry"):
        assert phase in text(browser, ".loss .phases")
    until(lambda: number(browser, ".tile[data-state=offline]") == 0, "w2 is back")
    assert number(browser, ".tile .head-unit") == 3
    assert console(browser) == []


@needs_model
def test_the_leader_dies_in_the_middle(browser):
    """The only one, which is started again and has a journal: the page goes on with the answer by its id."""
    c = Leaders(SMOLLM2, 1, 2, ["--state.journal=true"])
    try:
        c.until_active("a", 2)
        whole = undisturbed(c.clients["a"])
        open_page(browser, c.clients["a"].url)
        until(lambda: is_serving(browser), "the page shows a cluster that serves")
        ask(browser, QUESTION)
        until(lambda: len(text(browser, ".message.assistant .text")) > 60, "the answer has begun")
        c.leaders["a"].signal(signal.SIGKILL)
        c.leaders["a"].wait()
        assert not finished(browser)
        c.start_leader("a")
        until(lambda: finished(browser), "the answer is whole")
        assert answer(browser) == whole
        console(browser)  # has the connections that were refused
    finally:
        print(c.logs())
        c.close()


@needs_model
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_another_leader_goes_on(browser, how):
    """At its own address: the page of the first goes on there, with the answer and the cluster's picture; what
    is asked next is asked there."""
    c = Leaders(SMOLLM2, 2, 2, own_urls=True)
    try:
        c.until_active("a", 2)
        whole = undisturbed(c.clients["a"])
        until(lambda: c.clients["a"].get("/hydac/status")["records"]["followers"] == 1, "b follows")
        open_page(browser, c.clients["a"].url)
        until(lambda: is_serving(browser), "the page shows a cluster that serves")
        ask(browser, QUESTION)
        until(lambda: len(text(browser, ".message.assistant .text")) > 60, "the answer has begun")
        c.leaders["a"].signal(how)
        until(lambda: finished(browser), "the answer is whole")
        assert answer(browser) == whole
        assert c.role("b") == "active"
        until(lambda: is_serving(browser), "the page shows b's cluster")
        click(browser, "#new-chat")
        ask(browser, QUESTION)
        until(lambda: finished(browser) and answer(browser), "another answer is whole")
        assert answer(browser) == whole
        console(browser)  # has the connections that were refused
    finally:
        print(c.logs())
        c.close()


@needs_model
def test_stop_edit_regenerate(browser, served):
    open_page(browser, served.client.url, max_tokens="")
    until(lambda: is_serving(browser), "the page shows a cluster that serves")
    ask(browser, QUESTION)
    until(lambda: len(text(browser, ".message.assistant .text")) > 20, "the answer has begun")
    ask(browser, "")  # the button is "stop" now
    until(lambda: finished(browser), "the answer is stopped")
    assert text(browser, ".message.assistant .facts").startswith("stopped")
    served.until_idle()
    open_page(browser, served.client.url, max_tokens="12")
    ask(browser, QUESTION)
    until(lambda: finished(browser) and answer(browser), "a short answer is whole")
    first = answer(browser)
    buttons = "[...document.querySelectorAll('.message.%s .tools button')].find((b) => b.textContent === '%s').click()"
    browser.execute_script(buttons % ("assistant", "Regenerate"))
    until(lambda: finished(browser) and answer(browser), "it is given again")
    assert (answer(browser), number(browser, ".message")) == (first, 2)
    browser.execute_script(buttons % ("user", "Edit"))
    browser.execute_script(
        "document.querySelector('.edit textarea').value = 'Say yes.'; document.querySelector('.edit').requestSubmit()"
    )
    until(lambda: text(browser, ".message.user .body") == "Say yes.", "the question is another one")
    until(lambda: finished(browser) and answer(browser), "it is answered")
    assert number(browser, ".message") == 2
    browser.get(served.client.url + "/")  # what was said is there after a reload
    assert text(browser, ".message.user .body") == "Say yes."
    assert console(browser) == []


@needs_model
def test_many_visits(browser, served):
    """A page that was left holds no connection: browsers have six for one host, and keep pages."""
    browser.set_page_load_timeout(30)
    for _ in range(8):
        browser.get(served.client.url + "/")
        until(lambda: is_serving(browser), "the page shows a cluster that serves")
        browser.get("about:blank")
    assert console(browser) == []


@needs_model
@pytest.mark.parametrize("size", ["desk", "phone"])
def test_fits(browser, served, size):
    """Nothing is wider than the window, and each view shows its own."""
    resize(browser, size)
    open_page(browser, served.client.url)
    until(lambda: number(browser, ".tile .head-unit") == 3, "all heads are in tiles")
    for view in ("chat", "cluster"):
        click(browser, f"#view-{view}")
        wide = browser.execute_script("return document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{view} is {wide} pixels too wide"
        shown = browser.execute_script(f"return document.getElementById('{view}').offsetWidth > 0")
        assert shown
    resize(browser, "desk")
    assert console(browser) == []


@needs_model
def test_asks_for_the_key(browser, tmp_path):
    """Before anything is refused; a wrong key is told, the right one opens, and stays for the tab."""
    path = tmp_path / "api.key"
    path.write_text("0123456789abcdef0123456789abcdef\n")
    os.chmod(path, 0o600)
    with Up(SMOLLM2, workers=1, leader_args=["--api-key-file", str(path)]) as c:
        open_page(browser, c.client.url)
        assert browser.execute_script("return document.getElementById('settings').open")
        assert console(browser) == []

        def give(key):
            browser.execute_script(
                "const f = document.getElementById('settings-form'); f.elements.key.value = arguments[0];"
                "f.requestSubmit(f.querySelector('.main'))",
                key,
            )

        give("wrong")
        until(lambda: "does not take" in text(browser, "#key-note"), "the wrong key is told")
        assert all("401" in line for line in console(browser))
        give("0123456789abcdef0123456789abcdef")
        until(lambda: is_serving(browser), "the cluster is shown")
        browser.get(c.client.url + "/")
        until(lambda: is_serving(browser), "and after a reload")
        assert console(browser) == []
