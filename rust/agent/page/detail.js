// One request in full: what was asked, what came back, and what can be done with it.
import { html, useEffect, useRef, useState } from "./html.js";
import { api } from "./api.js";
import { Body, Pairs, Text } from "./body.js";
import { decode, field, hex, isText, mediaType, plain, readable, split, text } from "./bytes.js";
import { NAMES, written } from "./copy.js";
import * as diff from "./diff.js";
import { Find, marked } from "./find.js";
import * as formats from "./formats.js";
import { Frames } from "./frames.js";
import { Menu } from "./menu.js";
import { Replay } from "./replay.js";
import { MASK, duration, isSecret, moment, tone } from "./show.js";
import { Tabs } from "./tabs.js";

/** Where a request was sent to, as far as it says so itself. */
export function originOf(headers) {
  const told = field(headers, "x-forwarded-proto").split(",")[0].trim();
  return `${told === "https" ? "https" : "http"}://${field(headers, "host") || "localhost"}`;
}

/** A captured request with its bytes taken apart. */
export function opened(entry) {
  const request = split(decode(entry.request.raw));
  const response = entry.response && split(decode(entry.response.raw));
  const { decoded } = entry;
  const pieces = entry.response && entry.response.stream;
  const stream = pieces && pieces.length ? pieces.map(({ at, raw }) => ({ at, bytes: decode(raw) })) : null;
  return { ...entry, asked: { ...request, decoded, method: entry.request.method, path: entry.request.uri }, answered: response && { ...response, decoded, stream } };
}

export function Detail({ id, version, imported, looked, endpoints, select, close, tell }) {
  const [entry, setEntry] = useState(null);
  const [fault, setFault] = useState("");
  const [tab, setTab] = useState("summary");
  const [editing, setEditing] = useState(false);
  const [find, setFind] = useState(looked || "");
  const shown = useRef(null);
  const asking = useRef({ id: "", again: false });
  useEffect(() => (setEntry(null), setFault(""), setEditing(false)), [id]);
  useEffect(() => setFind(looked || ""), [looked]);
  useEffect(() => {
    if (imported) return setEntry(opened(imported));
    // One question at a time, however fast it changes.
    if (asking.current.id === id) return void (asking.current.again = true);
    const mine = (asking.current = { id, again: true });
    const ask = async () => {
      try {
        while (mine.again && asking.current === mine) {
          mine.again = false;
          const one = opened(await api.detail(id));
          if (asking.current === mine) setEntry(one);
        }
      } catch (error) {
        if (asking.current === mine) setFault(error.message);
      } finally {
        if (asking.current === mine) asking.current = { id: "", again: false };
      }
    };
    ask();
  }, [id, version, imported]);
  useEffect(() => () => (asking.current = { id: "", again: false }), []);
  if (fault && !entry) {
    return html`<section class="detail" aria-label="Request"><p class="fault" role="alert">${fault}</p><p><button type="button" onClick=${close}>Back to the list</button></p></section>`;
  }
  if (!entry) return html`<section class="detail" aria-label="Request" aria-busy="true"></section>`;
  const replay = async () => {
    try {
      const made = await api.replay({ id });
      tell("Replayed.");
      select(made.id);
    } catch (error) {
      tell(`Not replayed: ${error.message}`);
    }
  };
  const isSocket = entry.response && entry.response.status_code === 101;
  const titles = { summary: "Summary", headers: "Headers", ...(isSocket ? { frames: "Frames" } : {}), raw: "Raw", ...(entry.replay_of && !imported ? { compare: "Compare" } : {}) };
  const chosen = titles[tab] ? tab : "summary";
  const View = { summary: Summary, headers: Headers, frames: Frames, raw: Raw, compare: Compare }[chosen];
  const own = endpoints.find((one) => one.name === entry.tunnel_name);
  const origin = entry.origin ?? (own ? own.url : originOf(entry.asked.headers));
  const cut = entry.request.truncated;
  return html`<section class="detail" aria-label="Request">
    <header>
      <h2><span class="method">${entry.request.method}</span> <span class="whole">${entry.request.uri}</span></h2>
      <p class="row facts">
        <span class=${`status ${tone(entry.response && entry.response.status_code)}`}>${entry.response ? entry.response.status : imported ? "no answer" : "no answer yet"}</span>
        <span title="from the first byte of the request to the last of the response">${duration(entry.duration)}</span>
        <time datetime=${entry.start} title=${entry.start}>${moment(entry.start)}</time>
        <span>from ${entry.remote_addr}</span>
        <span>to ${entry.tunnel_name}</span>
        ${entry.note && html`<span class="fault">${entry.note}</span>`}
        ${entry.replay_of && html`<span>replay of <a href=${`#${entry.replay_of}`}>${imported ? entry.replay_of : "the original"}</a></span>`}
      </p>
      <p class="row">
        <button type="button" class="back" onClick=${close}>← List</button>
        ${!imported && html`<button type="button" class="main" onClick=${replay} disabled=${cut} title=${cut ? "Its body was too long to be kept whole" : "Send it again to the upstream ( r )"} id="replay">Replay</button>
          <button type="button" id="edit" onClick=${() => setEditing(!editing)} aria-expanded=${editing} title="( e )">Replay with changes</button>`}
        <${Copy} entry=${entry} origin=${origin} tell=${tell} />
      </p>
    </header>
    ${editing && html`<${Replay} entry=${entry} endpoints=${endpoints} done=${(made) => (setEditing(false), select(made), tell("Replayed."))} />`}
    <div ref=${shown}>
      <${Tabs} id="part" label="Parts of the request" titles=${titles} chosen=${chosen} choose=${setTab} panel=${html`<${View} entry=${entry} find=${find} imported=${imported} />`}>
        <${Find} value=${find} change=${setFind} within=${shown} />
      <//>
    </div>
  </section>`;
}

async function onClipboard(said) {
  // Away from this machine a page has no clipboard, but may still copy what is selected.
  if (navigator.clipboard) return navigator.clipboard.writeText(said).then(() => true, () => false);
  const field = document.body.appendChild(document.createElement("textarea"));
  field.value = said;
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}

function Copy({ entry, origin, tell }) {
  const copy = async (form) => {
    const done = await onClipboard(written(form, entry.asked, origin));
    tell(done ? `Copied for ${NAMES[form]}.` : "The browser does not let this page copy.");
  };
  return html`<${Menu} id="copy" title="Copy as" choices=${NAMES} choose=${copy} />`;
}

function Summary({ entry, find, imported }) {
  const query = entry.request.uri.includes("?") ? formats.form(entry.request.uri.slice(entry.request.uri.indexOf("?") + 1)) : [];
  const at = (side) => (imported ? "" : `/api/ui/requests/${encodeURIComponent(entry.id)}/${side}`);
  return html`
    <${Timing} entry=${entry} />
    ${query.length > 0 && html`<h3>Query</h3><${Pairs} pairs=${query} find=${find} title="Query" />`}
    <h3>Request body</h3>
    <${Body} key=${`${entry.id}-q`} id="request" message=${entry.asked} truncated=${entry.request.truncated} find=${find} at=${at("request")} />
    <h3>Response body</h3>
    ${entry.answered ? html`<${Body} key=${`${entry.id}-a`} id="response" message=${entry.answered} truncated=${entry.response.truncated} find=${find} at=${at("response")} />` : html`<p class="soft">${imported ? "There is no answer in the file." : "The upstream has not answered yet."}</p>`}`;
}

/** How long the upstream took to begin its answer, and how long the answer took. */
function Timing({ entry }) {
  const { first_byte: first } = entry;
  if (!first || !entry.duration || first > entry.duration) return null;
  const share = Math.round((first / entry.duration) * 1000) / 10;
  return html`<div class="timing">
    <svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"><rect class="wait" width=${share} height="4" /><rect class="receive" x=${share} width=${100 - share} height="4" /></svg>
    <span><span class="dot wait"></span>waited ${duration(first)}</span> <span><span class="dot receive"></span>received in ${duration(entry.duration - first)}</span>
  </div>`;
}

function Reveal({ open, set }) {
  return html`<p><button type="button" aria-pressed=${open} onClick=${() => set(!open)}>${open ? "Hide" : "Show"} credentials and cookies</button></p>`;
}

const hasSecret = (entry) => [entry.asked, entry.answered].some((message) => message && message.headers.some(([name]) => isSecret(name)));

function Headers({ entry, find }) {
  const [open, setOpen] = useState(false);
  const pairs = (message) => message.headers.map(([name, value]) => [name, !open && isSecret(name) ? MASK : value]);
  return html`
    ${hasSecret(entry) && html`<${Reveal} open=${open} set=${setOpen} />`}
    <h3>Request</h3><${Pairs} pairs=${pairs(entry.asked)} find=${find} title="Headers of the request" />
    ${entry.answered && html`<h3>Response</h3><${Pairs} pairs=${pairs(entry.answered)} find=${find} title="Headers of the response" />`}
    ${[["request", entry.request], ["response", entry.response]].map(([side, one]) => one && one.trailers && one.trailers.length > 0 && html`<h3 key=${side}>Trailers of the ${side}</h3><${Pairs} pairs=${one.trailers.map(([name, value]) => [name, readable(value)])} find=${find} title=${`Trailers of the ${side}`} />`)}`;
}

function Raw({ entry, find }) {
  const [open, setOpen] = useState(false);
  const shown = ({ first, headers, body }) => {
    const lines = headers.map(([name, value]) => `${name}: ${!open && isSecret(name) ? MASK : value}`);
    return [first, ...lines, "", text(body)].join("\n");
  };
  return html`${hasSecret(entry) && html`<${Reveal} open=${open} set=${setOpen} />`}
    <h3>Request</h3><${Text} source=${shown(entry.asked)} find=${find} />
    ${entry.answered && html`<h3>Response</h3><${Text} source=${shown(entry.answered)} find=${find} />`}`;
}

/** The response beside that of the request it repeats. */
function Compare({ entry, find }) {
  const [both, setBoth] = useState(null);
  const [fault, setFault] = useState("");
  useEffect(() => {
    let wanted = true;
    const look = async () => {
      const before = opened(await api.detail(entry.replay_of));
      if (!before.answered || !entry.answered) return wanted && setBoth({});
      const [old, now] = await Promise.all([before, entry].map(compared));
      const changed = [...diff.lines(old.head, now.head), ["same", ""], ...diff.lines(old.body, now.body)];
      if (wanted) setBoth({ changed });
    };
    look().catch((error) => wanted && setFault(error.message));
    return () => (wanted = false);
  }, [entry]);
  if (fault) return html`<p class="fault">The original: ${fault}</p>`;
  if (!both) return html`<p class="soft">…</p>`;
  const { changed } = both;
  if (!changed) return html`<p class="soft">Both have to be answered first.</p>`;
  if (changed.every(([kind]) => kind === "same")) return html`<p>Nothing has changed: both responses are the same.</p>`;
  return html`<p class="soft">− the original, + this replay</p><pre class="text diff" tabindex="0">${diff.folded(changed).map(([kind, line]) => html`<span class=${kind}>${SIGNS[kind]} ${
    Array.isArray(line) ? [marked(line[0], find), html`<b>${marked(line[1], find)}</b>`, marked(line[2], find)] : marked(line, find)}${"\n"}</span>`)}</pre>`;
}

const SIGNS = { same: " ", old: "−", new: "+", gap: " " };

/** A response as text that can be compared. */
async function compared(one) {
  const { first, headers, body } = one.answered;
  const done = await plain(body, field(headers, "content-encoding"), `/api/ui/requests/${encodeURIComponent(one.id)}/response`);
  const { type, params } = mediaType(field(headers, "content-type"));
  const said = done.left || !isText(done.bytes) ? hex(done.bytes) : text(done.bytes, params.charset);
  const parsed = /json$/.test(type) ? formats.json(said) : {};
  const shown = parsed.value === undefined ? said : JSON.stringify(parsed.value, null, 2);
  return { head: [first, ...headers.map(([name, value]) => `${name}: ${isSecret(name) ? MASK : value}`)].join("\n"), body: shown };
}
