// Which requests are of interest; it stands in the page's URL, and the agent applies it.
import { html, useEffect, useState } from "./html.js";

const FIELDS = [
  { name: "path", label: "Path", hint: "/users", help: "part of path and query" },
  { name: "status", label: "Status", hint: "4xx", help: "404, 5xx, 200-299, or pending" },
  { name: "method", label: "Method", hint: "POST", help: "one or several, with commas" },
  { name: "size", label: "Size", hint: ">10k", help: "of the response: >10k, <1M, 1k-2k" },
  { name: "duration", label: "Duration", hint: ">500ms", help: ">500ms, <2s, 1s-2s" },
  { name: "header", label: "Header", hint: "accept: json", help: "NAME, or NAME: part of its value" },
  { name: "endpoint", label: "Endpoint", hint: "web", help: "its name" },
];
const ALL = ["text", ...FIELDS.map((field) => field.name)];

/** The filter in the page's URL, by name. */
export function fromUrl() {
  const asked = new URLSearchParams(location.search);
  return Object.fromEntries(ALL.filter((name) => asked.get(name)).map((name) => [name, asked.get(name)]));
}

export function toQuery(filter) {
  return new URLSearchParams(Object.entries(filter).filter(([, value]) => value)).toString();
}

/** The bar above the list. `change` gets the whole filter; `only`: the one field there is. */
export function FilterBar({ filter, change, fault, only, endpoints }) {
  const [draft, setDraft] = useState(filter);
  const [open, setOpen] = useState(FIELDS.some((field) => filter[field.name]));
  useEffect(() => setDraft(filter), [toQuery(filter)]);
  useEffect(() => {
    if (toQuery(draft) === toQuery(filter)) return;
    const soon = setTimeout(() => change(draft), 200);
    return () => clearTimeout(soon);
  }, [toQuery(draft)]);
  const set = (name) => (event) => setDraft({ ...draft, [name]: event.target.value.trim() ? event.target.value : "" });
  const active = FIELDS.filter((field) => filter[field.name]).length;
  return html`<form class="filter" role="search" onSubmit=${(event) => (event.preventDefault(), change(draft))}>
    <div class="row">
      <input id="search" type="search" placeholder="Search paths, headers and bodies ( / )" aria-label="Search paths, headers and bodies"
        value=${draft.text || ""} onInput=${set("text")} />
      ${!only && html`<button type="button" aria-expanded=${open} aria-controls=${open ? "fields" : undefined} onClick=${() => setOpen(!open)}>Filter${active ? ` (${active})` : ""}</button>`}
      ${toQuery(filter) && html`<button type="button" onClick=${() => (setDraft({}), change({}))}>Reset</button>`}
    </div>
    ${open && !only && html`<div class="fields" id="fields">
      ${FIELDS.map((field) => html`<label key=${field.name} title=${field.help}>${field.label}
        <input name=${field.name} value=${draft[field.name] || ""} placeholder=${field.hint} list=${field.name === "endpoint" ? "known-endpoint" : undefined} onInput=${set(field.name)} />
      </label>`)}
      <datalist id="known-endpoint">${endpoints.map(({ name }) => html`<option key=${name} value=${name} />`)}</datalist>
    </div>`}
    ${fault && html`<p class="fault" role="alert">${fault}</p>`}
  </form>`;
}
