// A body as what it is: a tree, a table, a picture, frames, or bytes. What was captured is hostile: it is only ever text.
import { html, useEffect, useMemo, useState } from "./html.js";
import { field, hex, isText, mediaType, plain, text } from "./bytes.js";
import * as formats from "./formats.js";
import { size } from "./show.js";

/** Characters shown of a text before somebody asks for more. */
const SOME = 100_000;

/** Which views a body has, the best one first. */
export function viewsOf(type, bytes) {
  if (/^image\/(png|jpeg|gif|webp|avif|bmp|svg\+xml|x-icon|vnd\.microsoft\.icon)$/.test(type)) return ["image", "raw", "hex"];
  if (/[/+]json$/.test(type) || type === "application/x-ndjson") return ["tree", "raw", "hex"];
  if (/[/+]xml$/.test(type)) return ["tree", "raw", "hex"];
  if (type === "application/x-www-form-urlencoded") return ["form", "raw", "hex"];
  if (type.startsWith("multipart/")) return ["parts", "raw", "hex"];
  if (type === "text/event-stream") return ["events", "raw", "hex"];
  if (/^application\/grpc/.test(type)) return ["messages", "hex"];
  return isText(bytes) ? ["raw", "hex"] : ["hex", "raw"];
}

const TITLES = { image: "Image", tree: "Tree", form: "Form", parts: "Parts", events: "Events", messages: "Messages", raw: "Raw", hex: "Hex" };

export function Body({ message, truncated, find }) {
  const { type, params } = mediaType(field(message.headers, "content-type"));
  const coding = field(message.headers, "content-encoding");
  const [body, setBody] = useState({ bytes: message.body, left: "" });
  useEffect(() => {
    let wanted = true;
    setBody({ bytes: message.body, left: "" });
    if (coding && message.body.length) plain(message.body, coding).then((done) => wanted && setBody(done));
    return () => (wanted = false);
  }, [message.body, coding]);
  const views = viewsOf(type, body.bytes);
  const [chosen, setChosen] = useState("");
  const view = views.includes(chosen) ? chosen : views[0];
  if (!message.body.length) return html`<p class="soft">No body.</p>`;
  const notes = [
    truncated && "Only the beginning was kept: the body was longer than the limit.",
    body.left && `Its ${body.left} coding could not be taken off.`,
  ].filter(Boolean);
  const View = VIEWS[view];
  return html`<div class="body">
    <div class="row tabs" role="tablist" aria-label="How the body is shown">
      ${views.map((name) => html`<button key=${name} role="tab" aria-selected=${name === view} onClick=${() => setChosen(name)}>${TITLES[name]}</button>`)}
      <span class="soft grow">${type || "no content type"}, ${size(message.body.length)}${coding && !body.left ? `, ${size(body.bytes.length)} without ${coding}` : ""}</span>
      <${Save} bytes=${body.bytes} type=${type} />
    </div>
    ${notes.map((note) => html`<p class="fault">${note}</p>`)}
    <${View} bytes=${body.bytes} type=${type} params=${params} find=${find} />
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
  return html`<button onClick=${save}>Save</button>`;
}

export function Text({ source, find, fault }) {
  const [all, setAll] = useState(false);
  const shown = all ? source : source.slice(0, SOME);
  return html`<pre class="text" tabindex="0">${marked(shown, find, fault)}</pre>
    ${shown.length < source.length && html`<button onClick=${() => setAll(true)}>Show the other ${size(source.length - SOME)}</button>`}`;
}

/** What was searched for, and the line of a fault, stand out. */
function marked(source, find, fault) {
  if (fault) {
    return source.split("\n").map((line, index) => (index + 1 === fault.line ? html`<mark class="wrong" title=${fault.text}>${line || " "}</mark>${"\n"}` : `${line}\n`));
  }
  if (!find) return source;
  const parts = [];
  const [lower, wanted] = [source.toLowerCase(), find.toLowerCase()];
  let at = 0;
  for (let next = lower.indexOf(wanted); next >= 0 && parts.length < 2000; next = lower.indexOf(wanted, at)) {
    parts.push(source.slice(at, next), html`<mark>${source.slice(next, next + wanted.length)}</mark>`);
    at = next + wanted.length;
  }
  return [...parts, source.slice(at)];
}

function Wrong({ error, what }) {
  return html`<p class="fault" role="alert">Not well-formed ${what}: line ${error.line}, column ${error.column}: ${error.text}</p>`;
}

function Tree({ bytes, type, params, find }) {
  const source = useMemo(() => text(bytes, params.charset), [bytes]);
  if (type === "application/x-ndjson") {
    const lines = source.split("\n").filter((line) => line.trim());
    return html`${lines.slice(0, 500).map((line, index) => html`<${Json} key=${index} source=${line} find=${find} />`)}`;
  }
  return /xml$/.test(type) ? html`<${Xml} source=${source} find=${find} />` : html`<${Json} source=${source} find=${find} />`;
}

function Json({ source, find }) {
  const parsed = useMemo(() => formats.json(source), [source]);
  if (parsed.error) return html`<${Wrong} error=${parsed.error} what="JSON" /><${Text} source=${source} fault=${parsed.error} />`;
  return html`<div class="tree"><${Node} value=${parsed.value} depth=${0} find=${find} /></div>`;
}

function Node({ name, value, depth, find }) {
  const label = name === undefined ? "" : html`<span class="key">${name}</span>: `;
  if (value === null || typeof value !== "object") {
    const kind = value === null ? "null" : typeof value;
    return html`<div>${label}<span class=${`value ${kind}`}>${marked(JSON.stringify(value), find)}</span></div>`;
  }
  const [entries, ends] = Array.isArray(value) ? [value.map((one, index) => [index, one]), "[]"] : [Object.entries(value), "{}"];
  if (!entries.length) return html`<div>${label}${ends}</div>`;
  return html`<${Fold} open=${depth < 3} head=${html`${label}${ends[0]} <span class="soft">${entries.length}</span> ${ends[1]}`}
    inside=${() => html`<${Some} of=${entries} one=${([key, one]) => html`<${Node} key=${key} name=${key} value=${one} depth=${depth + 1} find=${find} />`} />`} />`;
}

/** Made when it is opened, so that a tree costs what is seen of it. */
function Fold({ open, head, inside }) {
  const [is, set] = useState(open);
  return html`<details open=${is} onToggle=${(event) => set(event.target.open)}><summary>${head}</summary>${is && inside()}</details>`;
}

function Some({ of, one }) {
  const [count, setCount] = useState(200);
  return html`${of.slice(0, count).map(one)}
    ${of.length > count && html`<button onClick=${() => setCount(count + 1000)}>${of.length - count} more</button>`}`;
}

function Xml({ source, find }) {
  const parsed = useMemo(() => formats.xml(source), [source]);
  if (parsed.error) return html`<${Wrong} error=${parsed.error} what="XML" /><${Text} source=${source} fault=${parsed.error} />`;
  return html`<div class="tree"><${Element} node=${parsed.root} depth=${0} find=${find} /></div>`;
}

function Element({ node, depth, find }) {
  if (node.nodeType !== 1) {
    const said = node.nodeValue.trim();
    return said ? html`<div class="value string">${marked(said, find)}</div>` : null;
  }
  const head = html`<span class="key">${node.nodeName}</span>${[...node.attributes].map((one) => html` <span class="soft">${one.name}=</span><span class="value string">"${one.value}"</span>`)}`;
  const children = [...node.childNodes].filter((child) => child.nodeType === 1 || (child.nodeValue || "").trim());
  if (!children.length) return html`<div>${head}</div>`;
  return html`<${Fold} open=${depth < 4} head=${head} inside=${() => html`<${Some} of=${children} one=${(child, index) => html`<${Element} key=${index} node=${child} depth=${depth + 1} find=${find} />`} />`} />`;
}

export function Pairs({ pairs, find, empty = "None." }) {
  if (!pairs.length) return html`<p class="soft">${empty}</p>`;
  return html`<table class="pairs"><tbody>${pairs.map(([name, value], index) => html`<tr key=${index}><th scope="row">${marked(name, find)}</th><td>${marked(value, find)}</td></tr>`)}</tbody></table>`;
}

function Parts({ bytes, params, find }) {
  const parts = useMemo(() => formats.multipart(bytes, params.boundary || ""), [bytes]);
  if (!parts.length) return html`<p class="fault">No part: the boundary "${params.boundary || ""}" is not in it.</p>`;
  return html`${parts.map((part, index) => html`<section class="part" key=${index}>
    <h4>${part.name || `part ${index + 1}`}${part.file && html` <span class="soft">${part.file}</span>`}</h4>
    <${Body} message=${{ headers: part.headers, body: part.body }} find=${find} />
  </section>`)}`;
}

function Image({ bytes, type }) {
  const [at, setAt] = useState("");
  const [broken, setBroken] = useState(false);
  useEffect(() => {
    const made = URL.createObjectURL(new Blob([bytes], { type }));
    (setAt(made), setBroken(false));
    return () => URL.revokeObjectURL(made);
  }, [bytes, type]);
  if (broken) return html`<p class="fault">It is no whole image.</p>`;
  return html`<figure class="image">${at && html`<img src=${at} alt="The body as an image" onError=${() => setBroken(true)} />`}</figure>`;
}

function Events({ bytes, find }) {
  const found = useMemo(() => formats.events(text(bytes)), [bytes]);
  return html`<table class="frames"><thead><tr><th>#</th><th>Event</th><th>Size</th><th>Data</th></tr></thead><tbody>
    ${found.map((event, index) => html`<tr key=${index}><td>${event.id || index + 1}</td><td>${event.event}</td><td>${size(event.data.length)}</td><td>${marked(event.data, find)}</td></tr>`)}
  </tbody></table>`;
}

function Messages({ bytes }) {
  const found = useMemo(() => formats.grpc(bytes), [bytes]);
  if (!found.length) return html`<p class="soft">No whole message.</p>`;
  return html`${found.map((message, index) => html`<section class="part" key=${index}>
    <h4>${message.trailers ? "Trailers" : `Message ${index + 1}`} <span class="soft">${size(message.bytes.length)}${message.cut ? ", cut" : ""}${message.compressed ? ", compressed" : ""}</span></h4>
    ${message.trailers ? html`<pre class="text">${text(message.bytes)}</pre>` : html`<${Proto} bytes=${message.bytes} compressed=${message.compressed} />`}
  </section>`)}`;
}

function Proto({ bytes, compressed }) {
  const fields = useMemo(() => (compressed ? null : formats.protobuf(bytes)), [bytes]);
  return fields ? html`<div class="tree"><${Fields} fields=${fields} /></div>` : html`<pre class="text">${hex(bytes)}</pre>`;
}

function Fields({ fields }) {
  return fields.map((field, index) => field.fields
    ? html`<${Fold} key=${index} open=${true} head=${html`<span class="key">${field.number}</span> <span class="soft">message</span>`} inside=${() => html`<${Fields} fields=${field.fields} />`} />`
    : html`<div key=${index}><span class="key">${field.number}</span> <span class="soft">${field.kind}</span> <span class="value string">${field.value}</span></div>`);
}

const VIEWS = {
  image: Image,
  tree: Tree,
  form: ({ bytes, find }) => html`<${Pairs} pairs=${formats.form(text(bytes))} find=${find} />`,
  parts: Parts,
  events: Events,
  messages: Messages,
  raw: ({ bytes, params, find }) => html`<${Text} source=${text(bytes, params.charset)} find=${find} />`,
  hex: ({ bytes }) => html`<pre class="text hex" tabindex="0">${hex(bytes)}${bytes.length > 65536 ? "\n…" : ""}</pre>`,
};
