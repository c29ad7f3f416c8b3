// An agent made of the official JavaScript SDK, for the tests to drive: the twin of ../python/peer.py.
// Runs in .tools/sdk-node, where the SDK is installed.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const ngrok = createRequire(process.cwd() + "/")("@ngrok/ngrok");
const tell = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));
// Only errors of `connect` have the code as a property, those of a bind have it at the end of their text.
const codeOf = (error) => error.errorCode ?? /error_code: (\w+)$/.exec(error.message)?.[1] ?? null;
const told = (refused) => tell("refused", { text: refused.message, code: codeOf(refused) });
const BYTES = new Set(["termination", "mutualTlsca"]);

const endpoints = (session) => ({
  http: () => session.httpEndpoint(),
  tcp: () => session.tcpEndpoint(),
  tls: () => session.tlsEndpoint(),
  labeled: () => session.labeledListener(),
});

const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());

async function bind(session, endpoint) {
  const made = endpoints(session)[endpoint.proto]();
  for (const [method, ...values] of endpoint.options) {
    const name = camel(method);
    made[name](...values.map((value) => (BYTES.has(name) ? Buffer.from(value) : value)));
  }
  const listener = await made.listenAndForward(endpoint.upstream);
  const labels = endpoint.proto === "labeled" ? listener.labels() : {};
  tell("up", { url: listener.url() ?? "", id: listener.id(), labels, metadata: listener.metadata() });
}

async function main() {
  const ask = JSON.parse(process.argv[2]);
  let session;
  try {
    const asked = new ngrok.SessionBuilder();
    asked.authtoken(ask.token).serverAddr(ask.server).rootCas(ask.ca).metadata(ask.metadata);
    if (ask.heartbeat) asked.heartbeatInterval(ask.heartbeat);
    asked.handleHeartbeat((latency) => tell("heartbeat", { ms: latency }));
    session = await asked.connect();
    tell("session");
    for (const endpoint of ask.endpoints) await bind(session, endpoint);
  } catch (refused) {
    told(refused);
    process.exit(1);
  }
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    if (order.do === "close") {
      await session.closeListener(order.id);
      tell("down", { id: order.id });
    } else {
      await bind(session, order.endpoint).catch(told);
    }
  }
  await session.close();
  tell("closed");
  process.exit(0);
}

main();
