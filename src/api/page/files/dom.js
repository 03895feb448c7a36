// Elements, made without markup: what is a text stays one.

/** `element("td", { class: "number" }, "7", child)`; a child that is null is left out. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (attribute.startsWith("on")) made.addEventListener(attribute.slice(2), value);
    else if (value === true) made.setAttribute(attribute, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(attribute, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Writes only what changes, so that a screen reader says nothing twice and a selection stays. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Fills a place with what `make` returns, unless it was made of the same before: what has the focus or is being read stays. */
export function fill(place, of, make) {
  if (place.dataset.of === of) return;
  place.dataset.of = of;
  place.replaceChildren(...make());
}

export function empty(place) {
  fill(place, "", () => []);
}

/** A button that copies a text; none where the browser lets no page copy. */
export function copyButton(label, copied, text) {
  if (!navigator.clipboard) return null;
  const button = element("button", { type: "button" }, label);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = copied;
    setTimeout(() => (button.textContent = label), 2000);
  });
  return button;
}
