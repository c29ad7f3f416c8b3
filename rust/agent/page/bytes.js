// Bytes of messages: base64, heads, and what text they are.

/** Base64 as the API sends it, as bytes. */
export function decode(base64) {
  const text = atob(base64 || "");
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

export function encode(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

/** A message as it was on the wire: `first` line, `headers` as pairs in their order, `body`. */
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
    return colon < 0 ? [line, ""] : [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  return { first, headers, body: end < 0 ? new Uint8Array() : bytes.subarray(end + 4) };
}

export function latin1(bytes) {
  return new TextDecoder("latin1").decode(bytes);
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

/** A body without its content coding. `left`: a coding that this browser cannot take off, or that is broken. */
export async function plain(body, coding) {
  const names = coding.toLowerCase().split(",").map((name) => name.trim()).filter((name) => name && name !== "identity");
  let bytes = body;
  for (const name of names.reverse()) {
    const format = { gzip: "gzip", "x-gzip": "gzip", deflate: "deflate", br: "brotli", zstd: "zstd" }[name];
    try {
      bytes = await inflate(bytes, format);
    } catch {
      return { bytes, left: name };
    }
  }
  return { bytes, left: "" };
}

async function inflate(bytes, format) {
  const parts = [];
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format)).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
    }
  } catch (error) {
    // Of a body that was cut when it was kept, what there is can be shown.
    if (!parts.length) throw error;
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
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
