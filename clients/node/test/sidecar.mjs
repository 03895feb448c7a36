// What a test does at the sidecar as another caller. The sidecar is that of clients/conformance/with_sidecar.py.

const url = process.env.LOCKSIDE_URL;
if (!url) throw new Error("no sidecar: run these tests by clients/conformance/with_sidecar.py");

let number = 0;

/** A key of this test alone. */
export const unique = () => `test-${process.pid}-${++number}`;

const ask = (method, key, query = "", body) =>
  fetch(`${url}/v1/locks/${encodeURIComponent(key)}${query}`, { method, body: body && JSON.stringify(body) });

export const state = async (key) => (await ask("GET", key)).json();
export const force = (key) => ask("DELETE", key, "?force=true");
export const free = (key, token) => ask("DELETE", key, `?token=${token}`);

/** Another caller takes the key. */
export async function take(key, { owner = "rival", ttlMs = 30_000 } = {}) {
  const answer = await ask("POST", key, "", { ttlMs, owner });
  if (!answer.ok) throw new Error(`the rival was refused: ${answer.status}`);
  return (await answer.json()).token;
}

export async function eventually(look, withinMs = 5000) {
  for (const end = performance.now() + withinMs; ; ) {
    if (await look()) return;
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${look}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export const aborted = (signal) =>
  signal.aborted ? Promise.resolve() : new Promise((resolve) => signal.addEventListener("abort", resolve));
