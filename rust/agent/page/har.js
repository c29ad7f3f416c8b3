// HTTP Archive 1.2: captured requests as a file, and such a file as requests to look at.
import { decode, encode, field, plain, text } from "./bytes.js";
import { opened } from "./detail.js";
import { form } from "./formats.js";
import { MASK, isSecret } from "./show.js";

/** Entries of the API as an archive, the oldest first; credentials and cookies only where they are wanted in it. */
export async function write(entries, version, secrets) {
  const pairs = (list) => list.map(([name, value]) => ({ name, value: !secrets && isSecret(name) ? MASK : value }));
  const written = [];
  for (const entry of entries.toReversed()) {
    const { asked, answered, response } = opened(entry);
    const ms = entry.duration / 1e6;
    const wait = Math.min(ms, (entry.first_byte || entry.duration) / 1e6);
    const query = asked.path.includes("?") ? form(asked.path.slice(asked.path.indexOf("?") + 1)) : [];
    const host = field(asked.headers, "host") || "localhost";
    const post = asked.body.length ? { postData: { mimeType: field(asked.headers, "content-type"), ...content(asked.body) } } : {};
    const body = answered ? await shown(answered, entry) : new Uint8Array();
    written.push({
      startedDateTime: entry.start,
      time: ms,
      request: {
        ...{ method: asked.method, url: `http://${host}${asked.path}`, httpVersion: entry.request.proto, cookies: [] },
        ...{ headers: pairs(asked.headers), queryString: query.map(([name, value]) => ({ name, value })), headersSize: -1, bodySize: asked.body.length, ...post },
      },
      response: {
        ...{ status: response ? response.status_code : 0, statusText: response ? response.status.slice(4) : "" },
        ...{ httpVersion: response ? response.proto : "", cookies: [], headers: answered ? pairs(answered.headers) : [] },
        content: { size: body.length, mimeType: answered ? field(answered.headers, "content-type") : "", ...(answered ? content(body) : {}) },
        ...{ redirectURL: answered ? field(answered.headers, "location") : "", headersSize: -1, bodySize: answered ? answered.body.length : -1 },
      },
      cache: {},
      timings: { send: 0, wait, receive: ms - wait },
      comment: entry.tunnel_name,
      _remoteAddress: entry.remote_addr,
      ...(entry.replay_of ? { _replayOf: entry.replay_of } : {}),
    });
  }
  return { log: { version: "1.2", creator: { name: "portway", version }, entries: written } };
}

/** A body as archives have it: without its content coding, where that can be taken off. */
async function shown(answered, entry) {
  const coding = answered.decoded ? "" : field(answered.headers, "content-encoding");
  return (await plain(answered.body, coding, `/api/ui/requests/${encodeURIComponent(entry.id)}/response`)).bytes;
}

/** Text only where the same bytes come out of it again. */
function content(body) {
  const said = text(body);
  const again = new TextEncoder().encode(said);
  const same = again.length === body.length && again.every((byte, index) => byte === body[index]);
  return same ? { text: said } : { text: encode(body), encoding: "base64" };
}

/** An archive's entries, as the API would tell them, the newest first. Throws where it is none. */
export function read(source) {
  const archive = JSON.parse(source);
  if (!archive || !archive.log || !Array.isArray(archive.log.entries)) throw new Error("it has no log with entries");
  return archive.log.entries.map(entryOf).toReversed();
}

function entryOf(entry, index) {
  const { request, response } = entry;
  if (!request || !response || typeof request.method !== "string") throw new Error(`entry ${index + 1} has no request and response`);
  const url = new URL(request.url);
  const path = url.pathname + url.search;
  const [asks, answers] = [request.httpVersion || "HTTP/1.1", response.httpVersion || "HTTP/1.1"];
  const status = `${response.status} ${response.statusText || ""}`.trim();
  const answered = { status, status_code: response.status, proto: answers, headers: {}, raw: raw(`${answers} ${status}`, response.headers, bytes(response.content)) };
  return {
    id: `har_${String(index).padStart(6, "0")}`,
    tunnel_name: String(entry.comment || url.host),
    remote_addr: String(entry._remoteAddress || "a file"),
    start: String(entry.startedDateTime),
    duration: Math.max(0, Math.round((+entry.time || 0) * 1e6)),
    first_byte: entry.timings && entry.timings.receive > 0 ? Math.round((entry.time - entry.timings.receive) * 1e6) : undefined,
    request: { method: request.method, proto: asks, uri: path, headers: {}, raw: raw(`${request.method} ${path} ${asks}`, request.headers, bytes(request.postData)) },
    response: response.status ? answered : null,
    // Bodies in archives have no content coding any more.
    decoded: true,
  };
}

function raw(first, headers, body) {
  const lines = (headers || []).filter(({ name }) => !name.startsWith(":")).map(({ name, value }) => `${name}: ${value}`);
  const head = new TextEncoder().encode(`${[first, ...lines].join("\r\n")}\r\n\r\n`);
  const whole = new Uint8Array(head.length + body.length);
  (whole.set(head), whole.set(body, head.length));
  return encode(whole);
}

function bytes(part) {
  if (!part || !part.text) return new Uint8Array();
  return part.encoding === "base64" ? decode(part.text) : new TextEncoder().encode(part.text);
}

/** An entry as a line of the list. */
export function summary(entry) {
  const { answered } = opened(entry);
  return {
    ...{ id: entry.id, endpoint: entry.tunnel_name, method: entry.request.method, path: entry.request.uri, start: entry.start },
    ...{ duration: entry.duration, status_code: entry.response ? entry.response.status_code : 0, response_size: answered ? answered.body.length : 0 },
  };
}
