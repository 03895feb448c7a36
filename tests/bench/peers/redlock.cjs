// node-redlock straight to one Redis: many pairs of acquire and release at a time, each of another key.
// Arguments: port, how many at a time, seconds. Prints one line of JSON: grants, seconds.
const { default: Redlock } = require("redlock");
const { Redis } = require("ioredis");

const [port, clients, seconds] = process.argv.slice(2).map(Number);
const redis = new Redis({ port });
const redlock = new Redlock([redis], { retryCount: 0 });
let grants = 0;

async function client(number, end, count) {
  for (let turn = 0; performance.now() < end; turn++) {
    const lock = await redlock.acquire([`bench-${number}-${turn}`], 30000);
    await lock.release();
    if (count) grants++;
  }
}

async function all(milliseconds, count) {
  const end = performance.now() + milliseconds;
  await Promise.all(Array.from({ length: clients }, (_, number) => client(number, end, count)));
}

(async () => {
  await all(500, false); // the compiler warms up
  const begin = performance.now();
  await all(seconds * 1000, true);
  console.log(JSON.stringify({ grants, seconds: (performance.now() - begin) / 1000 }));
  redis.disconnect();
})();
