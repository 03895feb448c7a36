"""docs/browser.md: the configurations that are printed there, so that nothing else is tested."""

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "browser.md"

CASES = ("The host is passed on", "The host is rewritten", "Forwarding headers", "Another origin")


@dataclass
class SetUp:
    """A proxy with its configuration, and the flags that lockside needs behind it."""

    language: str  # "nginx" or "js"
    flags: list[str]
    text: str
    data_lockside: str  # "" where the proxy passes the page's calls on


def set_up(case: str, language: str) -> SetUp:
    """The block in this language, with the command line of lockside before it."""
    parts = PAGE.read_text().split(f"\n### {case}\n")
    assert len(parts) == 2, f"one section {case}"
    section = re.split(r"\n##+ ", parts[1])[0]
    # Prose and blocks take turns, each block with its language before it.
    pieces = re.split(r"^```(\w+)\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    languages = pieces[1::3]
    assert languages == ["text", "nginx", "text", "js"], f"{case}: {languages}"
    at = 3 * languages.index(language)
    prose, command, text = pieces[at - 3], pieces[at - 1], pieces[at + 2]
    assert command.startswith("lockside serve "), command
    data_lockside = re.search(r"`data-lockside`\s+is\s+`([^`]+)`", prose)
    return SetUp(language, command.split()[2:], text, data_lockside.group(1) if data_lockside else "")


def put(text: str, values: dict) -> str:
    """Puts what is there on this machine into the place of what is printed, all of which must be printed."""
    for printed, real in values.items():
        assert printed in text, f"`{printed}` is not in:\n{text}"
        text = text.replace(printed, str(real))
    return text


def refusals() -> dict[str, int]:
    """Each value of Lockside-Reason with its status."""
    section = PAGE.read_text().split("\n## Refused\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", section, re.MULTILINE)
    return {reason: int(status) for reason, status in rows}
