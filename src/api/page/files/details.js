// What a row opens to: the lease, who waits for it, what happened to its key, and the way to force-release it.

import { ask, reasonOf } from "./api.js";
import { copyButton, element, setText } from "./dom.js";
import { duration, moment, say, sayMarked, wholeMoment } from "./text.js";

let count = 0;

/** `history(key)` is what happened lately, `force(lock)` begins to force-release; null where the caller may not. */
export function details(lock, { history, force }) {
  const id = `details-${++count}`;
  const queue = element("div");
  const [eventsTitle, events] = [element("h2", {}, say("events")), element("ul")];
  const validUntil = element("dd");
  const forced = element("button", { type: "button", class: "danger" }, say("force"));
  forced.addEventListener("click", () => force()?.(lock));
  const made = element(
    "tr",
    { class: "details" },
    element(
      "td",
      { colspan: "8", id },
      element("dl", {}, ...facts(lock, validUntil)),
      element("h2", {}, say("queue")),
      queue,
      eventsTitle,
      events,
      element(
        "p",
        { class: "actions" },
        copyButton(say("copy-key"), say("copied"), lock.key),
        lock.token ? copyButton(say("copy-token"), say("copied"), String(lock.token)) : null,
        forced,
      ),
    ),
  );
  let waiters = null;
  const update = (now) => {
    lock = now;
    setText(validUntil, Number.isFinite(lock.validUntil) ? wholeMoment(lock.validUntil) : "–");
    forced.hidden = !force() || !lock.token;
    events.replaceChildren(...history(lock.key).map((event) => element("li", {}, moment(event.at), " ", ...told(event))));
    eventsTitle.hidden = events.childElementCount === 0;
    if (waiters !== lock.waiters) showQueue(queue, lock.key);
    waiters = lock.waiters;
  };
  update(lock);
  return { element: made, id, update };
}

function facts(lock, validUntil) {
  const fact = (name, value) => [element("dt", {}, say(name)), element("dd", {}, value)];
  return [
    ...fact("owner", lock.label ? `${lock.label} (${lock.owner})` : lock.name),
    ...fact("kind", lock.kind ? say(lock.kind) : "–"),
    ...(lock.mode ? fact("mode", say(lock.mode)) : []),
    ...(lock.limit ? fact("limit", String(lock.limit)) : []),
    ...(lock.token ? fact("token", element("code", {}, String(lock.token))) : []),
    ...(Number.isFinite(lock.since) ? fact("since", wholeMoment(lock.since)) : []),
    ...(lock.ttlMs ? fact("ttl", duration(lock.ttlMs)) : []),
    element("dt", {}, say("valid-until")),
    validUntil,
    ...meta(lock.meta),
  ];
}

/** The fields of an object, each a fact; anything else as JSON. */
function meta(meta) {
  if (meta === null || meta === undefined) return [];
  const isObject = typeof meta === "object" && !Array.isArray(meta);
  const shown = (value) => element("code", {}, typeof value === "string" ? value : JSON.stringify(value));
  const fields = isObject ? Object.entries(meta) : [["", meta]];
  return fields.flatMap(([name, value]) => [
    element("dt", {}, name === "" ? say("meta") : `${say("meta")}: ${name}`),
    element("dd", {}, shown(value)),
  ]);
}

function told({ name, holder, waiters }) {
  return sayMarked(`event-${name}`, { owner: holder?.label ?? holder?.owner ?? "–", count: String(waiters) });
}

/** Who waits for a key, in the order of their turns. */
export async function queueOf(key) {
  const answer = await ask("GET", `v1/locks/${encodeURIComponent(key)}/queue`);
  if (answer.status !== 200) throw new Error(reasonOf(answer));
  return answer.body.queue;
}

async function showQueue(place, key) {
  try {
    const waiters = await queueOf(key);
    if (waiters.length === 0) return place.replaceChildren(element("p", {}, say("queue-empty")));
    const names = ["position", "owner", "kind", "waiting-since"];
    const head = names.map((name) => element("th", { scope: "col" }, say(name)));
    const rows = waiters.map(({ position, owner, kind, since }) =>
      element(
        "tr",
        {},
        element("td", { class: "number" }, String(position)),
        element("th", { scope: "row" }, owner),
        element("td", {}, say(kind)),
        element("td", { title: wholeMoment(Date.parse(since)) }, moment(Date.parse(since))),
      ),
    );
    const table = element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
    place.replaceChildren(table);
  } catch {
    place.replaceChildren(element("p", {}, say("queue-failed")));
  }
}
