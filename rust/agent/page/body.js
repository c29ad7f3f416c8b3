// A body as what it is: a tree, a table, a picture, frames, or bytes. What was captured is hostile: it is only ever text.
import { html, useEffect, useMemo, useState } from "./html.js";
import { decode, field, hex, isText, mediaType, plain, text } from "./bytes.js";
import { holds, marked } from "./find.js";
import * as formats from "./formats.js";
import { duration, size } from "./show.js";
import { Tabs } from "./tabs.js";

/** Characters shown of a text before somebody asks for more. */
const SOME = 100_000;

/** Bytes shown in hexadecimal before somebody asks for more. */
const SOME_HEX = 65_536;

const LINES_OF_JSON = /^application\/(x-)?(ndjson|jsonl|jsonlines)$/;

/** Which views a body has, the best one first. */
export function viewsOf(type, bytes) {
  if (/^image\/(png|jpeg|gif|webp|avif|bmp|svg\+xml|x-icon|vnd\.microsoft\.icon)$/.test(type)) return ["image", "raw", "hex"];
  if (/[/+]json$/.test(type) || LINES_OF_JSON.test(type)) return ["tree", "raw", "hex"];
  if (/[/+]xml$/.test(type)) return ["tree", "raw", "hex"];
  // What tools call it that were not told.
  const isJson = ["", "text/plain", "application/x-www-form-urlencoded"].includes(type) && looksLikeJson(bytes);
  if (isJson) return ["tree", ...(type.startsWith("application") ? ["form"] : []), "raw", "hex"];
  if (type === "application/x-www-form-urlencoded") return ["form", "raw", "hex"];
  if (type.startsWith("multipart/")) return ["parts", "raw", "hex"];
  if (type === "text/event-stream") return ["events", "raw", "hex"];
  if (/^application\/grpc/.test(type)) return ["messages", "hex"];
  return isText(bytes) ? ["raw", "hex"] : ["hex", "raw"];
}

function looksLikeJson(bytes) {
  if (!/^\s*[[{]/.test(text(bytes.subarray(0, 100)))) return false;
  try {
    return Boolean(JSON.parse(text(bytes)));
  } catch {
    return false;
  }
}

const TITLES = { image: "Image", tree: "Tree", form: "Form", parts: "Parts", events: "Events", messages: "Messages", raw: "Raw", hex: "Hex" };

/** `id`: its own on the page. `at`: where the agent has these bytes, for codings that only browsers take off. */
export function Body({ id, message, truncated, find, at }) {
  const { type, params } = mediaType(field(message.headers, "content-type"));
  const coding = message.decoded ? "" : field(message.headers, "content-encoding");
  const [body, setBody] = useState({ bytes: message.body, left: "", cut: false });
  useEffect(() => {
    let wanted = true;
    if (coding && message.body.length) plain(message.body, coding, at).then((done) => wanted && setBody(done));
    else setBody({ bytes: message.body, left: "", cut: false });
    return () => (wanted = false);
  }, [message.body, coding]);
  // Bytes that cannot be unpacked are of no type that could be shown.
  const views = useMemo(() => viewsOf(body.left ? "" : type, body.bytes), [body, type]);
  const [chosen, setChosen] = useState("");
  const view = views.includes(chosen) ? chosen : views[0];
  if (!message.body.length) return html`<p class="soft">No body.</p>`;
  const notes = [
    truncated && "Only the beginning was kept: the body was longer than the limit.",
    body.left && `Its ${body.left} coding could not be taken off.`,
    body.cut && !truncated && "Only the beginning of what it unpacks to is shown.",
  ].filter(Boolean);
  const View = VIEWS[view];
  const titles = Object.fromEntries(views.map((name) => [name, TITLES[name]]));
  const unpacked = coding && !body.left ? `, ${size(body.bytes.length)} without ${coding}` : "";
  const panel = html`${notes.map((note) => html`<p class="fault" key=${note}>${note}</p>`)}
    <${View} id=${id} bytes=${body.bytes} type=${type} params=${params} find=${find} headers=${message.headers} stream=${coding ? null : message.stream} />`;
  return html`<div class="body">
    <${Tabs} id=${id} label="How the body is shown" titles=${titles} chosen=${view} choose=${setChosen} panel=${panel}>
      <span class="soft grow">${type || "no content type"}, ${size(message.body.length)}${unpacked}</span>
      <${Save} bytes=${body.bytes} type=${type} />
    <//>
  </div>`;
}

/** As a file; never opened here. */
function Save({ bytes, type }) {
  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
    link.download = `body.${(type.split(/[/+]/).pop() || "bin").replace(/[^a-z0-9]/g, "")}`;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  return html`<button type="button" onClick=${save}>Save</button>`;
}

export function Text({ source, find, fault }) {
  const [all, setAll] = useState(false);
  // A fault, and what is looked for, are to be seen wherever they stand.
  const far = fault ? fault.offset >= SOME : find && source.toLowerCase().indexOf(find.toLowerCase(), SOME) >= 0;
  const shown = all || far ? source : source.slice(0, SOME);
  return html`<pre class="text" tabindex="0">${fault ? faulty(shown, fault) : marked(shown, find)}</pre>
    ${shown.length < source.length && html`<button type="button" onClick=${() => setAll(true)}>Show the other ${size(source.length - SOME)}</button>`}`;
}

/** The place of a fault stands out, and is in sight. */
function faulty(source, { offset, length, text: said }) {
  const scroll = (element) => element && element.parentNode.scrollTo({ top: Math.max(0, element.offsetTop - 60) });
  const wrong = source.slice(offset, offset + length);
  // At the end of a line or of all there is nothing to be seen.
  return [source.slice(0, offset), html`<mark class="wrong" title=${said} ref=${scroll}>${wrong.trim() ? wrong : " "}</mark>`, source.slice(offset + (wrong.trim() ? length : 0))];
}

function Hex({ bytes }) {
  const [all, setAll] = useState(false);
  const left = all ? 0 : bytes.length - SOME_HEX;
  return html`<pre class="text hex" tabindex="0">${hex(bytes, all ? bytes.length : SOME_HEX)}</pre>
    ${left > 0 && html`<button type="button" onClick=${() => setAll(true)}>Show the other ${size(left)}</button>`}`;
}

function Wrong({ error, what }) {
  return html`<p class="fault" role="alert">Not well-formed ${what}: line ${error.line}, column ${error.column}: ${error.text}</p>`;
}

function Tree({ bytes, type, params, find }) {
  const source = useMemo(() => text(bytes, params.charset), [bytes]);
  if (LINES_OF_JSON.test(type)) {
    const lines = source.split("\n").filter((line) => line.trim());
    return html`<${Some} of=${lines} one=${(line, index) => html`<${Json} key=${index} source=${line} find=${find} />`} has=${(line) => holds(line, find)} />`;
  }
  return /xml$/.test(type) ? html`<${Xml} source=${source} find=${find} />` : html`<${Json} source=${source} find=${find} />`;
}

function Json({ source, find }) {
  const parsed = useMemo(() => formats.json(source), [source]);
  if (parsed.error) return html`<${Wrong} error=${parsed.error} what="JSON" /><${Text} source=${source} fault=${parsed.error} />`;
  return html`<div class="tree"><${Node} value=${parsed.value} depth=${0} find=${find} /></div>`;
}

function Node({ name, value, depth, find }) {
  const label = name === undefined ? "" : html`<span class="key">${marked(String(name), find)}</span>: `;
  if (value === null || typeof value !== "object" || formats.isExact(value)) {
    const kind = value === null ? "null" : formats.isExact(value) ? "number" : typeof value;
    return html`<div>${label}<span class=${`value ${kind}`}>${marked(JSON.stringify(value), find)}</span></div>`;
  }
  const [entries, ends] = Array.isArray(value) ? [value.map((one, index) => [index, one]), "[]"] : [Object.entries(value), "{}"];
  if (!entries.length) return html`<div>${label}${ends}</div>`;
  const has = ([key, one]) => holds(String(key), find) || holds(JSON.stringify(one), find);
  return html`<${Fold} open=${depth < 3} find=${find} has=${() => entries.some(has)} head=${html`${label}${ends[0]} <span class="soft">${entries.length}</span> ${ends[1]}`}
    inside=${() => html`<${Some} of=${entries} has=${find ? has : null} one=${([key, one]) => html`<${Node} key=${key} name=${key} value=${one} depth=${depth + 1} find=${find} />`} />`} />`;
}

/** Made when it is opened, so that a tree costs what is seen of it. Opens where something that is looked for is inside. */
function Fold({ open, head, inside, find, has }) {
  const [is, set] = useState(open);
  useEffect(() => void (find && !is && has() && set(true)), [find]);
  return html`<details open=${is} onToggle=${(event) => set(event.target.open)}><summary>${head}</summary>${is && inside()}</details>`;
}

/** The first of many; with those among them that are looked for. */
function Some({ of, one, has }) {
  const [count, setCount] = useState(200);
  const found = has ? of.findLastIndex(has) : -1;
  const shown = Math.max(count, Math.min(found + 1, 5000));
  return html`${of.slice(0, shown).map(one)}
    ${of.length > shown && html`<button type="button" onClick=${() => setCount(shown + 1000)}>${of.length - shown} more</button>`}`;
}

function Xml({ source, find }) {
  const parsed = useMemo(() => formats.xml(source), [source]);
  if (parsed.error) return html`<${Wrong} error=${parsed.error} what="XML" /><${Text} source=${source} fault=${parsed.error} />`;
  return html`<div class="tree"><${Element} node=${parsed.root} depth=${0} find=${find} /></div>`;
}

function Element({ node, depth, find }) {
  if (node.nodeType !== 1) {
    const said = node.nodeValue.trim();
    return said ? html`<div class=${node.nodeType === 8 ? "soft" : "value string"}>${marked(said, find)}</div>` : null;
  }
  const attributes = [...node.attributes].map((one) => html` <span class="soft">${marked(one.name, find)}=</span><span class="value string">"${marked(one.value, find)}"</span>`);
  const children = [...node.childNodes].filter((child) => child.nodeType === 1 || (child.nodeValue || "").trim());
  const name = html`<span class="key">${marked(node.nodeName, find)}</span>${attributes}`;
  if (!children.length) return html`<div>${name}</div>`;
  // A single text stands beside its name.
  if (children.length === 1 && children[0].nodeType === 3) return html`<div>${name} <span class="value string">${marked(children[0].nodeValue.trim(), find)}</span></div>`;
  const has = (child) => holds(new XMLSerializer().serializeToString(child), find);
  return html`<${Fold} open=${depth < 4} head=${name} find=${find} has=${() => children.some(has)}
    inside=${() => html`<${Some} of=${children} has=${find ? has : null} one=${(child, index) => html`<${Element} key=${index} node=${child} depth=${depth + 1} find=${find} />`} />`} />`;
}

export function Pairs({ pairs, find, empty = "None.", title }) {
  if (!pairs.length) return html`<p class="soft">${empty}</p>`;
  return html`<table class="pairs" aria-label=${title}><tbody>${pairs.map(([name, value], index) => html`<tr key=${index}><th scope="row">${marked(name, find)}</th><td>${marked(value, find)}</td></tr>`)}</tbody></table>`;
}

function Parts({ id, bytes, params, find }) {
  const parts = useMemo(() => formats.multipart(bytes, params.boundary || ""), [bytes]);
  if (!parts.length) return html`<p class="fault">No part: the boundary "${params.boundary || ""}" is not in it.</p>`;
  return html`${parts.map((part, index) => html`<section class="part" key=${index}>
    <h4>${part.name || `part ${index + 1}`}${part.file && html` <span class="soft">${part.file}</span>`}</h4>
    <${Body} id=${`${id}-${index}`} message=${{ headers: part.headers, body: part.body }} find=${find} />
  </section>`)}`;
}

function Image({ bytes, type }) {
  const [at, setAt] = useState("");
  const [said, setSaid] = useState("");
  useEffect(() => {
    const made = URL.createObjectURL(new Blob([bytes], { type }));
    (setAt(made), setSaid(""));
    return () => URL.revokeObjectURL(made);
  }, [bytes, type]);
  if (said === "broken") return html`<p class="fault">It is no whole image.</p>`;
  const measure = ({ target }) => setSaid(`${target.naturalWidth} × ${target.naturalHeight}`);
  return html`<figure class="image">${at && html`<img src=${at} alt="The body as an image" onLoad=${measure} onError=${() => setSaid("broken")} />`}<figcaption class="soft">${said}</figcaption></figure>`;
}

function Events({ bytes, params, find, stream }) {
  const found = useMemo(() => (stream ? formats.timedEvents(stream, params.charset) : formats.events(text(bytes, params.charset))), [bytes, stream]);
  if (!found.length) return html`<p class="soft">No whole event so far.</p>`;
  const first = Math.max(0, found.length - 2000);
  return html`<div class="wide" tabindex="0" role="region" aria-label="Events"><table class="frames"><thead><tr>${stream && html`<th scope="col">At</th>`}<th scope="col">Way</th><th scope="col">Id</th><th scope="col">Event</th><th scope="col">Size</th><th scope="col">Data</th></tr></thead><tbody>
    ${found.slice(first).map((event, index) => html`<tr class="down" key=${first + index}>${stream && html`<td>${duration(event.at)}</td>`}<td class="way" title="upstream to visitor">↓</td><td>${event.id}</td><td>${event.event}</td>
      <td>${size(new TextEncoder().encode(event.data).length)}</td><td>${marked(event.data, find)}</td></tr>`)}
  </tbody></table></div>`;
}

function Messages({ bytes, type, headers, find }) {
  const found = useMemo(() => formats.grpc(type.startsWith("application/grpc-web-text") ? unwrapped(bytes) : bytes), [bytes, type]);
  if (!found.length) return html`<p class="soft">No whole message.</p>`;
  const coding = field(headers, "grpc-encoding");
  return html`${found.map((message, index) => html`<section class="part" key=${index}>
    <h4>${message.trailers ? "Trailers" : `Message ${index + 1}`} <span class="soft">${size(message.bytes.length)}${message.cut ? ", cut" : ""}${message.compressed ? `, compressed (${coding || "?"})` : ""}</span></h4>
    ${message.trailers ? html`<pre class="text">${text(message.bytes)}</pre>` : html`<${Proto} message=${message} coding=${coding} find=${find} />`}
  </section>`)}`;
}

/** gRPC-Web as text is base64, one piece behind the other. */
function unwrapped(bytes) {
  try {
    const pieces = text(bytes).match(/[^=]+=*/g).map(decode);
    return Uint8Array.from(pieces.flatMap((piece) => [...piece]));
  } catch {
    return bytes;
  }
}

function Proto({ message, coding, find }) {
  const [bytes, setBytes] = useState(message.compressed ? null : message.bytes);
  useEffect(() => {
    if (!message.compressed) return setBytes(message.bytes);
    plain(message.bytes, coding || "?").then((done) => setBytes(done.left ? null : done.bytes));
  }, [message]);
  const fields = useMemo(() => bytes && formats.protobuf(bytes), [bytes]);
  if (bytes && !bytes.length) return html`<p class="soft">Empty: every field has its default.</p>`;
  return fields ? html`<div class="tree"><${Fields} fields=${fields} find=${find} /></div>` : html`<pre class="text hex" tabindex="0">${hex(bytes || message.bytes)}</pre>`;
}

function Fields({ fields, find }) {
  return fields.map((field, index) => field.fields
    ? html`<${Fold} key=${index} open=${true} head=${html`<span class="key">${field.number}</span> <span class="soft">message</span>`} inside=${() => html`<${Fields} fields=${field.fields} find=${find} />`} />`
    : html`<div key=${index}><span class="key">${field.number}</span> <span class="soft">${field.kind}</span> <span class="value string">${marked(field.value, find)}</span></div>`);
}

const VIEWS = {
  image: Image,
  tree: Tree,
  form: ({ bytes, params, find }) => html`<${Pairs} pairs=${formats.form(text(bytes, params.charset))} find=${find} title="Form" />`,
  parts: Parts,
  events: Events,
  messages: Messages,
  raw: ({ bytes, params, find }) => html`<${Text} source=${text(bytes, params.charset)} find=${find} />`,
  hex: Hex,
};
