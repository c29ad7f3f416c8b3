// An agent made of the official JavaScript SDK, for the tests to drive: the twin of ../python/peer.py.
// Runs in .tools/sdk-node, where the SDK is installed.
import { createRequire } from "node:module";

const ngrok = createRequire(process.cwd() + "/")("@ngrok/ngrok");
const tell = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));
const BYTES = new Set(["termination", "mutualTlsca"]);

const endpoints = (session) => ({
  http: () => session.httpEndpoint(),
  tcp: () => session.tcpEndpoint(),
  tls: () => session.tlsEndpoint(),
  labeled: () => session.labeledListener(),
});

const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());

async function main() {
  const ask = JSON.parse(process.argv[2]);
  let session;
  try {
    const asked = new ngrok.SessionBuilder();
    asked.authtoken(ask.token).serverAddr(ask.server).rootCas(ask.ca).metadata(ask.metadata ?? "");
    asked.handleHeartbeat((latency) => tell("heartbeat", { ms: latency }));
    session = await asked.connect();
    tell("session");
    for (const endpoint of ask.endpoints) {
      const made = endpoints(session)[endpoint.proto]();
      for (const [method, ...values] of endpoint.options ?? []) {
        const name = camel(method);
        made[name](...values.map((value) => (BYTES.has(name) ? Buffer.from(value) : value)));
      }
      const listener = await made.listenAndForward(endpoint.upstream);
      const labels = endpoint.proto === "labeled" ? listener.labels() : {};
      tell("up", { url: listener.url() ?? "", id: listener.id(), labels });
    }
  } catch (refused) {
    tell("refused", { text: refused.message, code: refused.errorCode ?? null });
    process.exit(1);
  }
  for await (const _ of process.stdin);
  await session.close();
  tell("closed");
  process.exit(0);
}

main();
