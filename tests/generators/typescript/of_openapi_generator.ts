// The client that openapi-generator makes for TypeScript (typescript-fetch).

import * as made from "./lockside-typescript";
import { type Client, type ErrorBody, Refused, lines, playUses, setting } from "./uses";

const basePath = setting("LOCKSIDE_URL");
const service = new made.Configuration({ basePath, accessToken: setting("API_TOKEN") });
const native = new made.NativeApi(service);
const leases = new made.LeasableLockApi(service);
// The API token where Dapr's clients send it.
const dapr = new made.DaprApi(new made.Configuration({ basePath, apiKey: setting("API_TOKEN") }));
// A browser sends the cookie by itself; elsewhere it is a header.
const admin = (jwt: string) =>
  new made.AdminApi(new made.Configuration({ basePath, headers: { cookie: `refreshToken=${jwt}` } }));

/** Reads an error as the class that is made for it. */
async function ok<T>(call: Promise<T>, read: (json: unknown) => ErrorBody): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof made.ResponseError) {
      throw new Refused(error.response.status, read(await error.response.json()));
    }
    throw error;
  }
}

const ofNative = <T>(call: Promise<T>) => ok(call, made.ProblemFromJSON);
const ofLeases = <T>(call: Promise<T>) => ok(call, made.CoreApiOperationMessageFromJSON);
const ofAdmin = <T>(call: Promise<T>) => ok(call, made.AdminAnswerFromJSON);
const ofDapr = <T>(call: Promise<T>) => ok(call, made.DaprErrorFromJSON);

const store = "lockstore";

const client: Client = {
  acquire: (key, acquireBody) => ofNative(native.acquireLock({ key, acquireBody })),
  renew: (key, token, ttlMs) => ofNative(native.renewLock({ key, token, renewBody: { ttlMs } })),
  release: (key, token) => ofNative(native.releaseLock({ key, token })),
  forceRelease: (key) => ofNative(native.releaseLock({ key, force: true })),
  bundle: (bundleBody) => ofNative(native.acquireBundle({ bundleBody })),
  renewBundle: (leases, ttlMs) => ofNative(native.renewBundle({ renewBundleBody: { leases, ttlMs } })),
  releaseBundle: (leases) => ofNative(native.releaseBundleByPost({ namedLeases: { leases } })),
  show: (key) => ofNative(native.showLock({ key })),
  fence: (key, token) => ofNative(native.fenceLock({ key, token })),
  page: (prefix, limit, cursor) => ofNative(native.listLocks({ prefix, limit, cursor })),
  async *hold(key, ttlMs) {
    const { raw } = await ofNative(native.holdLockRaw({ key, holdBody: { ttlMs, owner: "web-3" } }));
    for await (const line of lines(raw.body)) {
      yield made.HoldEventFromJSON(line);
    }
  },
  async adminLock(jwt, route, id, token) {
    const answer = await ofAdmin(admin(jwt).adminLockRaw({ adminTarget: { route, id }, token }));
    return { ...(await answer.value()), headers: answer.raw.headers };
  },
  adminRemove: (jwt, route, id) => ofAdmin(admin(jwt).adminRemoveLock({ adminTarget: { route, id } })),
  createLease: (key, leasePeriod) =>
    ofLeases(leases.createLeasableLock({ leasableLockCreation: { key, leasePeriod } })),
  renewLease: (token, leasePeriod) => ofLeases(leases.refreshLeasableLock3({ token, leasePeriod })),
  releaseLease: (token) => ofLeases(leases.removeLock({ token })),
  forceReleaseLease: (token) => ofLeases(leases.customRemoveLock({ token })),
  leases: (prefix) => ofLeases(leases.getAllActiveLocks({ prefix })),
  async tryLock(resourceId, lockOwner, expiryInSeconds) {
    const daprLockBody = { resourceId, lockOwner, expiryInSeconds };
    return (await ofDapr(dapr.tryLock({ store, daprLockBody }))).success;
  },
  async unlock(resourceId, lockOwner) {
    return (await ofDapr(dapr.unlock({ store, daprUnlockBody: { resourceId, lockOwner } }))).status;
  },
  async stores() {
    return (await ofDapr(dapr.getDaprMetadata())).components.map((it) => it.name);
  },
};

playUses("openapi-generator", client);
