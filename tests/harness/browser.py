"""Chromium driven by Playwright; it records everything that our pages must not do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Request, expect, sync_playwright

from tests.harness.service import DEADLINE_SECONDS

_PROGRAMS = Path("/usr/bin/chromium-headless-shell"), Path("/usr/bin/chromium")
"""The first draws no window around a page: a new page costs it a quarter of the time."""
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 860}
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
_PATIENCE_MS = DEADLINE_SECONDS * 1000
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

# The texts of a page whose contrast is under WCAG's AA: 4.5, or 3 where they are large. What is known of a node is kept: many
# texts share it.
_FAINT = """() => {
  const light = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const read = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = (rgb) => rgb.slice(0, 3).map((part) => light(part / 255))
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const once = (compute) => {
    const known = new Map();
    return (asked) => known.has(asked) ? known.get(asked) : known.set(asked, compute(asked)).get(asked);
  };
  const behind = once((node) => {
    if (!node) return "rgb(255, 255, 255)";
    const ground = getComputedStyle(node).backgroundColor;
    const colour = read(ground);
    return colour.length === 3 || colour[3] > 0.99 ? ground : behind(node.parentElement);
  });
  const contrast = once((pair) => {
    const [one, other] = pair.split("/").map((colour) => luminance(read(colour))).sort((a, b) => b - a);
    return (one + 0.05) / (other + 0.05);
  });
  const judge = once((node) => {
    if (node.closest("svg, script, option, datalist, .sr")) return null;
    if (!node.checkVisibility() || node.getBoundingClientRect().width < 2) return null;
    const style = getComputedStyle(node);
    const size = parseFloat(style.fontSize);
    const needed = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const ratio = contrast(`${style.color}/${behind(node)}`);
    return ratio < needed ? ratio.toFixed(2) : null;
  });
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const words = walker.currentNode.data.trim();
    const faint = words && judge(walker.currentNode.parentElement);
    if (faint) found.push(`${faint} ${words.slice(0, 40)}`);
  }
  return found;
}"""

# What somebody who cannot see the page would miss.
_UNLABELLED = """() => {
  const found = [];
  if (document.documentElement.lang !== "en") found.push("lang");
  if (!document.title) found.push("title");
  if (document.querySelectorAll("h1").length !== 1) found.push("h1");
  if (document.querySelectorAll("main").length !== 1) found.push("main");
  for (const node of document.querySelectorAll("input:not([type=hidden]):not([hidden]), select"))
    if (!node.labels.length || !node.labels[0].textContent.trim()) found.push(node.outerHTML.slice(0, 80));
  for (const node of document.querySelectorAll("a[href], button, summary"))
    if (!(node.textContent.trim() || node.getAttribute("aria-label"))) found.push(node.outerHTML.slice(0, 80));
  for (const node of document.querySelectorAll("img")) if (!node.hasAttribute("alt")) found.push(node.outerHTML.slice(0, 80));
  for (const node of document.querySelectorAll("table")) if (!node.querySelector("th")) found.push("table without th");
  for (const node of document.querySelectorAll("[aria-labelledby], [aria-describedby]"))
    for (const name of (node.getAttribute("aria-labelledby") || node.getAttribute("aria-describedby")).split(" "))
      if (!document.getElementById(name)) found.push(`nothing is called ${name}`);
  const ids = new Set();
  for (const node of document.querySelectorAll("[id]"))
    if (!ids.has(node.id)) ids.add(node.id);
    else found.push(`twice: ${node.id}`);
  return found;
}"""

# By how many pixels the page is wider than the window, or a text wider than the box that cuts it off.
_OVERFLOW = """() => {
  const known = new Map();
  const boxes = (node) => {
    if (!node) return [];
    if (!known.has(node)) {
      const around = boxes(node.parentElement);
      const cuts = ["hidden", "clip"].includes(getComputedStyle(node).overflowX);
      known.set(node, cuts ? [...around, node] : around);
    }
    return known.get(node);
  };
  let most = document.documentElement.scrollWidth - innerWidth;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const cutting = walker.currentNode.data.trim() ? boxes(node) : [];
    if (!cutting.length || node.closest("svg, script, option, datalist, .sr, thead")) continue;
    if (!node.checkVisibility() || node.getBoundingClientRect().width < 2) continue;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    for (const box of cutting)
      most = Math.max(most, range.getBoundingClientRect().right - box.getBoundingClientRect().right);
  }
  return Math.floor(most);
}"""


def find_chromium() -> Path | None:
    """Return the browser of this machine."""
    return next((program for program in _PROGRAMS if program.exists()), None)


@contextmanager
def browsing() -> Iterator[Browser]:
    """Give a browser; its processes end with the block."""
    expect.set_options(timeout=_PATIENCE_MS)
    program = find_chromium()
    assert program is not None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """One page, and what it did wrong: errors, scripts from outside, dialogs, requests to other hosts, broken policy."""

    def __init__(self, context: BrowserContext, home: str) -> None:
        self.page: Page = context.new_page()
        self.home = home
        self.wrong: list[str] = []
        self.page.set_default_timeout(_PATIENCE_MS)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("dialog", self._on_dialog)
        self.page.on("request", self._on_request)

    def open(self, path: str) -> int:
        """Go to a page of the service and return the status."""
        response = self.page.goto(self.home + path)
        assert response is not None
        return response.status

    def sign_in(self, token: str) -> None:
        """Sign in, and be at the overview."""
        self.open("/ops")
        self.page.get_by_label("Access token").fill(token)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(f"{self.home}/ops")

    def refresh(self) -> None:
        """Have the page look for what is new now, as it does when it comes into view, and wait until it has."""
        with self.page.expect_response(self.page.url):
            self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")

    def faint(self) -> list[str]:
        """Return texts that are hard to read."""
        return list(self.page.evaluate(_FAINT))

    def faint_in_each_theme(self) -> list[str]:
        """Return texts that are hard to read in the light theme, then those in the dark one, which stays."""
        found = []
        for theme in THEMES:
            self.page.emulate_media(color_scheme=theme)
            found += [f"{theme}: {text}" for text in self.faint()]
        return found

    def unlabelled(self) -> list[str]:
        """Return what has no name, or not the right one."""
        return list(self.page.evaluate(_UNLABELLED))

    def overflow(self) -> int:
        """Return by how many pixels the page, or a text in a box that cuts it off, is too wide."""
        return int(self.page.evaluate(_OVERFLOW))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.wrong.append(f"{message.type}: {message.text}")

    def _on_dialog(self, dialog: Dialog) -> None:
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _on_request(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.home).netloc and not request.url.startswith(("data:", "blob:")):
            self.wrong.append(f"request: {request.url}")
