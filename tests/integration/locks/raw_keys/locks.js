// Other people's locks in the Redis at a unix socket, as an application uses them. Arguments: library, socket.
//
// Reads lines, answers each with one: `try KEY TTL_MS` and `wait KEY TTL_MS` with yes or no, `release KEY` with released
// or what went wrong.
const Redis = require("ioredis");
const { default: Redlock } = require("redlock");

const [library, socket] = process.argv.slice(2);
const client = new Redis(socket);
const locks = new Map();
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const redlock = {
  async acquire(key, ttlMs, wait) {
    const redlock = new Redlock([client], { retryCount: wait ? 200 : 0, retryDelay: 100 });
    redlock.on("error", () => {});
    try {
      locks.set(key, await redlock.acquire([key], ttlMs));
      return true;
    } catch (error) {
      return false;
    }
  },
  async release(key) {
    await locks.get(key).release();
  },
};

// What Dapr's Redis lock store sends: its two commands as they stand in its source (lock/redis/standalone.go). It does not
// wait; its applications ask again.
const UNLOCK =
  'local v = redis.call("get",KEYS[1]); if v==false then return -1 end; if v~=ARGV[1] then return -2 else return redis.call("del",KEYS[1]) end';
const dapr = {
  async acquire(key, ttlMs, wait) {
    for (let round = 0; round < (wait ? 200 : 1); round += 1) {
      if ((await client.set(key, "web-1", "EX", Math.ceil(ttlMs / 1000), "NX")) === "OK") return true;
      if (wait) await pause(100);
    }
    return false;
  },
  async release(key) {
    const status = await client.eval(UNLOCK, 1, key, "web-1");
    if (status < 0) throw new Error(`status ${status}`);
  },
};

async function main() {
  const locker = { redlock, dapr }[library];
  for await (const line of require("readline").createInterface({ input: process.stdin })) {
    const [action, key, ttlMs] = line.split(" ");
    if (action === "release") {
      console.log(await locker.release(key).then(() => "released", (error) => error.name));
    } else {
      console.log((await locker.acquire(key, Number(ttlMs), action === "wait")) ? "yes" : "no");
    }
  }
  client.disconnect();
}

main();
