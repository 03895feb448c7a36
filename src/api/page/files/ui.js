// The page: shows the locks that its address asks for, and each change as it happens.

import { ask, credential, reasonOf } from "./api.js";
import { details } from "./details.js";
import { forceRelease } from "./dialog.js";
import { byId, element, empty, fill, setText } from "./dom.js";
import { listed, Locks } from "./locks.js";
import { follow } from "./stream.js";
import { sorted, Table } from "./table.js";
import { duration, moment, number, say, sayMarked } from "./text.js";

/** Rows of a page, and how often what no event tells is asked for. */
const ROWS = 1000;
const POLL_MS = 5000;
const ANNOUNCE_MS = 10_000;
/** Pause in typing after which the search begins. */
const TYPING_MS = 250;

const query = new URLSearchParams(location.search);
let locks = new Locks();
/** `connecting`, `live`, `interrupted`, `polled`, `signed-out`, `refused`, `not-allowed`, `unavailable`. */
let state = "connecting";
let problem = "";
let status = null;
let asOf = Date.now();
/** The list beyond what a stream tells of: its rows are those of one page. */
let polled = null;
/** Whether that is because there is no seat for a stream. */
let isBusy = false;
let changed = 0;
let stream = new AbortController();
let isDrawn = true;
/** The token of the lease that this page force-releases: its end is told by the answer. */
let forced = null;

const table = new Table(byId("locks"), {
  details: (lock) => details(lock, { history: (key) => locks.history.get(key) ?? [], force: () => (status?.mayForceRelease ? force : null) }),
  onSort: (by) => go({ sort: by }),
  onEnded: (lock) => {
    if (lock.token === forced) return;
    const last = locks.history.get(lock.key)?.find((event) => event.token === lock.token && event.name !== "granted");
    if (last) tell(sayMarked("ended", { key: lock.key, owner: lock.name, what: say(`event-${last.name}`) }));
  },
});

const tell = (parts) => byId("outcome").replaceChildren(...parts);
const asked = (name) => query.get(name) ?? "";

/** The address of this page with other parameters. */
function addressWith(changes) {
  const changedQuery = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === "") changedQuery.delete(name);
    else changedQuery.set(name, value);
  }
  return `?${changedQuery}`;
}

/** Goes there without loading the page again. */
function go(changes) {
  history.replaceState(null, "", addressWith(changes));
  for (const [name, value] of Object.entries(changes)) value === "" ? query.delete(name) : query.set(name, value);
  draw();
}

function draw() {
  if (isDrawn) requestAnimationFrame(drawNow);
  isDrawn = false;
}

function drawNow() {
  isDrawn = true;
  drawStatus();
  drawFreshness();
  if (["signed-out", "refused", "not-allowed"].includes(state)) return drawRefusal();
  byId("sign-in").hidden = true;
  byId("tools").hidden = false;
  if (!locks.isComplete && locks.byKey.size === 0) return drawMessage();
  const after = Number(asked("cursor")) || 0;
  const { rows, all, more } = polled ? { rows: locks.all(), all: status?.locks, more: polled.next !== null } : locks.page(after, ROWS);
  byId("place").hidden = rows.length === 0;
  table.show(sorted(rows, asked("sort")), asked("sort"));
  drawPages(rows, all, more, after);
  drawMessage();
}

function drawStatus() {
  byId("sign-out").hidden = credential.get() === null;
  byId("language").href = addressWith({ lang: byId("language").hreflang });
  if (!status) return;
  const { redis, warnings, keyPrefix } = status;
  const of = [redis.role, redis.version].filter(Boolean).map((known) => `, ${known}`).join("");
  fill(byId("facts"), JSON.stringify([keyPrefix, redis.address, of]), () => [
    say("key-prefix"), " ", element("code", {}, keyPrefix), " · Redis ", element("code", {}, redis.address), of,
  ]);
  const codes = warnings.map(({ code }) => code).join(", ");
  const kind = redis.ready ? (codes ? "degraded" : "ready") : "not-ready";
  byId("state").dataset.state = kind;
  setText(byId("state"), say(kind, { codes, reason: redis.reason }));
  fill(byId("warnings"), JSON.stringify(warnings), () =>
    warnings.map(({ code, text }) => element("li", {}, element("b", {}, code), " ", text)),
  );
  drawNumbers();
}

function drawNumbers() {
  const isWhole = locks.isComplete && !polled && asked("prefix") === "";
  const all = locks.all();
  const held = isWhole ? all.length : status.locks;
  const waiting = isWhole ? all.reduce((sum, lock) => sum + lock.waiters, 0) : status.waiting;
  const heldFor = isWhole ? all.reduce((longest, lock) => Math.max(longest, lock.heldFor() || 0), -1) : null;
  const oldest = heldFor === null ? Date.now() - Date.parse(status.oldest ?? "") : heldFor;
  const show = (name, text, changes) => {
    if (!byId(`number-${name}`)) byId("numbers").append(element("div", {}, element("dt", {}, say(name)), element("dd", {}, element("a", { id: `number-${name}` }))));
    const link = byId(`number-${name}`);
    link.href = addressWith({ cursor: "", ...changes });
    setText(link, text);
  };
  show("held", number(held ?? undefined), { prefix: "", sort: "" });
  show("waiting", waiting === null ? say("unknown") : number(waiting), { sort: "-waiters" });
  show("oldest", oldest >= 0 ? duration(oldest) : "–", { sort: "since" });
}

function drawFreshness() {
  const freshness = byId("freshness");
  freshness.dataset.state = state;
  const isRedisAway = status !== null && !status.redis.ready;
  const texts = {
    live: say("live"),
    connecting: say("connecting"),
    polled: say(isBusy ? "polled-busy" : "polled", { time: moment(asOf) }),
    interrupted: say(isRedisAway ? "interrupted-redis" : "interrupted", { time: moment(asOf) }),
  };
  setText(freshness, texts[state] ?? "");
  byId("place").dataset.stale = String(state === "interrupted" || state === "unavailable");
}

function drawRefusal() {
  const isSignedOut = state !== "not-allowed";
  byId("sign-in").hidden = !isSignedOut;
  for (const id of ["tools", "place"]) byId(id).hidden = true;
  for (const id of ["warnings", "facts", "pages"]) empty(byId(id));
  for (const id of ["numbers", "outcome"]) byId(id).replaceChildren();
  table.show([], asked("sort"));
  setText(byId("state"), "");
  const refused = state === "refused" ? say("sign-in-refused") : say("sign-in-needed");
  message(isSignedOut ? [refused, problem] : [say("not-allowed", { reason: problem })]);
}

function drawMessage() {
  if (state === "unavailable") return message([say("unavailable", { reason: problem }), say("not-seen")]);
  if (!locks.isComplete && locks.byKey.size === 0) return message([say(state === "interrupted" ? "not-seen" : "connecting")]);
  if (locks.byKey.size > 0) return message([]);
  if (asked("prefix") !== "") {
    const all = element("a", { href: addressWith({ prefix: "", cursor: "" }) }, say("show-all"));
    return message([say("none-found", { prefix: asked("prefix") }), all]);
  }
  const here = new URL("../v1/locks/example", document.baseURI);
  return message([say("none"), say("none-try"), element("code", {}, `curl -X POST ${here} -d '{"ttlMs": 60000}'`)]);
}

function message(parts) {
  const text = parts.map((part) => part.textContent ?? part).join("\n");
  fill(byId("message"), text, () => parts.map((part) => element("p", {}, part)));
}

function drawPages(rows, all, more, after) {
  const parts = [];
  if (more || after > 0) parts.push(say("shown", { count: number(rows.length), all: number(all) }));
  if (more && asked("sort") !== "") parts.push(say("sorted-rows", { count: number(rows.length) }));
  if (after > 0) parts.push(element("a", { href: addressWith({ cursor: "" }) }, say("first-page")));
  const next = polled ? polled.next : Math.max(...rows.map((lock) => lock.token));
  if (more) parts.push(element("a", { href: addressWith({ cursor: String(next) }) }, say("next-page")));
  const text = parts.map((part) => part.href ?? part).join("\n");
  fill(byId("pages"), text, () => parts.map((part) => element("span", {}, part)));
}

/** Follows the stream of what the address asks for, and no other. */
function watch() {
  stream.abort();
  stream = new AbortController();
  const { signal } = stream;
  locks = new Locks();
  polled = null;
  state = "connecting";
  follow(asked("prefix"), signal, {
    event(name, data) {
      // From here on the stream tells of all.
      polled = null;
      if (locks.hear(name, data)) changed += 1;
      if (name === "gap") state = "interrupted";
      if (name === "synced") state = "live";
      if (state === "live") asOf = Date.now();
      if (name !== "state") draw();
    },
    broken(code) {
      if (signal.aborted) return;
      // No seat for a stream: the list is asked for until there is one.
      if (code === 429) [polled, isBusy] = [polled ?? { next: null }, true];
      if (!polled) state = "interrupted";
      locks.coming = null;
      draw();
      refresh();
    },
    refused(code) {
      if (signal.aborted) return;
      // More locks than a stream tells of.
      if (code === 400) [polled, isBusy] = [{ next: null }, false];
      refresh();
    },
  });
  draw();
  refresh();
}

/** Asks for what no event tells: the status, and what is left of the leases that are shown. */
async function refresh() {
  const { signal } = stream;
  const answer = await ask("GET", "v1/status");
  if (signal.aborted) return;
  if (answer.status === 200) status = answer.body;
  else if (refusedBy(answer)) return draw();
  const cursor = polled ? asked("cursor") : String(Number(asked("cursor")) || "");
  const parameters = new URLSearchParams({ limit: String(ROWS), prefix: asked("prefix") });
  if (cursor) parameters.set("cursor", cursor);
  const list = await ask("GET", `v1/locks?${parameters}`);
  if (signal.aborted) return;
  if (list.status === 200) takeList(list.body);
  else if (!refusedBy(list) && polled && list.status !== 429) [state, problem] = ["unavailable", reasonOf(list)];
  draw();
}

function takeList({ locks: rows, next }) {
  if (polled) {
    locks.replace(listed(rows));
    [polled, state, asOf] = [{ next }, "polled", Date.now()];
  } else if (locks.isComplete) {
    rows.forEach((row) => locks.refresh(row));
  } else if (state === "connecting" && next === null) {
    // Sooner than the stream, which may be refused for a moment.
    locks.byKey = listed(rows);
  }
}

/** Whether the caller may not see the locks; then nothing more is asked before the next sign-in. */
function refusedBy(answer) {
  if (answer.status !== 401 && answer.status !== 403) return false;
  state = answer.status === 403 ? "not-allowed" : credential.get() === null ? "signed-out" : "refused";
  problem = reasonOf(answer);
  status = null;
  stream.abort();
  return true;
}

async function force(lock) {
  const opened = document.activeElement;
  forced = lock.token;
  const said = await forceRelease(byId("force"), lock);
  if (said === null) forced = null;
  if (said !== null) tell(said);
  if (opened?.isConnected) opened.focus();
  else if (document.activeElement === document.body) byId("prefix").focus();
  refresh();
}

function begin() {
  let typing = 0;
  byId("prefix").addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      go({ prefix: event.target.value, cursor: "" });
      watch();
    }, TYPING_MS);
  });
  byId("sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    credential.set(byId("credential").value.trim());
    byId("credential").value = "";
    watch();
  });
  byId("sign-out").addEventListener("click", () => {
    credential.clear();
    status = null;
    watch();
  });
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  setInterval(() => document.hidden || stream.signal.aborted || refresh(), POLL_MS);
  setInterval(() => {
    if (document.hidden) return;
    table.tick();
    if (status) drawNumbers();
  }, 1000);
  setInterval(() => {
    if (changed > 0) setText(byId("changes"), changed === 1 ? say("changed-one") : say("changed", { count: number(changed) }));
    changed = 0;
  }, ANNOUNCE_MS);
  watch();
}

begin();
