// Where the sidecar is, and who asks.

import { readFile } from "node:fs/promises";
import { hostname } from "node:os";

const DEFAULT = "http://127.0.0.1:7420";
const EXPECTED = "expected http://127.0.0.1:7420, https://host:7420 or unix:/path";

/** A TCP or a unix socket, as `http.request` takes it. */
export type Target = { readonly socketPath: string } | { readonly host: string; readonly port: number };

/** The files of TLS: whom the client trusts, and who it is. They are read for each connection, because they are renewed. */
export interface TlsFiles {
  readonly ca: string | undefined;
  readonly certificate: string | undefined;
  readonly key: string | undefined;
}

export class Address {
  private constructor(
    readonly target: Target,
    readonly authority: string,
    /** Undefined where TLS is not spoken. */
    readonly tls?: TlsFiles | undefined,
  ) {}

  /** Takes what the command line takes in LOCKSIDE_URL. An error does not repeat the URL: it may hold a password. */
  static parse(text: string | undefined, tls?: TlsFiles): Address {
    const url = text || DEFAULT;
    if (url.startsWith("unix:")) {
      const path = url.slice("unix:".length).replace(/^\/\//, "");
      if (!path.startsWith("/")) throw new TypeError(`lockside URL: the path is not absolute; ${EXPECTED}`);
      return new Address({ socketPath: path }, "localhost");
    }
    const parts = URL.canParse(url) ? new URL(url) : undefined;
    const isPlain = parts && parts.pathname === "/" && !parts.search && !parts.hash && !parts.username && !parts.password;
    const isHttp = parts?.protocol === "http:" || parts?.protocol === "https:";
    if (!parts || !isHttp || !parts.hostname || !isPlain) throw new TypeError(`lockside URL: ${EXPECTED}`);
    const host = parts.hostname.replace(/^\[|\]$/g, "");
    if (parts.protocol === "http:") return new Address({ host, port: Number(parts.port || 80) }, parts.host);
    const files = tls ?? { ca: undefined, certificate: undefined, key: undefined };
    if (!files.certificate !== !files.key) throw new TypeError("certFile and keyFile: expected both or neither");
    return new Address({ host, port: Number(parts.port || 443) }, parts.host, files);
  }

  toString(): string {
    return "socketPath" in this.target ? `unix:${this.target.socketPath}` : `http${this.tls ? "s" : ""}://${this.authority}`;
  }
}

/** A sidecar, how to authenticate there, and how many milliseconds it may be silent. */
export class Sidecar {
  readonly address: Address;

  constructor(
    url: string | undefined,
    private readonly tokenFile: string | undefined,
    readonly timeoutMs: number,
    tls?: TlsFiles,
  ) {
    if (!(timeoutMs > 0)) throw new RangeError("timeoutMs: expected milliseconds above 0");
    this.address = Address.parse(url, tls);
  }

  /** The credential is read for each request, because files are rotated. */
  async headers(): Promise<Record<string, string>> {
    if (!this.tokenFile) return {};
    const token = (await readFile(this.tokenFile, "utf8")).trim();
    if (!/^[\x21-\x7e]+$/.test(token)) throw new TypeError(`\`${this.tokenFile}\` holds no token on one line`);
    return { Authorization: `Bearer ${token}` };
  }
}

/** HOST/PID. */
export function defaultOwner(): string {
  const host = hostname().replace(/[\x00-\x1f\x7f]/g, "");
  return `${host.slice(0, 200)}/${process.pid}`;
}
