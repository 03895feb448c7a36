// Force-releases the lease that was shown, and not whatever holds its key by now.

import { ask, reasonOf } from "./api.js";
import { queueOf } from "./details.js";
import { element } from "./dom.js";
import { duration, say, sayMarked } from "./text.js";

const LONGEST_REASON_BYTES = 200;
const ALONE = { title: "force-title", loses: "force-loses", rest: "force-rest", next: "force-next", fence: "force-fence", done: "force-done" };
/** Of a lease that others may stand beside: a waiter may have to wait for those, too, and storage does not fence it off by itself. */
const OF_A_SHARE = {
  title: "share-title",
  loses: "share-loses",
  rest: "share-rest",
  next: "share-next",
  fence: "share-fence",
  done: "share-done",
};

/** Asks, and does it; the parts of the sentence that says what happened, or null where it was cancelled. */
export async function forceRelease(dialog, lock) {
  const next = await firstInQueue(lock);
  const names = { key: lock.key, owner: lock.name, token: String(lock.token), next };
  const texts = lock.mode === "shared" ? OF_A_SHARE : ALONE;
  const loses = lock.isResting ? texts.rest : texts.loses;
  const reason = element("input", { id: "force-reason", maxlength: LONGEST_REASON_BYTES, autocomplete: "off" });
  reason.addEventListener("input", () => reason.setCustomValidity(isTooLong(reason.value) ? say("too-long") : ""));
  const form = element(
    "form",
    { method: "dialog" },
    element("h2", { id: "force-title" }, ...sayMarked(texts.title, names)),
    element("p", {}, ...sayMarked(loses, { ...names, duration: duration(lock.heldFor()) })),
    element("p", {}, ...sayMarked(next === null ? "force-no-next" : texts.next, names)),
    lock.isResting ? null : element("p", {}, ...sayMarked(texts.fence, names)),
    element("label", { for: "force-reason" }, say("force-reason")),
    reason,
    element(
      "p",
      { class: "actions" },
      element("button", { type: "button", onclick: () => dialog.close("") }, say("cancel")),
      element("button", { value: "force", class: "danger" }, say("force-do")),
    ),
  );
  dialog.replaceChildren(form);
  dialog.returnValue = "";
  dialog.showModal();
  reason.focus();
  await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
  if (dialog.returnValue !== "force") return null;
  return outcome(await remove(lock.token, reason.value.trim()), texts, names);
}

async function firstInQueue(lock) {
  try {
    return (await queueOf(lock.key))[0]?.owner ?? null;
  } catch {
    return null;
  }
}

function isTooLong(text) {
  return new TextEncoder().encode(text).length > LONGEST_REASON_BYTES;
}

function remove(token, reason) {
  const why = reason === "" ? "" : `?reason=${encodeURIComponent(reason)}`;
  return ask("DELETE", `cmn/leasable-locks/custom/${token}${why}`);
}

function outcome(answer, texts, names) {
  switch (answer.status) {
    case 200:
      return sayMarked(texts.done, names);
    case 404:
      return sayMarked("force-over", names);
    case 401:
    case 403:
      return sayMarked("force-forbidden", names);
    default:
      return sayMarked("force-unknown", { ...names, reason: reasonOf(answer) });
  }
}
