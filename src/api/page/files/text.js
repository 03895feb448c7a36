// The texts of the page's language, durations and times.

const texts = JSON.parse(document.getElementById("texts").textContent);
const language = document.documentElement.lang;
const time = new Intl.DateTimeFormat(language, { timeStyle: "medium" });
const dayAndTime = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
const whole = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long" });
const numbers = new Intl.NumberFormat(language);

/** The text of this name, with `{field}` filled in. */
export function say(name, values = {}) {
  return texts[name].replace(/\{([a-z]+)\}/g, (_, field) => values[field] ?? "");
}

/** As `say`, with each value in an element of its own, so that it cannot be taken for a part of the sentence. */
export function sayMarked(name, values) {
  const part = (text, index) => (index % 2 === 0 ? text : marked(values[text] ?? ""));
  return texts[name].split(/\{([a-z]+)\}/).map(part);
}

function marked(text) {
  const mark = document.createElement("b");
  mark.textContent = text;
  return mark;
}

export function number(value) {
  return typeof value === "number" ? numbers.format(value) : "–";
}

/** `41 s`, `4 min 10 s`, `10 min`, `2 h 5 min`, `3 d 4 h`. */
export function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const of = (large, unit, small, rest) => `${large} ${unit}${small > 0 ? ` ${small} ${rest}` : ""}`;
  if (s < 60) return `${s} s`;
  if (s < 3600) return of(Math.floor(s / 60), "min", s % 60, "s");
  if (s < 86400) return of(Math.floor(s / 3600), "h", Math.floor(s / 60) % 60, "min");
  return of(Math.floor(s / 86400), "d", Math.floor(s / 3600) % 24, "h");
}

/** A moment, given in milliseconds since 1970: the time of a moment of today, else the day, too. */
export function moment(ms) {
  const isToday = new Date(ms).toDateString() === new Date().toDateString();
  return (isToday ? time : dayAndTime).format(ms);
}

/** A moment, with its zone. */
export function wholeMoment(ms) {
  return whole.format(ms);
}
