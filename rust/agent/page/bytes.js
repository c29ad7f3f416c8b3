// Bytes of messages: base64, heads, and what text they are.

/** Base64 as the API sends it, as bytes. */
export function decode(base64) {
  const text = atob(base64 || "");
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

export function encode(bytes) {
  return btoa(latin1(bytes));
}

/** A message as it was on the wire: `first` line, `headers` in their order, each with name, value, and the value's bytes as characters, `body`. */
export function split(bytes) {
  let end = -1;
  for (let at = 0; at + 3 < bytes.length; at++) {
    if (bytes[at] === 13 && bytes[at + 1] === 10 && bytes[at + 2] === 13 && bytes[at + 3] === 10) {
      end = at;
      break;
    }
  }
  const head = latin1(end < 0 ? bytes : bytes.subarray(0, end));
  const [first = "", ...lines] = head.split("\r\n");
  const headers = lines.filter(Boolean).map((line) => {
    const colon = line.indexOf(":");
    const raw = colon < 0 ? "" : line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, "");
    return [colon < 0 ? line : line.slice(0, colon), readable(raw), raw];
  });
  return { first: readable(first), headers, body: end < 0 ? new Uint8Array() : bytes.subarray(end + 4) };
}

/** Bytes as characters, one each: the decoder's latin1 is windows-1252. */
export function latin1(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return text;
}

/** What bytes as characters say to people: UTF-8 where they are that. */
export function readable(raw) {
  if (!/[\x80-\xff]/.test(raw)) return raw;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(raw, (one) => one.charCodeAt(0)));
  } catch {
    return raw;
  }
}

/** The other way: a text's bytes as characters. */
export function wire(said) {
  return latin1(new TextEncoder().encode(said));
}

/** The first value of a header, or "". */
export function field(headers, name) {
  const found = headers.find(([key]) => key.toLowerCase() === name);
  return found ? found[1] : "";
}

/** A content type taken apart: `type` in lower case, `params` by name (RFC 9110 §8.3). */
export function mediaType(text) {
  const [type = "", ...rest] = text.split(";");
  const params = {};
  for (const part of rest) {
    const equals = part.indexOf("=");
    if (equals > 0) {
      const value = part.slice(equals + 1).trim();
      params[part.slice(0, equals).trim().toLowerCase()] = value.replace(/^"(.*)"$/, "$1");
    }
  }
  return { type: type.trim().toLowerCase(), params };
}

/** Bytes as text, by the charset that they came with. */
export function text(bytes, charset = "utf-8") {
  try {
    return new TextDecoder(charset).decode(bytes);
  } catch {
    return new TextDecoder().decode(bytes);
  }
}

/** Whether bytes look like text at all: few control characters in what comes first. */
export function isText(bytes) {
  const sample = bytes.subarray(0, 2048);
  let odd = 0;
  for (const byte of sample) if (byte < 9 || (byte > 13 && byte < 32) || byte === 127) odd++;
  return odd * 50 <= sample.length;
}

/** Bytes that a compressed body may unpack to; the rest is left out. */
const MOST = 10 << 20;

const FORMATS = { gzip: ["gzip"], "x-gzip": ["gzip"], deflate: ["deflate", "deflate-raw"] };

/**
 * A body without its content coding: `bytes`, `cut` where it is only the beginning, `left`: a coding that this browser
 * cannot take off, or that is broken. `at`: where the agent has the body; what scripts cannot unpack (br, zstd), browsers can.
 */
export async function plain(body, coding, at) {
  const names = coding.toLowerCase().split(",").map((name) => name.trim()).filter((name) => name && name !== "identity");
  let found = { bytes: body, cut: false, left: "" };
  for (const name of names.toReversed()) {
    const done = await unpacked(found.bytes, FORMATS[name] || []);
    if (!done) return (at && (await fetched(body, at))) || { ...found, left: name };
    found = { ...done, left: "", cut: found.cut || done.cut };
  }
  return found;
}

async function unpacked(bytes, formats) {
  for (const format of formats) {
    const done = await taken(new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format)));
    if (done) return done;
  }
  return null;
}

async function fetched(body, at) {
  const response = await fetch(at).catch(() => null);
  const done = response && response.ok && (await taken(response.body));
  // A browser that does not know the coding hands it on as it is.
  const same = done && done.bytes.length === body.length && done.bytes.every((byte, index) => byte === body[index]);
  return done && !same ? { ...done, left: "" } : null;
}

/** What comes out of a stream; null if nothing does. */
async function taken(stream) {
  const parts = [];
  let total = 0;
  let cut = false;
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      total += value.length;
      if (total > MOST) {
        cut = true;
        reader.cancel().catch(() => {});
        break;
      }
    }
  } catch {
    // Of a body that was cut when it was kept, what there is can be shown.
    if (!parts.length) return null;
    cut = true;
  }
  return { bytes: new Uint8Array(await new Blob(parts).arrayBuffer()).subarray(0, MOST), cut };
}

/** Lines of an offset, sixteen bytes in hexadecimal, and what of them can be shown. */
export function hex(bytes, limit = 64 * 1024) {
  const lines = [];
  for (let at = 0; at < Math.min(bytes.length, limit); at += 16) {
    const row = [...bytes.subarray(at, at + 16)];
    const codes = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ").padEnd(47);
    const shown = row.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(8, "0")}  ${codes}  ${shown}`);
  }
  return lines.join("\n");
}
