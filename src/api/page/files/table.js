// The table: a row for each lock, which stays the same element for as long as the lease lasts.

import { element, setText } from "./dom.js";
import { duration, moment, number, say, wholeMoment } from "./text.js";

const COLUMNS = {
  key: (lock) => lock.key,
  owner: (lock) => lock.name,
  kind: (lock) => lock.kind ?? "",
  mode: (lock) => lock.mode ?? "",
  since: (lock) => lock.since,
  "held-for": (lock) => lock.heldFor(),
  "ends-in": (lock) => lock.endsIn(),
  waiters: (lock) => lock.waiters,
};
/** A lease that was renewed for so many times its TTL may be stuck. */
const LONG = 10;

/** Sorts by `owner`, or `-owner` the other way round. */
export function sorted(locks, by) {
  const value = COLUMNS[by.replace(/^-/, "")];
  if (!value) return locks;
  const collator = new Intl.Collator(document.documentElement.lang, { numeric: true });
  const compare = (one, other) =>
    typeof one === "string" || typeof other === "string" ? collator.compare(one, other) : one - other;
  const direction = by.startsWith("-") ? -1 : 1;
  return [...locks].sort((one, other) => direction * compare(value(one), value(other)) || one.token - other.token);
}

export class Table {
  /**
   * `details(lock)` makes what a row opens to, `onSort(by)` is told by what to sort, `onEnded(lock)` of a lock whose details
   * were open.
   */
  constructor(table, { details, onSort, onEnded }) {
    [this.head, this.body] = [table.tHead, table.tBodies[0]];
    [this.details, this.onEnded] = [details, onEnded];
    /** The rows that the page came with, which stay until there are others. */
    this.given = [...this.body.rows];
    this.rows = new Map();
    for (const cell of this.head.rows[0].cells) {
      const button = element("button", { type: "button" }, cell.textContent);
      button.addEventListener("click", () => {
        const { column } = cell.dataset;
        onSort(cell.ariaSort === "ascending" ? `-${column}` : column);
      });
      cell.replaceChildren(button);
    }
  }

  /** Shows these locks, sorted so. */
  show(locks, by) {
    for (const cell of this.head.rows[0].cells) {
      const isSorted = cell.dataset.column === by.replace(/^-/, "");
      cell.ariaSort = isSorted ? (by.startsWith("-") ? "descending" : "ascending") : null;
    }
    for (const row of this.given.splice(0)) row.remove();
    const shown = new Set(locks.map((lock) => lock.token || lock.key));
    const focused = this.focused();
    for (const [id, row] of this.rows) {
      if (!shown.has(id)) this.remove(id, row);
    }
    let next = this.body.firstChild;
    for (const lock of locks) {
      const row = this.row(lock);
      for (const part of row.details ? [row.element, row.details.element] : [row.element]) {
        if (part === next) next = next.nextSibling;
        else this.body.insertBefore(part, next);
      }
    }
    // A row that is moved loses the focus, and one that is gone leaves it to the next.
    if (focused && document.activeElement === document.body) {
      const { target, row, index } = focused;
      if (target.isConnected) target.focus();
      else if (!row.element.isConnected) this.toggles().at(Math.min(index, this.rows.size - 1))?.focus();
    }
  }

  /** The buttons that open the rows, in the order in which they are shown. */
  toggles() {
    return [...this.body.querySelectorAll(":scope > tr > th > button")];
  }

  /** What has the focus, in which row, or in the details of which row. */
  focused() {
    const target = document.activeElement;
    const row = [...this.rows.values()].find(({ element, details }) => element.contains(target) || details?.element.contains(target));
    return row ? { target, row, index: this.toggles().indexOf(row.toggle) } : null;
  }

  row(lock) {
    const id = lock.token || lock.key;
    const row = this.rows.get(id) ?? this.make(id);
    row.lock = lock;
    fill(row);
    row.details?.update(lock);
    return row;
  }

  make(id) {
    const toggle = element("button", { type: "button", "aria-expanded": "false" });
    const bar = element("i");
    const cells = {
      owner: element("td"),
      kind: element("td", { class: "kind" }),
      mode: element("td", { class: "kind" }),
      since: element("time"),
      heldFor: element("td", { class: "number" }),
      endsIn: element("span"),
      waiters: element("td", { class: "number" }),
    };
    const made = element(
      "tr",
      {},
      element("th", { scope: "row" }, toggle),
      cells.owner,
      cells.kind,
      cells.mode,
      element("td", { class: "since" }, cells.since),
      cells.heldFor,
      element("td", { class: "number ends" }, cells.endsIn, element("span", { class: "bar", "aria-hidden": "true" }, bar)),
      cells.waiters,
    );
    const row = { element: made, toggle, bar, cells, details: null, lock: null };
    toggle.addEventListener("click", () => (row.details ? this.close(row) : this.open(row)));
    this.rows.set(id, row);
    return row;
  }

  open(row) {
    row.details = this.details(row.lock);
    row.element.after(row.details.element);
    row.toggle.ariaExpanded = "true";
    row.toggle.setAttribute("aria-controls", row.details.id);
  }

  close(row) {
    row.details?.element.remove();
    row.details = null;
    row.toggle.ariaExpanded = "false";
    row.toggle.removeAttribute("aria-controls");
    row.toggle.focus();
  }

  remove(id, row) {
    this.rows.delete(id);
    row.element.remove();
    row.details?.element.remove();
    if (row.details) this.onEnded(row.lock);
  }

  /** The countdowns, once a second. */
  tick() {
    for (const row of this.rows.values()) countDown(row);
  }
}

function fill(row) {
  const { lock, cells, toggle } = row;
  setText(toggle, lock.key);
  setText(cells.owner, lock.isResting ? `${lock.name} (${say("resting")})` : lock.name);
  cells.owner.title = lock.label ? lock.owner : "";
  setText(cells.kind, lock.kind ? say(lock.kind) : "–");
  setText(cells.mode, lock.mode ? say(lock.mode) + (lock.limit ? ` (${number(lock.limit)})` : "") : "–");
  if (Number.isFinite(lock.since)) {
    cells.since.dateTime = new Date(lock.since).toISOString();
    cells.since.title = wholeMoment(lock.since);
    setText(cells.since, moment(lock.since));
  }
  setText(cells.waiters, number(lock.waiters));
  cells.waiters.classList.toggle("some", lock.waiters > 0);
  countDown(row);
}

function countDown({ lock, cells, bar }) {
  const [heldFor, left] = [lock.heldFor(), lock.endsIn()];
  const isLong = !lock.isResting && lock.ttlMs > 0 && heldFor > LONG * lock.ttlMs;
  setText(cells.heldFor, Number.isFinite(heldFor) ? duration(heldFor) : "–");
  cells.heldFor.classList.toggle("long", isLong);
  cells.heldFor.title = isLong ? say("long") : "";
  setText(cells.endsIn, Number.isFinite(left) ? duration(left) : "–");
  const share = lock.ttlMs > 0 ? Math.min(1, Math.max(0, left / lock.ttlMs)) : 0;
  bar.style.inlineSize = `${Math.round(share * 100)}%`;
}
