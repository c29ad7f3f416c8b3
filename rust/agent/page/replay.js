// A request to be sent again with changes. What is not changed goes out byte for byte.
import { html, useState } from "./html.js";
import { api } from "./api.js";
import { encode, isText, readable, text, wire } from "./bytes.js";
import { MASK, isSecret, size } from "./show.js";

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** Headers as lines that can be edited, without what is secret. */
const written = (headers) => headers.map(([name, value]) => `${name}: ${isSecret(name) ? MASK : value}`).join("\n");

/** Such lines as headers; a value that was not touched is the one of `from`. Throws where a line is none. */
function headersOf(source, from) {
  const kept = [...from];
  return source.split("\n").filter((line) => line.trim()).map((line) => {
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+:/.test(line)) throw new Error(`"${line}" is no header: write NAME: VALUE`);
    const [name, value] = [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()];
    const same = ([one, shown]) => one.toLowerCase() === name.toLowerCase() && (shown === value || (value === MASK && isSecret(one)));
    const at = kept.findIndex(same);
    return [name, at < 0 ? wire(value) : kept.splice(at, 1)[0][2]];
  });
}

/** A body as text that can be edited: null where bytes would not come back as they were. */
function editable(body) {
  if (!isText(body)) return null;
  const source = text(body);
  const again = new TextEncoder().encode(source);
  return again.length === body.length && again.every((byte, index) => byte === body[index]) ? source : null;
}

export function Replay({ entry, endpoints, done }) {
  const [source] = useState(() => editable(entry.asked.body));
  const cut = entry.request.truncated;
  const [trailers] = useState(() => (entry.request.trailers || []).map(([name, raw]) => [name, readable(raw), raw]));
  const [draft, setDraft] = useState({
    method: entry.asked.method,
    path: entry.asked.path,
    headers: written(entry.asked.headers),
    body: source || "",
    trailers: written(trailers),
    endpoint: entry.tunnel_name,
  });
  const [touched, setTouched] = useState(false);
  const [fault, setFault] = useState("");
  const [busy, setBusy] = useState(false);
  const set = (name) => (event) => setDraft({ ...draft, [name]: event.target.value });
  const bytes = () => {
    if (source === null || !touched) return entry.asked.body;
    // Text fields know one kind of line end only.
    const said = source.includes("\r\n") ? draft.body.replace(/\r?\n/g, "\r\n") : draft.body;
    return new TextEncoder().encode(said);
  };
  const send = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      const [headers, behind] = [headersOf(draft.headers, entry.asked.headers), headersOf(draft.trailers, trailers)];
      // A body that was not touched is the agent's to repeat.
      const body = touched || cut ? { body: encode(bytes()) } : {};
      const made = await api.replay({ id: entry.id, method: draft.method, path: draft.path, headers, ...body, trailers: behind, endpoint: draft.endpoint });
      done(made.id);
    } catch (error) {
      (setFault(error.message), setBusy(false));
    }
  };
  const targets = endpoints.filter((one) => /^https?:/.test(one.url)).map((one) => one.name);
  if (!targets.includes(draft.endpoint)) targets.unshift(draft.endpoint);
  return html`<form class="replay" onSubmit=${send} aria-label="Replay with changes">
    <div class="row">
      <label>Method <input list="methods" value=${draft.method} onInput=${set("method")} size="8" required pattern="[A-Za-z!#$%&'*+.^_\`\\|~0-9\\-]+" /></label>
      <datalist id="methods">${METHODS.map((name) => html`<option key=${name} value=${name} />`)}</datalist>
      <label class="grow">Path <input value=${draft.path} onInput=${set("path")} required pattern="[\\/*].*" /></label>
      ${targets.length > 1 && html`<label>To <select value=${draft.endpoint} onChange=${set("endpoint")}>${targets.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select></label>`}
    </div>
    <label>Headers <textarea rows="6" value=${draft.headers} onInput=${set("headers")} spellcheck="false"></textarea></label>
    ${source === null ? html`<p class="soft">The body, ${size(entry.asked.body.length)} that are no plain text, goes out as it was.</p>`
      : html`<label>Body <textarea rows="6" value=${draft.body} onInput=${(event) => (setTouched(true), set("body")(event))} spellcheck="false"></textarea></label>`}
    <details open=${trailers.length > 0}><summary>Trailers</summary>
      <label>Headers that stand behind the body <textarea rows="2" value=${draft.trailers} onInput=${set("trailers")} spellcheck="false"></textarea></label></details>
    ${cut && html`<p class="fault">Only the beginning of the body was kept, and only that is sent.</p>`}
    <p class="soft">Content-Length is set right, and ${MASK} stands for what was captured. It goes from the agent to the upstream, past the policies of the edge.</p>
    ${fault && html`<p class="fault" role="alert">${fault}</p>`}
    <p class="row"><button class="main" disabled=${busy}>Send</button></p>
  </form>`;
}
