// A request to be sent again with changes. Bodies that are no text go out as they were, byte for byte.
import { html, useState } from "./html.js";
import { api } from "./api.js";
import { encode, isText, text } from "./bytes.js";
import { size } from "./show.js";

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

export function Replay({ entry, done }) {
  const readable = isText(entry.asked.body);
  const [draft, setDraft] = useState({
    method: entry.asked.method,
    path: entry.asked.path,
    headers: entry.asked.headers.map(([name, value]) => `${name}: ${value}`).join("\n"),
    body: readable ? text(entry.asked.body) : "",
  });
  const [fault, setFault] = useState("");
  const [busy, setBusy] = useState(false);
  const set = (name) => (event) => setDraft({ ...draft, [name]: event.target.value });
  const send = async (event) => {
    event.preventDefault();
    const lines = draft.headers.split("\n").filter((line) => line.trim());
    const wrong = lines.find((line) => !/^[!#$%&'*+.^_`|~0-9A-Za-z-]+:/.test(line));
    if (wrong) return setFault(`"${wrong}" is no header: write NAME: VALUE`);
    const headers = lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]);
    const body = readable ? new TextEncoder().encode(draft.body) : entry.asked.body;
    setBusy(true);
    try {
      const made = await api.replay({ id: entry.id, method: draft.method, path: draft.path, headers, body: encode(body) });
      done(made.id);
    } catch (error) {
      setFault(error.message);
    } finally {
      setBusy(false);
    }
  };
  return html`<form class="replay" onSubmit=${send} aria-label="Replay with changes">
    <div class="row">
      <label>Method <input list="methods" value=${draft.method} onInput=${set("method")} size="8" required pattern="[A-Za-z!#$%&'*+.^_\`|~0-9\\-]+" /></label>
      <datalist id="methods">${METHODS.map((name) => html`<option key=${name} value=${name} />`)}</datalist>
      <label class="grow">Path <input value=${draft.path} onInput=${set("path")} required pattern="[\\/*].*" /></label>
    </div>
    <label>Headers <textarea rows="6" value=${draft.headers} onInput=${set("headers")} spellcheck="false"></textarea></label>
    ${readable ? html`<label>Body <textarea rows="6" value=${draft.body} onInput=${set("body")} spellcheck="false"></textarea></label>` : html`<p class="soft">The body, ${size(entry.asked.body.length)} that are no text, goes out as it was.</p>`}
    <p class="soft">Content-Length is set right. It goes from the agent to the upstream, past the policies of the edge.</p>
    ${fault && html`<p class="fault" role="alert">${fault}</p>`}
    <p class="row"><button class="main" disabled=${busy}>Send</button></p>
  </form>`;
}
