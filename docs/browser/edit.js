// An edit page that locks what its user edits: edit.html?volume=7. It renews its lock, warns before the lock is lost, and
// stops editing when it is. The app's backend is backend.py; what refuses a late save is the fencing token there.

// How long ago a mark was set, in milliseconds. performance.now() stands still while some systems sleep, and Date.now() can
// be set back: whichever has gone further counts.
const mark = () => ({ steady: performance.now(), wall: Date.now() });
const since = (then) => Math.max(performance.now() - then.steady, Date.now() - then.wall);

/** A lock of the admin API, and when its lease ends by the clock of this page. */
class EditLock {
  /** The fencing token; null without a lock. */
  token = null;
  #granted;

  constructor(origin, route, id, leaseMs) {
    const part = (text) => text.replace(/[%:]/g, encodeURIComponent);
    this.acquireUrl = `${origin}/admin/lock`;
    this.target = JSON.stringify({ route, id });
    this.url = `${origin}/v1/locks/${encodeURIComponent(`${part(route)}:${part(id)}`)}`;
    // One per cent less, because Redis's clock and this one may differ in speed.
    this.leaseMs = leaseMs * 0.99;
  }

  /** Milliseconds until the lease ends. */
  get left() {
    return this.token === null ? 0 : Math.max(0, this.leaseMs - since(this.#granted));
  }

  get isDue() {
    return this.token !== null && since(this.#granted) >= this.leaseMs / 3;
  }

  /** Undefined when granted, else why not. */
  async acquire() {
    let [answer, sent] = await this.#post(this.acquireUrl);
    if (answer.ok && answer.headers.get("Lockside-Lock") === "renewed") {
      // Another page of this user has the lock. Two pages with one token could overwrite each other's text: the lock is
      // released there, and this page gets one with a token of its own.
      await this.#send("DELETE", `${this.url}?token=${answer.headers.get("Lockside-Token")}`);
      [answer, sent] = await this.#post(this.acquireUrl);
    }
    if (answer.status === 409) {
      return `${holder(answer) ?? "Another user"} is editing.`;
    }
    if (answer.headers.get("Lockside-Lock") === "renewed") {
      return "Another page of yours is editing.";
    }
    if (!answer.ok) {
      return `Refused: ${reason(answer)}.`;
    }
    this.token = answer.headers.get("Lockside-Token");
    this.#granted = sent;
  }

  /** Undefined when renewed, else why not; without a token from then on when the lease has ended. */
  async renew() {
    const token = this.token;
    const [answer, sent] = await this.#post(`${this.acquireUrl}?token=${token}`);
    if (this.token !== token) {
      return; // released meanwhile
    }
    if (answer.ok) {
      this.#granted = sent;
    } else if (answer.status === 409) {
      this.token = null;
      return holder(answer) ? `${holder(answer)} has the lock now` : "the lease has ended";
    } else {
      return reason(answer);
    }
  }

  /** Releases this lease and no other: after a reload the next lease of this user must stay. */
  release() {
    if (this.token !== null) {
      // keepalive: it is sent although the page is being closed.
      this.#send("DELETE", `${this.url}?token=${this.token}`, { keepalive: true }).catch(() => {});
      this.token = null;
    }
  }

  /** Who holds the lock, and since when; null when it is free. */
  async holder() {
    const answer = await this.#send("GET", this.url);
    const { holder, detail } = await answer.json();
    if (!answer.ok) {
      throw new Error(detail);
    }
    return holder ?? null;
  }

  // A lease begins when its request is sent, because it is unknown how long the response took.
  async #post(url) {
    const sent = mark();
    const options = { body: this.target, headers: { "Content-Type": "application/json" } };
    return [await this.#send("POST", url, options), sent];
  }

  #send(method, url, options) {
    const signal = options?.keepalive ? undefined : AbortSignal.timeout(this.leaseMs / 10);
    return fetch(url, { method, credentials: "include", cache: "no-store", signal, ...options });
  }
}

const holder = (answer) => {
  const id = answer.headers.get("Lockside-Holder");
  return id === null ? null : decodeURIComponent(id);
};
const reason = (answer) => answer.headers.get("Lockside-Reason") ?? `HTTP ${answer.status}`;

const main = document.querySelector("main");
const [status, others, text, edit, save, done, kept] = main.querySelectorAll("[id]");
const volume = new URLSearchParams(location.search).get("volume") ?? "1";
const documentUrl = `/volumes/${encodeURIComponent(volume)}`;
const lock = new EditLock(main.dataset.lockside, "volume", volume, main.dataset.leaseSeconds * 1000);
const STOPPED = "Your lock is over by this page's clock. Editing has stopped until lockside has been asked.";
const retryMs = Math.min(5000, lock.leaseMs / 30);

/** "reading", "beginning", "editing", "stopped" (the lease is over by this page's clock) or "lost". */
let phase = "reading";
let saved = ""; // the text as the backend has it
let why; // why the last renewal failed; undefined when it did not
let asked = mark();
let isAsking = false;
let lastHolder = null;
let saving = Promise.resolve();

function show(next, message) {
  phase = next;
  status.textContent = message;
  text.readOnly = phase !== "editing";
  save.disabled = done.disabled = phase !== "editing";
  edit.disabled = phase !== "reading" && phase !== "lost";
  if (phase === "editing") {
    others.textContent = "";
  }
}

function lose(message) {
  lock.token = lastHolder = null;
  show("lost", `You have lost the lock: ${message}. Editing has stopped; what you did not save is kept here.`);
}

/** Called often, and whenever the page wakes. First it stops what is no longer allowed, then it asks. */
async function tick() {
  if (phase === "editing" && lock.left === 0) {
    show("stopped", STOPPED);
  } else if (phase === "editing" && why !== undefined) {
    const seconds = Math.ceil(lock.left / 1000);
    const advice = text.value === saved ? "Your text is saved." : "Save now.";
    show("editing", `Your lock cannot be renewed: ${why}. Editing stops in ${seconds} s unless it can. ${advice}`);
  }
  const isEditing = phase === "editing" || phase === "stopped";
  const isDue = isEditing ? lock.isDue : phase !== "beginning" && document.visibilityState === "visible";
  if (isDue && !isAsking && since(asked) >= retryMs) {
    asked = mark();
    isAsking = true;
    await (isEditing ? renew() : look());
    isAsking = false;
  }
}

async function renew() {
  const token = lock.token;
  const hasWarned = phase === "stopped" || why !== undefined;
  let failed;
  try {
    failed = await lock.renew();
  } catch (error) {
    failed = error.message; // no response in time, or no network
  }
  if ((phase !== "editing" && phase !== "stopped") || ![token, null].includes(lock.token)) {
    return; // it was of a lock that was released meanwhile
  }
  why = failed;
  if (lock.token === null) {
    lose(why);
  } else if (why === undefined && hasWarned && lock.left > 0) {
    // The lease has never ended, also where this page had stopped.
    show("editing", "You are editing.");
  } else if (phase === "stopped" && why !== undefined) {
    show("stopped", `${STOPPED} It cannot be asked: ${why}.`);
  }
}

/** Who is editing, for a page that is not. */
async function look() {
  let message;
  try {
    const now = await lock.holder();
    if (now === null) {
      message = lastHolder === null ? "Not being edited." : `${lastHolder} has stopped editing. You can take over.`;
    } else {
      lastHolder = now.owner ?? "Another program";
      message = `${lastHolder} has been editing`;
      message += now.since ? ` since ${new Date(now.since).toLocaleTimeString()}.` : ".";
    }
    edit.textContent = now === null && lastHolder !== null ? "Take over" : "Edit";
  } catch (error) {
    message = `Cannot see who is editing: ${error.message}`;
  }
  if (phase === "reading" || phase === "lost") {
    others.textContent = message;
  }
}

async function begin() {
  show("beginning", "Asking for the lock …");
  try {
    const refused = await lock.acquire();
    if (refused !== undefined) {
      show("reading", refused);
      return;
    }
    // Read after the lock was granted, and with its token: from here on the backend refuses every older one.
    const token = lock.token;
    const answer = await fetch(documentUrl, { method: "POST", headers: { "Fencing-Token": token } });
    if (!answer.ok) {
      throw new Error(`the text cannot be edited, HTTP ${answer.status}`);
    }
    const current = await answer.text();
    if (lock.token !== token) {
      return; // the user has left the page meanwhile
    }
    if (text.value !== saved) {
      kept.querySelector("pre").textContent = text.value;
      kept.hidden = false;
    }
    text.value = saved = current;
    why = undefined;
    lastHolder = null;
    show("editing", "You are editing.");
  } catch (error) {
    lock.release();
    show("reading", `Not editing: ${error.message}.`);
  }
}

/** Whether the lock still holds by this page's clock, at this very moment. */
function mayEdit() {
  if (phase === "editing" && lock.left > 0) {
    return true;
  }
  tick();
  return false;
}

async function saveText() {
  if (!mayEdit()) {
    return;
  }
  const [token, value] = [lock.token, text.value];
  try {
    const answer = await fetch(documentUrl, { method: "PUT", headers: { "Fencing-Token": token }, body: value });
    if (answer.ok) {
      saved = value;
      status.textContent = "Saved.";
    } else if (answer.status === 412) {
      lose("a newer one has been used");
    } else {
      status.textContent = `Not saved: HTTP ${answer.status}.`;
    }
  } catch (error) {
    status.textContent = `Not saved: ${error.message}.`;
  }
}

edit.addEventListener("click", begin);
save.addEventListener("click", () => {
  // One after another: an earlier text must not arrive after a later one.
  saving = saving.then(saveText);
});
done.addEventListener("click", async () => {
  await saving;
  if (phase === "editing") {
    lock.release();
    show("reading", text.value === saved ? "You have stopped editing." : "You have stopped editing without saving.");
  }
});
// The first key after a sleep may come before any timer.
text.addEventListener("beforeinput", (event) => mayEdit() || event.preventDefault());
text.addEventListener("input", () => why === undefined && show("editing", "You are editing."));
addEventListener("pagehide", () => {
  if (lock.token !== null) {
    lock.release();
    lose("you have left the page"); // where the browser keeps the page, and shows it again
  }
});
for (const wake of ["pageshow", "focus", "online"]) {
  addEventListener(wake, tick);
}
for (const wake of ["resume", "visibilitychange"]) {
  document.addEventListener(wake, tick);
}
setInterval(tick, Math.min(1000, retryMs));

main.querySelector("h1").textContent = `Volume ${volume}`;
text.value = saved = await (await fetch(documentUrl)).text();
await look();
