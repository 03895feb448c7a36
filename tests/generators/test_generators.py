"""Four generators make clients of the document of a real sidecar, and the clients are used there."""

import os
import sys
import unittest

import callers
import made
from uses import Uses
from world import World

world = World([])
unittest.addModuleCleanup(world.close)


def setUpModule():
    """Makes all clients, once, of the document as a sidecar serves it: the test of each is a class."""
    global url, said
    url = callers.start(world).url
    said = made.make(url)
    sys.path[:0] = [str(made.MADE / "lockside-client"), str(made.MADE / "lockside-python")]


class WhatTheGeneratorsSay(unittest.TestCase):
    """Nothing against the document."""

    def said(self, *words: str) -> str:
        return said[" ".join(made.command_of(*words))]

    def test_openapi_python_client_leaves_out_the_streams_of_holds_and_nothing_else(self):
        frame = ("Generating ", "Warning(s) encountered while generating.", "If you believe this was a mistake")
        quoted = (" ", "{", "}")
        said = self.said("openapi-python-client").splitlines()
        lines = [line for line in said if line and not line.startswith(frame + quoted)]
        holds = ["/v1/bundles/hold", "/v1/locks/{key}/hold"]
        self.assertEqual(sorted(lines[::2]), [f"WARNING parsing POST {path} within native." for path in holds])
        for line in lines[1::2]:
            self.assertIn("(Unsupported content_type application/x-ndjson)", line)

    def test_openapi_typescript_warns_of_nothing(self):
        lines = self.said("openapi-typescript").splitlines()
        warnings = [line for line in lines if line and not line.startswith(("✨", "🚀"))]
        self.assertEqual((len(lines) > 1, warnings), (True, []))

    def test_openapi_generator_warns_of_nothing_but_what_it_warns_of_with_any_document(self):
        commands = [("openapi-generator-cli", generator) for generator in ("python", "typescript-fetch")]
        of_any = [made.said_of_a_bare_document(made.command_of(*command)) for command in commands]
        for command in commands:
            with self.subTest(command):
                self.assertIn("writing file", self.said(*command))
                # Of the parameter `for`, a word that Python reserves: the name of a model that it does not make.
                said = {line for line in warnings(self.said(*command)) if "For (reserved word)" not in line}
                self.assertLessEqual(said, warnings("\n".join(of_any)))


def warnings(output: str) -> set[str]:
    return {line for line in output.splitlines() if any(level in line for level in (" WARN ", " ERROR "))}


class OpenApiPythonClient(Uses, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        from of_openapi_python_client import OpenApiPythonClient

        cls.client = OpenApiPythonClient(url, callers.API_TOKEN)
        cls.addClassCleanup(cls.client.close)


class OpenApiGeneratorPython(Uses, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        from of_openapi_generator import OpenApiGenerator

        cls.client = OpenApiGenerator(url, callers.API_TOKEN)
        cls.addClassCleanup(cls.client.close)

    def test_a_line_of_a_hold_is_of_the_class_of_its_event(self):
        key = self.key("hold")
        events = self.client.events(key, ttl_ms=600, owner="web-3", progress=True)
        acquired, renewed = next(events), next(events)
        self.assertEqual((type(acquired).__name__, acquired.owner), ("HoldAcquired", "web-3"))
        self.assertIn(type(renewed).__name__, ("HoldRenewed", "HoldPing"))
        self.client.force_release(key)
        last = list(events)[-1]
        self.assertEqual((type(last).__name__, last.reason), ("HoldLost", "forced"))


class TypeScript(unittest.TestCase):
    """openapi-typescript with openapi-fetch, and openapi-generator: tsc checks the programs, and node runs them."""

    @classmethod
    def setUpClass(cls):
        cls.programs = made.compile_typescript()

    def play(self, program: str):
        os.environ.update(
            LOCKSIDE_URL=url, API_TOKEN=callers.API_TOKEN, ALICE=callers.jwt("alice"), BOB=callers.jwt("bob")
        )
        output = made.run(["node", "--test", "--test-reporter=tap", f"{program}.js"], self.programs)
        self.assertIn("# pass 11\n", output)
        self.assertIn("# fail 0\n", output)

    def test_openapi_typescript(self):
        self.play("of_openapi_typescript")

    def test_openapi_generator(self):
        self.play("of_openapi_generator")


if __name__ == "__main__":
    unittest.main()
