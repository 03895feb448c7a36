// The driver of the JavaScript SDK, over HTTP or gRPC as its argument says: lines of JSON, see ../README.md.
const readline = require("readline");
const { DaprClient, CommunicationProtocolEnum } = require("@dapr/dapr");

const [protocol] = process.argv.slice(2);
let client;

async function call({ op, store, resource, owner, seconds }) {
  if (op === "connect") {
    const logger = { level: "error" };
    client = new DaprClient({ communicationProtocol: CommunicationProtocolEnum[protocol], logger });
    await client.start();
    return {};
  }
  if (op === "unlock") {
    return { status: (await client.lock.unlock(store, resource, owner)).status };
  }
  return { success: (await client.lock.lock(store, resource, owner, seconds)).success };
}

function failureOf(error) {
  if (typeof error.code === "number") {
    return { code: error.code, message: error.rawMessage ?? error.message };
  }
  try {
    const { status, error_msg } = JSON.parse(error.message);
    const { errorCode, message } = JSON.parse(error_msg);
    return { code: errorCode, status, message };
  } catch {
    return { code: "local", message: String(error) };
  }
}

// What the SDK logs is no answer.
const output = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr);

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const request = JSON.parse(line);
  let answer;
  try {
    answer = { ok: true, ...(await call(request)) };
  } catch (error) {
    answer = { ok: false, error: failureOf(error) };
  }
  output(JSON.stringify({ id: request.id, ...answer }) + "\n");
}).on("close", () => process.exit(0));
