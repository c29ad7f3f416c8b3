// One request in full: what was asked, what came back, and what can be done with it.
import { html, useEffect, useMemo, useState } from "./html.js";
import { api } from "./api.js";
import { Body, Pairs } from "./body.js";
import { decode, field, mediaType, split, text } from "./bytes.js";
import { NAMES, written } from "./copy.js";
import * as diff from "./diff.js";
import * as formats from "./formats.js";
import { Replay } from "./replay.js";
import { MASK, duration, isSecret, size, time, tone } from "./show.js";

/** A captured request with its bytes taken apart. */
export function opened(entry) {
  const request = split(decode(entry.request.raw));
  const response = entry.response && split(decode(entry.response.raw));
  return { ...entry, asked: { ...request, method: entry.request.method, path: entry.request.uri }, answered: response };
}

export function Detail({ id, version, imported, find, origin, select, close, tell }) {
  const [entry, setEntry] = useState(null);
  const [fault, setFault] = useState("");
  const [tab, setTab] = useState("summary");
  const [editing, setEditing] = useState(false);
  useEffect(() => (setEntry(null), setFault(""), setEditing(false)), [id]);
  useEffect(() => {
    let wanted = true;
    const got = imported ? Promise.resolve(imported) : api.detail(id);
    got.then((one) => wanted && setEntry(opened(one)), (error) => wanted && setFault(error.message));
    return () => (wanted = false);
  }, [id, version, imported]);
  if (fault) return html`<section class="detail"><p class="fault" role="alert">${fault}</p><button onClick=${close}>Back</button></section>`;
  if (!entry) return html`<section class="detail" aria-busy="true"></section>`;
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
  const tabs = { summary: "Summary", headers: "Headers", ...(isSocket ? { frames: "Frames" } : {}), raw: "Raw", ...(entry.replay_of ? { compare: "Compare" } : {}) };
  const View = { summary: Summary, headers: Headers, frames: Frames, raw: Raw, compare: Compare }[tabs[tab] ? tab : "summary"];
  return html`<section class="detail" aria-label="Request">
    <header>
      <h2><span class="method">${entry.request.method}</span> <span class="whole">${entry.request.uri}</span></h2>
      <p class="row">
        <span class=${`status ${tone(entry.response && entry.response.status_code)}`}>${entry.response ? entry.response.status : "no answer yet"}</span>
        <span>${duration(entry.duration)}</span>
        <span>${time(entry.start)}</span>
        <span>from ${entry.remote_addr}</span>
        <span>to ${entry.tunnel_name}</span>
      </p>
      <p class="row">
        <button class="back" onClick=${close}>← List</button>
        ${!imported && html`<button class="main" onClick=${replay} title="Send it again to the upstream ( r )" id="replay">Replay</button>
          <button onClick=${() => setEditing(!editing)} aria-expanded=${editing}>Replay with changes</button>`}
        <${Copy} entry=${entry} origin=${origin} tell=${tell} />
      </p>
    </header>
    ${editing && html`<${Replay} entry=${entry} done=${(made) => (setEditing(false), select(made), tell("Replayed."))} />`}
    <div class="row tabs" role="tablist" aria-label="Parts of the request">
      ${Object.entries(tabs).map(([name, title]) => html`<button key=${name} role="tab" aria-selected=${name === tab} onClick=${() => setTab(name)}>${title}</button>`)}
    </div>
    <${View} entry=${entry} find=${find} />
  </section>`;
}

function Copy({ entry, origin, tell }) {
  const copy = async (form) => {
    try {
      await navigator.clipboard.writeText(written(form, entry.asked, origin));
      tell(`Copied for ${NAMES[form]}.`);
    } catch {
      tell("The browser does not let this page copy.");
    }
  };
  return html`<label class="copy">Copy as <select onChange=${(event) => (copy(event.target.value), (event.target.value = ""))}>
    <option value="">…</option>
    ${Object.entries(NAMES).map(([form, title]) => html`<option key=${form} value=${form}>${title}</option>`)}
  </select></label>`;
}

function Summary({ entry, find }) {
  const query = entry.request.uri.includes("?") ? formats.form(entry.request.uri.slice(entry.request.uri.indexOf("?") + 1)) : [];
  return html`
    ${query.length > 0 && html`<h3>Query</h3><${Pairs} pairs=${query} find=${find} />`}
    <h3>Request body</h3>
    <${Body} key=${`${entry.id}-q`} message=${entry.asked} truncated=${entry.request.truncated} find=${find} />
    <h3>Response body</h3>
    ${entry.answered ? html`<${Body} key=${`${entry.id}-a`} message=${entry.answered} truncated=${entry.response.truncated} find=${find} />` : html`<p class="soft">The upstream has not answered yet.</p>`}`;
}

function Headers({ entry, find }) {
  const [open, setOpen] = useState(false);
  const pairs = (message) => message.headers.map(([name, value]) => [name, !open && isSecret(name) ? MASK : value]);
  const secret = [entry.asked, entry.answered].some((message) => message && message.headers.some(([name]) => isSecret(name)));
  return html`
    ${secret && html`<p><button aria-pressed=${open} onClick=${() => setOpen(!open)}>${open ? "Hide" : "Show"} credentials and cookies</button></p>`}
    <h3>Request</h3><${Pairs} pairs=${pairs(entry.asked)} find=${find} />
    ${entry.answered && html`<h3>Response</h3><${Pairs} pairs=${pairs(entry.answered)} find=${find} />`}`;
}

function Raw({ entry }) {
  const [open, setOpen] = useState(false);
  const shown = (raw) => {
    const source = text(decode(raw));
    if (open) return source;
    const end = source.indexOf("\r\n\r\n");
    return source.slice(0, end).replace(/^([^:\r\n]+): .*$/gm, (line, name) => (isSecret(name) ? `${name}: ${MASK}` : line)) + source.slice(end);
  };
  return html`<p><button aria-pressed=${open} onClick=${() => setOpen(!open)}>${open ? "Hide" : "Show"} credentials and cookies</button></p>
    <h3>Request</h3><pre class="text" tabindex="0">${shown(entry.request.raw)}</pre>
    ${entry.response && html`<h3>Response</h3><pre class="text" tabindex="0">${shown(entry.response.raw)}</pre>`}`;
}

/** Frames of a WebSocket, both ways, in the order in which they came. */
function Frames({ entry, find }) {
  const found = useMemo(() => {
    const all = [];
    for (const [way, pieces] of Object.entries({ up: entry.request.stream || [], down: entry.response.stream || [] })) {
      const bytes = pieces.map((piece) => decode(piece.raw));
      const ends = [];
      let total = 0;
      for (const [index, piece] of bytes.entries()) ends.push([(total += piece.length), pieces[index].at]);
      const whole = new Uint8Array(total);
      let at = 0;
      for (const piece of bytes) (whole.set(piece, at), (at += piece.length));
      for (const frame of formats.frames(whole)) all.push({ ...frame, way, at: (ends.find(([end]) => end > frame.start) || [0, 0])[1] });
    }
    return all.sort((one, other) => one.at - other.at);
  }, [entry]);
  if (!found.length) return html`<p class="soft">No frames so far.</p>`;
  return html`<table class="frames"><thead><tr><th>At</th><th>Way</th><th>Kind</th><th>Size</th><th>Content</th></tr></thead><tbody>
    ${found.slice(-2000).map((frame, index) => html`<tr key=${index} class=${frame.way}>
      <td>${duration(frame.at)}</td><td title=${frame.way === "up" ? "visitor to upstream" : "upstream to visitor"}>${frame.way === "up" ? "↑" : "↓"}</td>
      <td>${frame.kind}${frame.final ? "" : " …"}</td><td>${size(frame.length)}</td><td>${formats.said(frame).slice(0, 4000)}${frame.cut ? " (cut)" : ""}</td></tr>`)}
  </tbody></table>`;
}

/** The response beside that of the request it repeats. */
function Compare({ entry }) {
  const [before, setBefore] = useState(null);
  const [fault, setFault] = useState("");
  useEffect(() => void api.detail(entry.replay_of).then((one) => setBefore(opened(one)), (error) => setFault(error.message)), [entry.replay_of]);
  if (fault) return html`<p class="fault">The original: ${fault}</p>`;
  if (!before || !entry.answered || !before.answered) return html`<p class="soft">Both have to be answered first.</p>`;
  const shown = (one) => {
    const { first, headers, body } = one.answered;
    const type = mediaType(field(headers, "content-type")).type;
    const parsed = /json$/.test(type) ? formats.json(text(body)) : {};
    const said = parsed.value === undefined ? text(body) : JSON.stringify(parsed.value, null, 2);
    return [first, ...headers.map(([name, value]) => `${name}: ${isSecret(name) ? MASK : value}`), "", said].join("\n");
  };
  const changed = diff.lines(shown(before), shown(entry));
  if (!changed) return html`<p class="soft">Both are too long to be compared line by line.</p>`;
  if (changed.every(([kind]) => kind === "same")) return html`<p>Nothing has changed.</p>`;
  return html`<p class="soft">− before, + now</p><pre class="text diff" tabindex="0">${changed.map(([kind, line]) => html`<span class=${kind}>${{ same: " ", old: "−", new: "+" }[kind]} ${line}${"\n"}</span>`)}</pre>`;
}
