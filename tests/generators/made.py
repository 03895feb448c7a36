"""What the generators make of the document of a running sidecar, with the commands of docs/api/openapi.md."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/api/openapi.md"
HERE = Path(__file__).resolve().parent
# Below the folder where the Makefile installs what npx finds.
MADE = ROOT / "target/generators/made"

# A document of the same version with nothing of ours in it.
BARE = {
    "openapi": "3.1.0",
    "info": {"title": "bare", "version": "1"},
    "servers": [{"url": "http://127.0.0.1"}],
    "paths": {
        "/a": {
            "get": {
                "operationId": "getA",
                "responses": {
                    "200": {
                        "description": "An A.",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/A"}}},
                    }
                },
            }
        }
    },
    "components": {"schemas": {"A": {"type": "object", "properties": {"a": {"type": "string"}}}}},
}


def commands() -> list[list[str]]:
    """The commands of the page that make a client."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if "openapi-python-client generate" in block]
    return [line.split() for line in block.replace("\\\n", " ").splitlines()]


def command_of(*words: str) -> list[str]:
    (command,) = [command for command in commands() if set(words) <= set(command)]
    return command


def run(command: list[str], directory: Path, within: float = 240) -> str:
    """Runs a command that must succeed; what it says."""
    # npx runs what is installed, and installs nothing.
    env = {**os.environ, "NO_COLOR": "1", "npm_config_yes": "false"}
    done = subprocess.run(
        command, cwd=directory, env=env, timeout=within, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def make(url: str) -> dict[str, str]:
    """Makes all clients from the sidecar at `url`; what each command says, by the command."""
    shutil.rmtree(MADE, ignore_errors=True)
    MADE.mkdir(parents=True)
    said = {}
    for command in commands():
        at_sidecar = [word.replace("http://127.0.0.1:7420", url) for word in command]
        assert at_sidecar != command, f"where lockside is by default: {command}"
        said[" ".join(command)] = run(at_sidecar, MADE)
    return said


def said_of_a_bare_document(command: list[str]) -> str:
    """What a command says of a document with nothing of ours in it."""
    directory = MADE / "bare"
    directory.mkdir(exist_ok=True)
    document = directory / "openapi.json"
    document.write_text(json.dumps(BARE))
    return run([str(document) if word.startswith("http:") else word for word in command], directory)


def compile_typescript() -> Path:
    """Type-checks and compiles tests/generators/typescript beside what was made; the folder with the programs."""
    for source in (HERE / "typescript").iterdir():
        shutil.copy(source, MADE)
    run(["npx", "tsc"], MADE)
    return MADE / "compiled"
