"""docs/fencing.md: the blocks of code that are printed there, so that nothing else is tested."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/fencing.md"


def blocks(section: str, language: str) -> list[str]:
    """The blocks of a section in one language, in order."""
    parts = PAGE.read_text().split(f"\n## {section}\n")
    assert len(parts) == 2, f"one section {section}"
    text = parts[1].split("\n## ")[0]
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"{section} has no block in {language}"
    return found


def function(section: str, name: str):
    """What the Python of a section calls `name`."""
    (code,) = blocks(section, "python")
    names: dict = {}
    exec(compile(code, f"{PAGE.name}, {section}", "exec"), names)
    return names[name]
