// The list of requests. Only the rows in sight are elements, so ten thousand cost what thirty do.
import { html, useEffect, useRef, useState } from "./html.js";
import { duration, size, time, tone } from "./show.js";

const ROW = 34;
const HEAD = 26;
const AROUND = 10;

export function List({ requests, selected, select, many, empty }) {
  const box = useRef(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  useEffect(() => {
    const element = box.current;
    const look = () => setView({ top: Math.max(0, element.scrollTop - HEAD), height: element.clientHeight });
    const watch = new ResizeObserver(look);
    watch.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => (watch.disconnect(), element.removeEventListener("scroll", look));
  }, []);
  const at = requests.findIndex((request) => request.id === selected);
  useEffect(() => {
    const element = box.current;
    if (at < 0) return;
    if (at * ROW < element.scrollTop) element.scrollTop = at * ROW;
    else if (HEAD + (at + 1) * ROW > element.scrollTop + element.clientHeight) element.scrollTop = HEAD + (at + 1) * ROW - element.clientHeight;
  }, [selected, at < 0]);

  const first = Math.max(0, Math.floor(view.top / ROW) - AROUND);
  const last = Math.min(requests.length, Math.ceil((view.top + view.height) / ROW) + AROUND);
  const keys = (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -requests.length, End: requests.length };
    const step = steps[event.key];
    if (!step || event.ctrlKey || event.metaKey || !requests.length) return;
    event.preventDefault();
    const next = Math.min(requests.length - 1, Math.max(0, (at < 0 ? -1 : at) + step));
    select(requests[next].id);
  };
  return html`<div class="list" id="list" ref=${box} tabindex="0" role=${requests.length ? "listbox" : "group"} aria-label="Requests" aria-activedescendant=${at < first || at >= last ? undefined : `r-${selected}`} onKeyDown=${keys}>
    ${requests.length > 0 && html`<div class="request heads" aria-hidden="true"><span>Method</span><span>Path</span><span>Status</span><span class="size">Size</span><span class="took">Took</span><span class="time">Began</span></div>`}
    ${requests.length ? html`<div class="rows" role="presentation" style=${{ height: `${requests.length * ROW}px` }}>
      ${requests.slice(first, last).map((request, index) => html`<${Row} key=${request.id} request=${request} top=${(first + index) * ROW}
        chosen=${request.id === selected} select=${select} many=${many} position=${first + index + 1} count=${requests.length} />`)}
    </div>` : empty}
  </div>`;
}

function Row({ request, top, chosen, select, many, position, count }) {
  const status = request.status_code || (request.pending ? "…" : "–");
  return html`<div class=${`request ${chosen ? "chosen" : ""}`} id=${`r-${request.id}`} role="option" aria-selected=${chosen} aria-posinset=${position}
    aria-setsize=${count} style=${{ top: `${top}px` }} onClick=${() => select(request.id)}>
    <span class="method">${request.method}</span>
    <span class="path" title=${request.path}>${request.replay_of && html`<abbr title="replayed">↻</abbr> `}${request.path}${many && html` <span class="soft">${request.endpoint}</span>`}</span>
    <span class=${`status ${tone(request.status_code)}`}>${status}</span>
    <span class="size">${size(request.response_size || 0)}</span>
    <span class="took">${request.pending && !request.status_code ? "…" : duration(request.duration)}</span>
    <time class="time" datetime=${request.start}>${time(request.start)}</time>
  </div>`;
}
