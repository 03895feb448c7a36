// The native API, which is served beside the page, with the credential of this tab.

const KEPT = "lockside-credential";

export const credential = {
  get: () => sessionStorage.getItem(KEPT),
  set: (token) => sessionStorage.setItem(KEPT, token),
  clear: () => sessionStorage.removeItem(KEPT),
};

/** The answer to a request; throws where there is none. `path` begins without a slash. */
export function request(method, path, signal) {
  const token = credential.get();
  const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
  return fetch(new URL(`../${path}`, document.baseURI), { method, headers, signal, cache: "no-store" });
}

/** Its status, 0 where there was no answer, and what it says. */
export async function ask(method, path) {
  try {
    const response = await request(method, path, AbortSignal.timeout(20_000));
    const isJson = (response.headers.get("content-type") ?? "").includes("json");
    return { status: response.status, body: isJson ? await response.json() : null };
  } catch (failure) {
    return { status: 0, body: { detail: String(failure.message ?? failure) } };
  }
}

/** Why it was not answered as asked, in the words of the answer. */
export function reasonOf({ status, body }) {
  return body?.detail ?? body?.title ?? body?.messageValue ?? String(status);
}
