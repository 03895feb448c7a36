// One HTTP request on a connection of its own, and its answer: whole, or line by line. No agent of the process, no default
// timeout and no proxy comes in between.

import { readFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";

import type { Address } from "./address.js";
import { now } from "./clock.js";

/** A line of a hold, and a moment that it cannot have been written before: its validity is counted from there. */
export interface Line {
  readonly event: Record<string, unknown>;
  readonly since: number;
}

/** The connection ended, or what came is not HTTP, or nothing came in time. */
export class Broken extends Error {}

const LONGEST_LINE = 1024 * 1024;
// The longest time between two looks at the socket.
const LONGEST_STEP = 1000;

export class Exchange {
  /** Whether anything may have been sent. */
  isConnected = false;
  /** Set before the answer comes: its body is read by `part` alone, and no further. */
  isPulled = false;
  readonly #request: http.ClientRequest;
  readonly #lines: Line[] = [];
  #answer: http.IncomingMessage | undefined;
  #text = "";
  #end: Error | undefined;
  #wake: (() => void) | undefined;
  // Nothing lay unread in the socket then: what is read now came after this moment.
  #quietAt = now();
  // The same for the first byte of the line that has come in part.
  #lineSince = this.#quietAt;
  #ticker: NodeJS.Timeout | undefined;

  constructor(address: Address, method: string, path: string, headers: Record<string, string>, content?: unknown) {
    const text = content === undefined ? "" : JSON.stringify(content);
    const options = {
      ...address.target,
      method,
      path,
      headers: { ...headers, Host: address.authority, "Content-Length": Buffer.byteLength(text) },
    };
    const { tls } = address;
    // Neither the global agent nor its proxy and timeouts.
    this.#request = tls
      ? https.request({
          ...options,
          ca: read(tls.ca),
          cert: read(tls.certificate),
          key: read(tls.key),
          minVersion: "TLSv1.2",
          // Whatever NODE_TLS_REJECT_UNAUTHORIZED says.
          rejectUnauthorized: true,
          agent: new https.Agent({ keepAlive: false, maxCachedSessions: 0 }),
        })
      : http.request({ ...options, agent: new http.Agent({ keepAlive: false }) });
    this.#request.on("socket", (socket) => {
      socket.setNoDelay(true);
      if (!socket.connecting && !tls) this.isConnected = true;
      if (tls) socket.once("secureConnect", () => (this.isConnected = true));
      socket.once("connect", () => {
        // Over TLS nothing is sent before the handshake has succeeded.
        this.isConnected = !tls;
        // A connection to a port without a listener may meet itself.
        if (socket.localPort !== undefined && socket.localPort === socket.remotePort && socket.localAddress === socket.remoteAddress) {
          this.isConnected = false;
          this.#request.destroy(new Error("connect ECONNREFUSED: nothing listens there"));
        }
      });
    });
    this.#request.on("error", (error) => this.#ended(error));
    this.#request.on("close", () => this.#ended(new Broken("the sidecar closed the connection")));
    this.#request.on("response", (answer) => this.#answered(answer));
    this.#request.end(text);
  }

  /** The head of the answer, which comes within so many milliseconds. */
  async head(withinMs: number): Promise<http.IncomingMessage> {
    const until = now() + withinMs;
    while (!this.#answer) await this.#news(until);
    return this.#answer;
  }

  /** The whole body, which ends within so many milliseconds. */
  async text(withinMs: number): Promise<string> {
    const until = now() + withinMs;
    for (;;) {
      while (this.#pull());
      if (this.#answer && (this.#answer.complete || this.#end)) break;
      await this.#news(until);
    }
    return this.#text;
  }

  /** The part of the body that comes next, within so many milliseconds. */
  async part(withinMs: number): Promise<string> {
    const until = now() + withinMs;
    for (;;) {
      if (this.#pull()) {
        const part = this.#text;
        this.#text = "";
        return part;
      }
      if (this.#answer?.readableEnded) throw new Broken("the sidecar closed the connection");
      await this.#news(until);
    }
  }

  /** The next line. Without a limit it is waited for as long as the connection lasts. */
  async line(withinMs = Infinity): Promise<Line> {
    const until = now() + withinMs;
    for (;;) {
      const line = this.#lines.shift();
      if (line) return line;
      await this.#news(until);
    }
  }

  /** Takes what lies in the buffer of an answer that is pulled; whether there was anything. */
  #pull(): boolean {
    const part = this.isPulled ? (this.#answer?.read() as string | null) : null;
    this.#text += part ?? "";
    return Boolean(part);
  }

  /** From here on lines come, and the socket is looked at so often, milliseconds. */
  stream(stepMs: number): void {
    const split = () => {
      const parts = this.#text.split("\n");
      this.#text = parts.pop() ?? "";
      if (this.#text.length > LONGEST_LINE) this.destroy();
      for (const part of parts) {
        try {
          this.#lines.push({ event: JSON.parse(part) as Record<string, unknown>, since: this.#lineSince });
        } catch {
          this.destroy();
        }
      }
      if (parts.length > 0) this.#lineSince = this.#quietAt;
    };
    split();
    this.#answer?.on("data", split);
    this.#ticker = setInterval(() => {
      // Adopted once the loop has looked at its sockets: what it reads later was written after this moment.
      const moment = now();
      setImmediate(() => (this.#quietAt = moment));
    }, Math.min(stepMs, LONGEST_STEP));
    this.#ticker.unref();
  }

  /** Lets the process end although the connection is open. */
  unref(): void {
    this.#request.socket?.unref();
  }

  destroy(): void {
    this.#request.destroy();
    this.#ended(new Broken("the connection was closed"));
  }

  #answered(answer: http.IncomingMessage): void {
    this.#answer = answer;
    answer.setEncoding("utf8");
    if (this.isPulled) {
      answer.on("readable", () => this.#wake?.());
    } else {
      answer.on("data", (part: string) => {
        if (this.#text === "") this.#lineSince = this.#quietAt;
        this.#text += part;
        this.#wake?.();
      });
    }
    answer.on("error", (error) => this.#ended(error));
    answer.on("end", () => this.#wake?.());
    this.#wake?.();
  }

  #ended(error: Error): void {
    clearInterval(this.#ticker);
    this.#end ??= error;
    this.#wake?.();
  }

  /** Ends when something has come. */
  #news(until: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#end) return reject(this.#end);
      const left = until - now();
      if (left <= 0) return reject(new Broken("no answer in time"));
      const timer = left < Infinity ? setTimeout(() => this.#wake?.(), Math.min(left, 2 ** 31 - 1)) : undefined;
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
    });
  }
}

function read(file: string | undefined): Buffer | undefined {
  return file === undefined ? undefined : readFileSync(file);
}
