// Every sample in the documents and every example runs, against a real sidecar.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import * as lockside from "lockside";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const PAGE = `${ROOT}docs/clients/node.md`;
const run = (...options) => promisify(execFile)(process.execPath, options, { cwd: PACKAGE, timeout: 60_000 });
const text = (path) => readFileSync(path, "utf8");

for (const page of [PAGE, `${PACKAGE}README.md`]) {
  const samples = [...text(page).matchAll(/```js\n([^]*?)```/g)].map(([, sample]) => sample);
  assert(samples.length > 0, page);
  for (const sample of samples) {
    test(`a sample runs: ${sample.split("\n")[0]}`, () => run("--input-type=module", "--eval", sample));
  }
}

for (const example of readdirSync(`${PACKAGE}examples`)) {
  test(`${example} runs`, () => run(`${PACKAGE}examples/${example}`));
}

test("the page names everything that the package has", () => {
  const page = text(PAGE);
  assert.deepEqual(Object.keys(lockside).filter((name) => name !== "Lock" && !page.includes(name)), []);
});

test("no file is above 300 lines", () => {
  const files = ["src", "test", "examples"].flatMap((folder) =>
    readdirSync(PACKAGE + folder).filter((name) => /s$/.test(name) && name !== "types").map((name) => `${folder}/${name}`),
  );
  assert(files.length > 10);
  assert.deepEqual(files.filter((file) => text(PACKAGE + file).split("\n").length > 301), []);
});

test("the version is that of lockside, and there are no dependencies", () => {
  const { version, dependencies } = JSON.parse(text(`${PACKAGE}package.json`));
  assert.equal(version, /^version = "(.*)"/m.exec(text(`${ROOT}Cargo.toml`))[1]);
  assert.equal(dependencies, undefined);
});

test("the package has what its exports name", async () => {
  const { stdout } = await promisify(execFile)("npm", ["pack", "--dry-run", "--json"], { cwd: PACKAGE });
  const packed = JSON.parse(stdout)[0].files.map(({ path }) => `./${path}`);
  const targets = (entry) => (typeof entry === "string" ? [entry] : Object.values(entry).flatMap(targets));
  const named = targets(JSON.parse(text(`${PACKAGE}package.json`)).exports);
  assert.equal(named.length, 8);
  assert.deepEqual(named.filter((path) => !packed.includes(path)), []);
});

test("the types are right for ECMAScript modules and for CommonJS", () => {
  return run(`${PACKAGE}node_modules/typescript/bin/tsc`, "-p", "test/types/tsconfig.json");
});
