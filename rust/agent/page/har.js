// HTTP Archive 1.2: captured requests as a file, and such a file as requests to look at.
import { decode, encode, field, isText, text } from "./bytes.js";
import { opened } from "./detail.js";
import { form } from "./formats.js";

const pairs = (list) => list.map(([name, value]) => ({ name, value }));

/** Entries of the API as an archive. */
export function write(entries, version) {
  return {
    log: {
      version: "1.2",
      creator: { name: "portway", version },
      entries: entries.map((entry) => {
        const { asked, answered, response } = opened(entry);
        const ms = entry.duration / 1e6;
        const query = asked.path.includes("?") ? form(asked.path.slice(asked.path.indexOf("?") + 1)) : [];
        const host = field(asked.headers, "host") || "localhost";
        const post = asked.body.length ? { postData: { mimeType: field(asked.headers, "content-type"), ...content(asked.body) } } : {};
        return {
          startedDateTime: entry.start,
          time: ms,
          request: {
            ...{ method: asked.method, url: `http://${host}${asked.path}`, httpVersion: entry.request.proto, cookies: [] },
            ...{ headers: pairs(asked.headers), queryString: pairs(query), headersSize: -1, bodySize: asked.body.length, ...post },
          },
          response: {
            ...{ status: response ? response.status_code : 0, statusText: response ? response.status.slice(4) : "" },
            ...{ httpVersion: response ? response.proto : "", cookies: [], headers: answered ? pairs(answered.headers) : [] },
            content: {
              ...{ size: answered ? answered.body.length : 0, mimeType: answered ? field(answered.headers, "content-type") : "" },
              ...(answered ? content(answered.body) : {}),
            },
            ...{ redirectURL: answered ? field(answered.headers, "location") : "", headersSize: -1, bodySize: answered ? answered.body.length : -1 },
          },
          cache: {},
          timings: { send: 0, wait: ms, receive: 0 },
          serverIPAddress: "",
          comment: entry.tunnel_name,
        };
      }),
    },
  };
}

const content = (body) => (isText(body) ? { text: text(body) } : { text: encode(body), encoding: "base64" });

/** An archive's entries, as the API would tell them. Throws where it is none. */
export function read(source) {
  const archive = JSON.parse(source);
  if (!archive.log || !Array.isArray(archive.log.entries)) throw new Error("it has no log with entries");
  return archive.log.entries.map((entry, index) => {
    const { request, response } = entry;
    const url = new URL(request.url);
    const path = url.pathname + url.search;
    const raw = (first, headers, body) => {
      const lines = (headers || []).filter(({ name }) => !name.startsWith(":")).map(({ name, value }) => `${name}: ${value}`);
      const head = new TextEncoder().encode(`${[first, ...lines].join("\r\n")}\r\n\r\n`);
      const whole = new Uint8Array(head.length + body.length);
      (whole.set(head), whole.set(body, head.length));
      return encode(whole);
    };
    const bytes = (part) => (!part || !part.text ? new Uint8Array() : part.encoding === "base64" ? decode(part.text) : new TextEncoder().encode(part.text));
    const status = `${response.status} ${response.statusText || ""}`.trim();
    const answered = response.status
      ? { status, status_code: response.status, proto: response.httpVersion, headers: {}, raw: raw(`${response.httpVersion || "HTTP/1.1"} ${status}`, response.headers, bytes(response.content)) }
      : null;
    return {
      id: `har_${index}`,
      tunnel_name: entry.comment || url.host,
      remote_addr: "a file",
      start: entry.startedDateTime,
      duration: Math.max(0, Math.round((entry.time || 0) * 1e6)),
      request: { method: request.method, proto: request.httpVersion, uri: path, headers: {}, raw: raw(`${request.method} ${path} ${request.httpVersion || "HTTP/1.1"}`, request.headers, bytes(request.postData)) },
      response: answered,
    };
  });
}

/** An entry as a line of the list. */
export function summary(entry) {
  const { answered } = opened(entry);
  return {
    ...{ id: entry.id, endpoint: entry.tunnel_name, method: entry.request.method, path: entry.request.uri, start: entry.start },
    ...{ duration: entry.duration, status_code: entry.response ? entry.response.status_code : 0, response_size: answered ? answered.body.length : 0 },
  };
}
