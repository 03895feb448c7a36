"""What a user sees and does on the edit page."""

from stand import Stand

from chromium import CERTAINLY, Browser
from world import eventually


class EditPage:
    def __init__(self, browser: Browser, stand: Stand, volume: str):
        self.browser, self.volume = browser, volume
        browser.open(f"{stand.origin}/edit.html?volume={volume}")
        self.waits_for("Not being edited", "has been editing since", "Cannot see")

    def says(self) -> str:
        code = "return [...document.querySelectorAll('[role=status]')].map((one) => one.textContent).join(' ')"
        return self.browser.script(code)

    def waits_for(self, *texts: str, within: float = CERTAINLY) -> str:
        """Until it says one of these; all that it says then."""
        said = [""]

        def says() -> bool:
            said.append(self.says())
            return any(text in said[-1] for text in texts)

        try:
            eventually(within, f"the page says {texts}", says)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says: {said[-1]}") from None
        return said[-1]

    def begin(self):
        self.browser.click("#edit")
        self.waits_for("You are editing.")
        return self

    def save(self):
        self.browser.click("#save")
        self.waits_for("Saved.")

    def put(self, text: str, token) -> int:
        """A save as the script sends it, whatever the page knows by now; its status."""
        code = """
            const [path, body, token] = arguments;
            const headers = token === null ? {} : { "Fencing-Token": token };
            return (await fetch(path, { method: "PUT", body, headers })).status;
        """
        return self.browser.script(code, f"/volumes/{self.volume}", text, token)

    def type(self, keys: str):
        self.browser.script("document.querySelector('#text').focus()")
        self.browser.press(keys)

    @property
    def text(self) -> str:
        return self.browser.script("return document.querySelector('#text').value")

    @property
    def may_type(self) -> bool:
        return not self.browser.script("return document.querySelector('#text').readOnly")

    @property
    def offers(self) -> list[str]:
        """The buttons that can be pressed."""
        code = "return [...document.querySelectorAll('button:enabled')].map((one) => one.textContent)"
        return self.browser.script(code)

    @property
    def kept(self) -> str:
        return self.browser.script("return document.querySelector('#kept pre').textContent")
