"""The page as a person has it: in a real browser, against a real server."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
from running import served

from procedural_memory import MissingExtraError, ProceduralMemoryEngine
from procedural_memory.samples import load_sessions

pytest.importorskip("fastapi")
if importlib.util.find_spec("gravis") is None:  # it is read, never imported
    pytest.skip("gravis is not installed", allow_module_level=True)
from fastapi import FastAPI
from fastapi.testclient import TestClient

from procedural_memory.server.app import create_app
from procedural_memory.server.page import CONTENT_SECURITY_POLICY

HOSTILE = "echo </script><script>window.hurt=1</script><img src=x onerror=window.hurt=1>"
BROWSER = os.environ.get("PROCEDURAL_MEMORY_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"


def _need_browser() -> None:
    if os.environ.get("PROCEDURAL_MEMORY_NO_SKIP"):
        assert os.path.exists(BROWSER), f"there is no browser at {BROWSER}"
        return
    pytest.importorskip("playwright")
    if not os.path.exists(BROWSER):
        pytest.skip(f"there is no Chromium at {BROWSER} (apt-get install chromium, or set PROCEDURAL_MEMORY_CHROMIUM)")


@pytest.fixture(scope="module")
def memory() -> Iterator[ProceduralMemoryEngine]:
    """The shipped samples, and a hostile command."""
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        engine.learn_many(load_sessions())
        engine.learn_workflow([HOSTILE, "git stash list", "rm -rf build", HOSTILE, "git stash list", "rm -rf build"])
        engine.flush()
        yield engine


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    _need_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield made
        made.close()


class Visit:
    """A page, and all that it must not do."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.address = address
        self.wrong: list[str] = []
        self.page = browser.new_page(**options)
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._asked)
        self.page.goto(address)
        self.until("document.getElementById('graph-status').textContent.includes('templates')")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "file:")):
            self.wrong.append(f"asked elsewhere: {request.url}")

    def until(self, condition: str) -> None:
        """Wait until something holds; the driver's own way needs eval, which the policy forbids."""
        end = time.monotonic() + 20
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"never: {condition}"
            time.sleep(0.05)

    def drawn(self) -> int:
        """How many points of the canvas are not empty."""
        count: int = self.page.evaluate(
            "() => { const c = document.getElementById('graph-canvas');"
            " return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 === 3 && v)"
            ".length }"
        )
        return count

    def close(self) -> None:
        """Leave the page; it must not have done anything wrong."""
        hurt = self.page.evaluate("window.hurt")
        self.page.close()
        assert hurt is None
        assert self.wrong == []


@pytest.fixture(scope="module")
def address(memory: ProceduralMemoryEngine) -> Iterator[str]:
    """Where the page is, below a prefix."""
    outer = FastAPI()
    outer.mount("/memory", create_app(memory))
    with served(outer) as base:
        yield base + "memory/"


def test_the_page_and_what_it_loads_keep_to_the_policy(memory: ProceduralMemoryEngine) -> None:
    """The page and what it loads keep to the policy."""
    client = TestClient(create_app(memory), base_url="http://127.0.0.1:8002")
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "<style" not in page.text
    assert " style=" not in page.text
    assert "//" not in page.text.replace("<!doctype html>", "")
    for part in page.text.split('"'):
        if part.startswith(("static/", "vendor/")):
            found = client.get("/" + part)
            assert found.status_code == 200, part
            assert "immutable" in found.headers["cache-control"]
    assert client.get("/static/..%2fpage.py").status_code == 404
    assert client.get("/static/page.html").status_code == 404
    assert client.get("/vendor/other.js").status_code == 404


@pytest.mark.parametrize("format", ["json", "graphml", "mermaid", "dot", "html", "view"])
def test_the_graph_in_every_format(memory: ProceduralMemoryEngine, format: str) -> None:
    """The graph in every format."""
    client = TestClient(create_app(memory), base_url="http://127.0.0.1:8002")
    found = client.get("/graph", params={"format": format, "limit": 5})
    assert found.status_code == 200
    assert found.text
    assert "<script>window.hurt" not in found.text
    assert client.get("/graph", params={"format": format, "search": "git", "around": "git status"}).status_code == 422


def test_a_wrong_question_about_the_graph_is_refused(memory: ProceduralMemoryEngine) -> None:
    """A wrong question about the graph is refused."""
    client = TestClient(create_app(memory), base_url="http://127.0.0.1:8002")
    assert client.get("/graph", params={"format": "exe"}).status_code == 422
    assert client.get("/graph", params={"limit": 0}).status_code == 422


def test_a_walk_over_the_page(browser: Any, address: str, memory: ProceduralMemoryEngine) -> None:
    """A walk over the page."""
    visit = Visit(browser, address, viewport={"width": 1300, "height": 900})
    page = visit.page
    assert visit.drawn() > 5_000
    assert page.text_content("#health").startswith("healthy")
    # a node under the mouse
    x, y = page.evaluate("(() => { const n = graph.byId.get('git status'); return graph.view.apply([n.x, n.y]) })()")
    page.locator("#graph-canvas").click(position={"x": x, "y": y})
    page.wait_for_selector("#graph-details table")
    assert page.text_content("#graph-details h2") == "git status"
    assert "git pull --rebase" in page.text_content("#graph-details table")
    # a search on the server, and all again
    page.fill("#graph-words", "docker")
    page.keyboard.press("Enter")
    visit.until("document.getElementById('graph-status').textContent.includes('found')")
    assert "docker" in page.text_content("#graph-details h2")
    page.click("#graph-all")
    # the same as a table
    page.click("#graph-list summary")
    page.wait_for_selector("#graph-rows button")
    # a prediction
    page.fill("#context", f"{HOSTILE}\ngit stash list")
    page.click("#predict button")
    page.wait_for_selector("#predictions code")
    assert "rm -rf" in page.text_content("#predictions")
    assert "destructive" in page.text_content("#predictions")
    assert "Probability" in page.text_content("#predictions")
    # patterns
    rows = page.locator("#patterns tr").count()
    assert rows > 1
    page.fill("#filter", "docker")
    visit.until(f"document.querySelectorAll('#patterns tr').length < {rows}")
    visit.close()


def test_the_keyboard_alone_is_enough(browser: Any, address: str) -> None:
    """The keyboard alone is enough."""
    visit = Visit(browser, address)
    page = visit.page
    page.focus("#graph-canvas")
    page.keyboard.press("ArrowDown")
    first = page.text_content("#graph-details h2")
    page.keyboard.press("ArrowRight")
    visit.until(f"document.querySelector('#graph-details h2').textContent !== {first!r}")
    before = page.evaluate("graph.view.k")
    page.keyboard.press("+")
    assert page.evaluate("graph.view.k") > before
    for _ in range(200):  # nothing holds the focus for good
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "context":
            break
    assert page.evaluate("document.activeElement.id") == "context"
    visit.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 390])
def test_no_serious_fault_of_access(browser: Any, address: str, scheme: str, width: int) -> None:
    """No serious fault of access."""
    from axe_playwright_python.sync_playwright import Axe

    visit = Visit(browser, address, color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=True)
    page = visit.page
    page.click("#graph-list summary")
    page.click("#graph-rows button")
    page.fill("#context", "git status")
    page.click("#predict button")
    page.wait_for_selector("#predictions code")
    found = Axe().run(page).response["violations"]
    assert [
        (one["id"], [n["target"] for n in one["nodes"]]) for one in found if one["impact"] in ("serious", "critical")
    ] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    visit.close()


def test_dark_and_back(browser: Any, address: str) -> None:
    """Dark and back."""
    visit = Visit(browser, address, color_scheme="light")
    page = visit.page
    look = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(look)
    page.click("#theme")
    assert page.evaluate(look) != light
    page.reload()
    assert page.evaluate(look) != light
    page.click("#theme")
    assert page.evaluate(look) == light
    visit.close()


def test_what_is_learned_meanwhile_is_shown(browser: Any, address: str) -> None:
    """What is learned meanwhile is shown."""
    visit = Visit(browser, address)
    page = visit.page
    visit.until("document.getElementById('feed-state').textContent === 'live'")
    answer = page.evaluate(
        "async () => (await fetch('learn', {method: 'POST', headers: {'Content-Type': 'application/json'}, body:"
        " JSON.stringify({session_commands: ['make new', 'make newer', 'make newest'].map((command) => ({command})),"
        " session_outcome: 'success'})})).status"
    )
    assert answer == 200
    visit.until("document.getElementById('feed').textContent.includes('make newest')")
    visit.close()


def test_five_thousand_templates(browser: Any) -> None:
    """Five thousand templates."""
    with ProceduralMemoryEngine(embedder="lexical") as engine:
        names = [f"tool{i} do{i % 7}" for i in range(5_000)]
        engine.learn_many([{"commands": [*names[i : i + 50], "git push"]} for i in range(0, 5_000, 50)])
        assert engine.stats()["graph_node_count"] >= 5_000
        with served(create_app(engine)) as base:
            visit = Visit(browser, base)
            assert "150 of 5001 templates" in visit.page.text_content("#graph-status")
            visit.page.fill("#graph-words", "tool4321")
            visit.page.keyboard.press("Enter")
            visit.until("document.getElementById('graph-details').textContent.includes('tool4321')")
            visit.close()


def test_the_single_file_works_from_a_disk(browser: Any, memory: ProceduralMemoryEngine, tmp_path: Any) -> None:
    """The single file works from a disk."""
    file = tmp_path / "graph.html"
    memory.to_html(file)
    visit = Visit(browser, file.as_uri())
    assert visit.drawn() > 5_000
    visit.page.fill("#graph-words", "stash list")
    visit.page.keyboard.press("Enter")
    assert "found" in visit.page.text_content("#graph-status")
    assert "What follows" in visit.page.text_content("#graph-details")
    visit.close()


def test_a_server_with_a_token_is_asked_with_it(browser: Any, memory: ProceduralMemoryEngine) -> None:
    """A server with a token is asked with it, which the page keeps for this visit only."""
    with served(create_app(memory, token="right")) as base:
        page = browser.new_page()
        page.goto(base)
        for token in ("wrong", "schlüssel", "right"):
            page.wait_for_selector("#login[open]")
            assert page.is_visible("#refused") == (token != "wrong")
            page.fill("#token", token)
            page.keyboard.press("Enter")
        page.wait_for_selector("#graph-rows tr", state="attached")
        assert page.evaluate("sessionStorage.getItem('procedural-memory-token')") == "right"
        assert page.evaluate("localStorage.length") == 0
        page.close()


@pytest.mark.parametrize("name", ["docs", "redoc"])
def test_the_documentation_needs_no_network(browser: Any, address: str, name: str) -> None:
    """Swagger and ReDoc show every endpoint, from what is installed alone, with no script in the page."""
    page = browser.new_page()
    wrong: list[str] = []
    # ReDoc would show its maker's logo from elsewhere: the policy of the page keeps it from asking.
    blocked = ("error", "warning")
    page.on("console", lambda m: wrong.append(m.text) if m.type in blocked and "logo" not in m.text else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("response", lambda r: wrong.append(r.url) if not r.url.startswith((address, "data:", "blob:")) else None)
    page.goto(address + name)
    page.get_by_text("Predict what comes next, most probable first").first.wait_for(state="attached")
    page.get_by_text("/sessions/{session_id}/predict").first.wait_for(state="attached")
    if name == "docs":
        page.locator("#operations-memory-get_stats .opblock-summary-control").click()
        page.get_by_text("Try it out").first.click()
        page.get_by_text("Execute").first.click()
        page.get_by_text('"pattern_count"').first.wait_for()
    assert wrong == []
    page.close()


def test_a_missing_drawing_library_is_named(memory: ProceduralMemoryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing drawing library is named, with the command that installs it."""
    from procedural_memory.graphs import html
    from procedural_memory.server import page

    page._vendored.cache_clear()
    html.d3_file.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'omnimemory-procedural\[server\]'"):
        create_app(memory)
    html.d3_file.cache_clear()
    page._vendored.cache_clear()
