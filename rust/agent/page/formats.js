// What bodies consist of. Everything here is pure: bytes or text in, plain values out.
import { isText, latin1, mediaType, split, text } from "./bytes.js";

/** Where in `source` an offset is, as line and column from 1. */
export function place(source, offset) {
  const before = source.slice(0, offset).split("\n");
  return { line: before.length, column: before[before.length - 1].length + 1 };
}

/** JSON: `value`, or `error` with what is wrong and where. */
export function json(source) {
  try {
    return { value: JSON.parse(source, exact) };
  } catch (error) {
    const { offset, wanted } = jsonFault(source);
    return { error: { ...place(source, offset), offset, length: 1, text: wanted || error.message } };
  }
}

// Numbers that JavaScript would round stay as they were written, where the browser lets them.
function exact(_, value, context) {
  const rounded = typeof value === "number" && context && context.source !== undefined && JSON.rawJSON && String(value) !== context.source;
  return rounded ? JSON.rawJSON(context.source) : value;
}

/** Whether a value is a number as it was written. */
export function isExact(value) {
  return Boolean(JSON.isRawJSON && JSON.isRawJSON(value));
}

// Browsers tell the place of a fault each in their own words, so it is looked for here (RFC 8259).
function jsonFault(source) {
  let at = 0;
  const blank = () => {
    while (" \t\n\r".includes(source[at]) && at < source.length) at++;
  };
  class Fault extends Error {}
  const expect = (what) => {
    throw new Fault(at < source.length ? `${what} wanted here` : `it ends where ${what} is wanted`);
  };
  const string = () => {
    if (source[at] !== '"') expect("a string");
    at++;
    while (source[at] !== '"') {
      if (at >= source.length || source[at] < " ") expect('the closing "');
      if (source[at] === "\\") {
        at++;
        if (source[at] === "u" && /^[0-9a-fA-F]{4}$/.test(source.slice(at + 1, at + 5))) at += 4;
        else if (!'"\\/bfnrt'.includes(source[at] || "x")) expect("an escape");
      }
      at++;
    }
    at++;
  };
  const value = () => {
    blank();
    const literal = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)/.exec(source.slice(at, at + 400));
    if (source[at] === '"') string();
    else if (source[at] === "{") members("}", () => {
      blank();
      string();
      blank();
      if (source[at] !== ":") expect('":"');
      at++;
      value();
    });
    else if (source[at] === "[") members("]", value);
    else if (literal) at += literal[0].length;
    else expect("a value");
    blank();
  };
  const members = (end, one) => {
    at++;
    blank();
    if (source[at] === end) return void at++;
    for (;;) {
      one();
      blank();
      if (source[at] === end) return void at++;
      if (source[at] !== ",") expect(`"," or "${end}"`);
      at++;
    }
  };
  try {
    value();
    if (at < source.length) expect("nothing more");
  } catch (fault) {
    if (fault instanceof Fault) return { offset: at, wanted: fault.message };
    if (!(fault instanceof RangeError)) throw fault;
  }
  return { offset: at, wanted: "" };
}

/** XML: the `root` of its tree, or `error` with what is wrong and where. */
export function xml(source) {
  const parsed = new DOMParser().parseFromString(source, "application/xml");
  const [fault] = parsed.getElementsByTagNameNS("http://www.w3.org/1999/xhtml", "parsererror");
  // Firefox has a namespace of its own for it.
  const other = parsed.getElementsByTagNameNS("http://www.mozilla.org/newlayout/xml/parsererror.xml", "parsererror")[0];
  if (!fault && !other) return { root: parsed.documentElement };
  // Some put what they say of the page around it.
  const said = ((fault && fault.querySelector("div")) || fault || other).textContent;
  const at = /line (\d+) at column (\d+): ?([^\n]*)/i.exec(said) || /()()([^\n]*)/.exec(said);
  const [line, column] = [+at[1] || 1, +at[2] || 1];
  const start = source.split("\n", line - 1).reduce((sum, one) => sum + one.length + 1, 0);
  // The place is where it was noticed: the tag that ends there is the one that does not fit.
  const end = Math.min(source.length, start + column);
  const tag = source.lastIndexOf("<", end - 1);
  const offset = source[end - 1] === ">" && tag >= start ? tag : Math.max(start, end - 1);
  return { error: { line, column, offset, length: Math.max(1, end - offset), text: at[3].trim() || "not well-formed" } };
}

/** A form as pairs (application/x-www-form-urlencoded), or the query of a path. */
export function form(source) {
  return [...new URLSearchParams(source)];
}

/** Parts of a multipart body: each with its `headers`, `name`, `file`, `type` and `body` (RFC 2046 §5.1). */
export function multipart(bytes, boundary) {
  const source = latin1(bytes);
  const parts = [];
  let at = source.indexOf(`--${boundary}`);
  while (at >= 0) {
    const start = source.indexOf("\r\n", at) + 2;
    if (start < 2 || source.startsWith("--", at + boundary.length + 2)) break;
    const next = source.indexOf(`\r\n--${boundary}`, start - 2);
    const part = split(bytes.subarray(start, next < 0 ? bytes.length : next), true);
    // The first line of a part is a header already.
    const [name, value] = [part.first.slice(0, part.first.indexOf(":")), part.first.slice(part.first.indexOf(":") + 1).trim()];
    const headers = name ? [[name, value], ...part.headers] : part.headers;
    const of = (key) => (headers.find(([one]) => one.toLowerCase() === key) || ["", ""])[1];
    const { params } = mediaType(of("content-disposition"));
    parts.push({ headers, name: params.name || "", file: params.filename || "", type: of("content-type"), body: part.body });
    at = next < 0 ? -1 : next + 2;
  }
  return parts;
}

/** Events of a text/event-stream body. */
export function events(source) {
  return source
    .replace(/\r\n?/g, "\n")
    .split("\n\n")
    .map((block) => {
      const event = { event: "message", data: [], id: "" };
      let said = false;
      for (const line of block.split("\n")) {
        const [, key, value] = /^([^:]*):? ?(.*)$/.exec(line);
        if (key === "data") (said = true), event.data.push(value);
        else if (key === "event" || key === "id") (said = true), (event[key] = value);
      }
      return said ? { ...event, data: event.data.join("\n") } : null;
    })
    .filter(Boolean);
}

/** The same out of pieces, each with the time `at` which it came, as events with theirs. */
export function timedEvents(pieces, charset) {
  const decoder = new TextDecoder(charset || "utf-8");
  const found = [];
  let rest = "";
  for (const { at, bytes } of pieces) {
    rest += decoder.decode(bytes, { stream: true });
    // A line end may be cut in two.
    const whole = rest.endsWith("\r") ? rest.slice(0, -1) : rest;
    const blank = /[^]*(?:\n\n|\r\r|\r\n\r\n)/.exec(whole);
    if (!blank) continue;
    for (const event of events(blank[0])) found.push({ ...event, at });
    rest = rest.slice(blank[0].length);
  }
  return found;
}

/** Messages of a gRPC body: `compressed`, `trailers` (gRPC-Web), `bytes`; a last one may be `cut`. */
export function grpc(bytes) {
  const messages = [];
  let at = 0;
  while (at + 5 <= bytes.length) {
    const length = new DataView(bytes.buffer, bytes.byteOffset + at + 1, 4).getUint32(0);
    const body = bytes.subarray(at + 5, at + 5 + length);
    messages.push({ compressed: !!(bytes[at] & 1), trailers: !!(bytes[at] & 128), bytes: body, cut: body.length < length });
    at += 5 + length;
  }
  return messages;
}

/** Fields of a protobuf message of which no schema is known; null where it is none. */
export function protobuf(bytes, depth = 0) {
  const fields = [];
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      if (at >= bytes.length) return null;
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
    return null;
  };
  while (at < bytes.length) {
    const key = varint();
    if (key === null || key >> 3n === 0n) return null;
    const [number, wire] = [Number(key >> 3n), Number(key & 7n)];
    if (wire === 0) {
      const value = varint();
      if (value === null) return null;
      fields.push({ number, kind: "varint", value: String(value) });
    } else if (wire === 1 || wire === 5) {
      const size = wire === 1 ? 8 : 4;
      if (at + size > bytes.length) return null;
      const view = new DataView(bytes.buffer, bytes.byteOffset + at, size);
      const value = size === 8 ? `${view.getFloat64(0, true)} (${view.getBigUint64(0, true)})` : `${view.getFloat32(0, true)} (${view.getUint32(0, true)})`;
      fields.push({ number, kind: size === 8 ? "64 bit" : "32 bit", value });
      at += size;
    } else if (wire === 2) {
      const length = varint();
      if (length === null || at + Number(length) > bytes.length) return null;
      const inside = bytes.subarray(at, at + Number(length));
      at += Number(length);
      const nested = inside.length && depth < 16 ? protobuf(inside, depth + 1) : null;
      const readable = isUtf8(inside);
      if (readable !== null && !(nested && /[\x00-\x08\x0e-\x1f]/.test(readable))) fields.push({ number, kind: "string", value: readable });
      else if (nested) fields.push({ number, kind: "message", fields: nested });
      else fields.push({ number, kind: "bytes", value: [...inside.subarray(0, 64)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ") });
    } else return null;
  }
  return fields;
}

function isUtf8(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

const OPCODES = { 0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong" };

/** Frames of one direction of a WebSocket (RFC 6455 §5.2); a last one may be `cut`. */
export function frames(bytes) {
  const found = [];
  let at = 0;
  while (at + 2 <= bytes.length) {
    const start = at;
    const [first, second] = [bytes[at], bytes[at + 1]];
    let length = second & 127;
    at += 2;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const more = { 126: 2, 127: 8 }[length] || 0;
    const masked = !!(second & 128);
    if (at + more + (masked ? 4 : 0) > bytes.length) break;
    if (more === 2) length = view.getUint16(at);
    if (more === 8) length = Number(view.getBigUint64(at));
    at += more;
    const mask = masked ? bytes.subarray(at, (at += 4)) : null;
    const payload = bytes.slice(at, at + length);
    if (mask) for (let index = 0; index < payload.length; index++) payload[index] ^= mask[index % 4];
    at += length;
    const opcode = first & 15;
    const kind = OPCODES[opcode] || `opcode ${opcode}`;
    found.push({ start, end: at, kind, final: !!(first & 128), compressed: !!(first & 64), length, payload, cut: payload.length < length });
  }
  return found;
}

/**
 * Takes the compression off frames of one direction (RFC 7692), as far as it goes: `plain` is what a message says, at
 * its last frame. One stream for all of them, for later messages refer to earlier ones.
 */
export async function inflated(all) {
  if (!all.some((frame) => frame.compressed)) return all;
  const stream = new DecompressionStream("deflate-raw");
  const [writer, reader] = [stream.writable.getWriter(), stream.readable.getReader()];
  let came = [];
  const pump = async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      came.push(value);
    }
  };
  pump().catch(() => {});
  writer.closed.catch(() => {});
  const found = [];
  let inside = false;
  try {
    for (const frame of all) {
      const isControl = !["text", "binary", "continuation"].includes(frame.kind);
      if (!isControl && frame.kind !== "continuation") inside = frame.compressed;
      if (isControl || !inside || frame.cut) {
        found.push(frame);
        continue;
      }
      await writer.write(frame.payload);
      if (frame.final) await writer.write(new Uint8Array([0, 0, 255, 255]));
      // What a write brings forth is there before anything else happens.
      await new Promise((next) => queueMicrotask(() => queueMicrotask(() => queueMicrotask(next))));
      await null;
      found.push({ ...frame, compressed: true, plain: new Uint8Array(await new Blob(came).arrayBuffer()) });
      came = [];
    }
  } catch {
    // The rest stays as it is.
    return [...found, ...all.slice(found.length)];
  } finally {
    writer.abort().catch(() => {});
  }
  return found;
}

/** What a frame says, for people. */
export function said(frame) {
  const payload = frame.plain || frame.payload;
  if (frame.compressed && !frame.plain) return `compressed, ${frame.length} bytes`;
  if (frame.kind === "close") {
    const code = payload.length > 1 ? (payload[0] << 8) | payload[1] : "";
    return `${code} ${text(payload.subarray(2))}`.trim();
  }
  if (frame.kind === "binary" || !isText(payload)) return [...payload.subarray(0, 48)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return text(payload);
}
