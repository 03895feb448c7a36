// Dapr's own JavaScript SDK over HTTP, as an application uses it. Arguments: port, resource, API token or "".
// Prints one JSON array: what each call came to, in order.
const { DaprClient, CommunicationProtocolEnum } = require("@dapr/dapr");

const [port, resource, daprApiToken] = process.argv.slice(2);
const store = "lockstore";
const client = new DaprClient({
  daprHost: "127.0.0.1",
  daprPort: port,
  communicationProtocol: CommunicationProtocolEnum.HTTP,
  daprApiToken,
  logger: { level: "error" },
});

async function main() {
  const said = [];
  const say = async (call) => {
    try {
      said.push(await call());
    } catch (error) {
      said.push(JSON.parse(error.message));
    }
  };
  const lock = (owner, seconds) => say(() => client.lock.lock(store, resource, owner, seconds));
  const unlock = (owner) => say(() => client.lock.unlock(store, resource, owner));

  await client.start();
  await say(() => client.health.isHealthy());
  await say(async () => (await client.metadata.get()).components);
  await lock("web-1", 60);
  await lock("web-2", 60);
  await lock("web-1", 60);
  await unlock("web-2");
  await unlock("web-1");
  await unlock("web-1");
  await lock("web-2", 1);
  // The lease ends by itself: whoever asks again and again has it within seconds.
  const deadline = Date.now() + 10000;
  let taken = false;
  while (!taken && Date.now() < deadline) {
    taken = (await client.lock.lock(store, resource, "web-3", 60)).success;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  said.push(taken);
  await lock("web-3", 0);
  await say(() => client.lock.lock("other", resource, "web-3", 60));
  await client.stop();
  console.log(JSON.stringify(said));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
