"""Commands of the documentation, run on the node as they are printed."""

import os
import subprocess

from cluster import shared
from manifests import ROOT

# Built by `make static`.
BINARY = ROOT / "target" / "image" / "lockside"


def blocks(page, language="sh"):
    """The code blocks of a page in docs/operations that are in this language."""
    text = (ROOT / "docs" / "operations" / page).read_text()
    first = f"{language}\n"
    return [block.removeprefix(first) for block in text.split("```")[1::2] if block.startswith(first)]


def block(page, words, language="sh"):
    """The one of them with these words."""
    (found,) = [block for block in blocks(page, language) if words in block]
    return found


def play(commands, directory=ROOT, helm=3, **variables):
    """Runs commands with the node's kubectl, kustomize and Helm, and the lockside of the image; returns what they say."""
    at = shared.node().directory
    path = f"{at}:{at}/helm{helm}:{BINARY.parent}:{os.environ['PATH']}"
    shell = ["timeout", "240", "bash", "-euo", "pipefail", "-c", commands]
    environment = {**os.environ, **variables, "PATH": path}
    done = subprocess.run(shell, cwd=directory, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
