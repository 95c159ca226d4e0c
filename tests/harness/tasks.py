"""Tasks of operators in the console, with the number of actions that they take."""

from pathlib import Path
from typing import Literal

from playwright.sync_api import Locator, Page, expect

from tests.harness.browser import Tab

Role = Literal["link", "button", "searchbox", "textbox", "combobox", "checkbox", "option"]


class Task:
    """A task in a tab that shows the overview. A click, a field and a key count one action each.

    Reading and scrolling are free. Nothing opens an address by hand.
    """

    def __init__(self, tab: Tab) -> None:
        self.page: Page = tab.page
        self.actions = 0

    def click(self, role: Role, name: str, within: Locator | None = None) -> None:
        """Click the one thing of this role and name on the page, or within a part of it."""
        self.actions += 1
        (within or self.page).get_by_role(role, name=name).click()

    def unfold(self, summary: str, within: Locator | None = None) -> None:
        """Click the summary of a part that is folded."""
        self.actions += 1
        (within or self.page).locator("summary", has_text=summary).click()

    def fill(self, label: str, text: str) -> None:
        """Fill a field."""
        self.actions += 1
        self.page.get_by_label(label).fill(text)

    def attach(self, label: str, file: Path) -> None:
        """Choose a file for a field."""
        self.actions += 1
        self.page.get_by_label(label, exact=True).set_input_files(file)

    def choose(self, label: str, option: str) -> None:
        """Choose an option of a field."""
        self.actions += 1
        self.page.get_by_label(label).select_option(label=option)

    def press(self, key: str) -> None:
        """Press a key, such as Enter."""
        self.actions += 1
        self.page.keyboard.press(key)

    def see(self, *texts: str, within: Locator | None = None) -> None:
        """Wait until the page, or a part of it, shows all these texts."""
        for text in texts:
            expect((within or self.page).get_by_text(text).locator("visible=true").first).to_be_visible()

    def row(self, *texts: str) -> Locator:
        """Return the row or the item of a list that has all these texts."""
        found = self.page.locator("tr, li, section.card")
        for text in texts:
            found = found.filter(has_text=text)
        return found.last
