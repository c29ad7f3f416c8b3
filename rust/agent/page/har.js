// HTTP Archive 1.2: captured requests as a file, and such a file as requests to look at.
import { decode, encode, field, plain, text } from "./bytes.js";
import { opened, originOf } from "./detail.js";
import { form } from "./formats.js";
import { framesOf } from "./frames.js";
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
    const post = asked.body.length ? { postData: { mimeType: field(asked.headers, "content-type"), ...content(asked.body) } } : {};
    const body = answered ? await shown(answered, entry) : new Uint8Array();
    written.push({
      startedDateTime: entry.start,
      time: ms,
      request: {
        ...{ method: asked.method, url: (entry.origin ?? originOf(asked.headers)) + asked.path, httpVersion: entry.request.proto, cookies: [] },
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
      ...(response && response.status_code === 101 ? { _resourceType: "websocket", _webSocketMessages: await messages(entry) } : {}),
      ...(entry.replay_of ? { _replayOf: entry.replay_of } : {}),
    });
  }
  return { log: { version: "1.2", creator: { name: "portway", version }, entries: written } };
}

const OPCODES = { text: 1, binary: 2 };

/** What was said on a WebSocket, as browsers put it into archives. */
async function messages({ start, request, response }) {
  const both = await Promise.all([framesOf(request.stream, "up"), framesOf(response.stream, "down")]);
  const began = new Date(start).getTime();
  return both.flatMap(joined).sort((one, other) => one.at - other.at).map(({ way, at, opcode, bytes }) => ({
    ...{ type: way === "up" ? "send" : "receive", time: (began + at / 1e6) / 1000, opcode },
    data: opcode === 1 ? text(bytes) : encode(bytes),
  }));
}

/** Frames of one direction as whole messages. */
function joined(frames) {
  const found = [];
  let parts = [];
  for (const frame of frames) {
    if (!OPCODES[frame.kind] && frame.kind !== "continuation") continue;
    parts.push(frame);
    if (!frame.final) continue;
    const pieces = parts.map((part) => part.plain || part.payload);
    const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
    pieces.reduce((at, piece) => (bytes.set(piece, at), at + piece.length), 0);
    found.push({ way: frame.way, at: frame.at, opcode: OPCODES[parts[0].kind] || 2, bytes });
    parts = [];
  }
  return found;
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
  const known = (entry, index) => {
    try {
      return entryOf(entry, index);
    } catch (error) {
      throw new Error(`entry ${index + 1}: ${error.message}`);
    }
  };
  return archive.log.entries.map(known).toReversed();
}

function entryOf(entry, index) {
  const { request, response } = entry;
  if (!request || !response || ![request.method, request.url].every((one) => typeof one === "string")) throw new Error("it has no request and response");
  const { origin, host, path } = address(request.url);
  const [asks, answers] = [request.httpVersion || "HTTP/1.1", response.httpVersion || "HTTP/1.1"];
  const status = `${response.status} ${response.statusText || ""}`.trim();
  const answered = { status, status_code: response.status, proto: answers, headers: {}, raw: raw(`${answers} ${status}`, response.headers, bytes(response.content)) };
  return {
    id: `har_${String(index).padStart(6, "0")}`,
    origin,
    tunnel_name: String(entry.comment || host),
    remote_addr: String(entry._remoteAddress || "a file"),
    start: String(entry.startedDateTime),
    duration: Math.max(0, Math.round((+entry.time || 0) * 1e6)),
    first_byte: entry.timings && entry.timings.receive > 0 ? Math.round((entry.time - entry.timings.receive) * 1e6) : undefined,
    note: response._error ? String(response._error) : undefined,
    request: {
      ...{ method: request.method, proto: asks, uri: path, headers: {} },
      ...{ raw: raw(`${request.method} ${path} ${asks}`, request.headers, posted(request.postData)), stream: frames(entry, "send") },
    },
    response: response.status ? { ...answered, stream: frames(entry, "receive") } : null,
    // Bodies in archives have no content coding any more.
    decoded: true,
  };
}

/** A URL taken apart; what is none stands there as it is. */
function address(url) {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (!parsed || !parsed.host) return { origin: "", host: "", path: url };
  const scheme = { "ws:": "http:", "wss:": "https:" }[parsed.protocol] || parsed.protocol;
  return { origin: `${scheme}//${parsed.host}`, host: parsed.host, path: parsed.pathname + parsed.search };
}

/** What was sent; some programs tell only the fields of a form. */
function posted(part) {
  if (!part || part.text || !(part.params || []).length || !/urlencoded/.test(part.mimeType)) return bytes(part);
  return new TextEncoder().encode(new URLSearchParams(part.params.map(({ name, value }) => [name, value || ""])).toString());
}

/** Messages of a WebSocket in one direction, as they would have been on the wire. */
function frames(entry, type) {
  const said = Array.isArray(entry._webSocketMessages) ? entry._webSocketMessages : [];
  const began = new Date(entry.startedDateTime).getTime() / 1000;
  return said.filter((one) => one.type === type).map(({ time, opcode, data }) => {
    const payload = opcode === 1 ? new TextEncoder().encode(data) : decode(data);
    const length = payload.length;
    const size = length < 126 ? [length] : [127, ...new Uint8Array(new BigUint64Array([BigInt(length)]).buffer).reverse()];
    return { at: Math.max(0, (time - began) * 1e9), raw: encode(Uint8Array.from([0x80 | opcode, ...size, ...payload])) };
  });
}

function raw(first, headers, body) {
  const lines = (headers || []).filter(({ name }) => !String(name).startsWith(":")).map(({ name, value }) => `${name}: ${value}`);
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
