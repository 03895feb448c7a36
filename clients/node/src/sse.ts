// Server-sent events as text.

const LONGEST_EVENT = 1024 * 1024;

export interface RawEvent {
  readonly name: string;
  readonly data: string;
}

/** Takes the text of a stream as it comes, and gives its events. */
export class Parser {
  /** How long the server asks to wait before a new connection, milliseconds. */
  retryMs: number | undefined;
  #text = "";
  #name = "";
  #data: string[] = [];
  #size = 0;

  feed(text: string): RawEvent[] {
    const lines = (this.#text + text).split("\n");
    this.#text = lines.pop() ?? "";
    const events: RawEvent[] = [];
    for (const line of lines) {
      const event = this.#take(line.endsWith("\r") ? line.slice(0, -1) : line);
      if (event) events.push(event);
    }
    if (this.#text.length + this.#size > LONGEST_EVENT) throw new SyntaxError("an event is too long");
    return events;
  }

  #take(line: string): RawEvent | undefined {
    if (line === "") {
      const event = { name: this.#name || "message", data: this.#data.join("\n") };
      const isOne = this.#data.length > 0;
      [this.#name, this.#data, this.#size] = ["", [], 0];
      return isOne ? event : undefined;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#name = value;
    if (field === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
    if (field === "data") {
      this.#data.push(value);
      this.#size += value.length;
    }
    return undefined;
  }
}
