// Follows the events of all keys with a prefix, for as long as the page wants them.

import { request } from "./api.js";

/** The server sends a comment every 15 s, so that a connection without a byte for so long is dead. */
const SILENCE_MS = 45_000;
const LONGEST_PAUSE_MS = 10_000;
/** Statuses for which another attempt would be refused in the same way. */
const FINAL = [400, 401, 403, 404];

/**
 * Connects again and again until `signal` is aborted, or the answer is final. Tells `hear`:
 *   event(name, data)   each event, from the first state on
 *   broken(status)      the connection has ended, or there is none; the status where the answer was a refusal
 *   refused(status)     the answer is final
 */
export async function follow(prefix, signal, hear) {
  for (let failures = 0; !signal.aborted; failures++) {
    const silent = new AbortController();
    const either = AbortSignal.any([signal, silent.signal]);
    const alive = watchdog(() => silent.abort());
    let status = 0;
    try {
      const response = await request("GET", `v1/events?prefix=${encodeURIComponent(prefix)}`, either);
      if (FINAL.includes(response.status)) return hear.refused(response.status);
      if (!response.ok) {
        status = response.status;
      } else {
        for await (const [name, data] of events(response.body, alive.bark)) {
          if (signal.aborted) return;
          failures = 0;
          hear.event(name, data);
        }
      }
    } catch {
      // Whatever it was, another attempt follows.
    } finally {
      alive.stop();
      silent.abort();
    }
    if (signal.aborted) return;
    hear.broken(status);
    const pause = Math.min(1000 * 2 ** failures, LONGEST_PAUSE_MS) * (0.5 + Math.random() / 2);
    await new Promise((resume) => setTimeout(resume, pause));
  }
}

function watchdog(bite) {
  let timer = setTimeout(bite, SILENCE_MS);
  return {
    bark: () => {
      clearTimeout(timer);
      timer = setTimeout(bite, SILENCE_MS);
    },
    stop: () => clearTimeout(timer),
  };
}

/** The events of a body, `[name, data]` each. */
async function* events(body, onBytes) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    onBytes();
    rest += value;
    let begin = 0;
    for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n", begin)) {
      const event = parsed(rest.slice(begin, end));
      begin = end + 2;
      if (event) yield event;
    }
    rest = rest.slice(begin);
  }
}

function parsed(text) {
  let [name, data] = [null, null];
  for (const line of text.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data = line.slice(6);
  }
  return name && data ? [name, JSON.parse(data)] : null;
}
