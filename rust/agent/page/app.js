// The page: inspection of requests, and the status of the agent.
import { html, render, useCallback, useEffect, useMemo, useRef, useState } from "./html.js";
import { api, follow } from "./api.js";
import { decode, text } from "./bytes.js";
import { Detail } from "./detail.js";
import { FilterBar, fromUrl, toQuery } from "./filter.js";
import * as har from "./har.js";
import { List } from "./list.js";
import { Menu } from "./menu.js";
import { Status } from "./status.js";

/** Requests that the page keeps a line of; the agent's own limit is in bytes. */
const MOST = 10_000;

/** Where a request takes the place of the list (style.css). */
const NARROW = matchMedia("(max-width: 60rem)");

function App() {
  const [path, setPath] = useState(location.pathname);
  const [state, setState] = useState(null);
  const [up, setUp] = useState(true);
  const [said, setSaid] = useState("");
  useEffect(() => {
    const back = () => setPath(location.pathname);
    addEventListener("popstate", back);
    return () => removeEventListener("popstate", back);
  }, []);
  useEffect(() => {
    if (!said) return;
    const soon = setTimeout(() => setSaid(""), 4000);
    return () => clearTimeout(soon);
  }, [said]);
  const isStatus = path.replace(/\/$/, "") === "/status";
  // With its filter and its request.
  const inspected = useRef("/inspect/http");
  const go = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (!isStatus) inspected.current = location.pathname + location.search + location.hash;
    history.pushState(null, "", event.currentTarget.getAttribute("href"));
    setPath(location.pathname);
  };
  const dialog = useRef(null);
  const help = () => dialog.current.showModal();
  const word = up ? (state ? state.status : "…") : "the agent is gone";
  return html`
    <header class="top">
      <h1>portway</h1>
      <nav aria-label="Pages">
        <a href=${isStatus ? inspected.current : "/inspect/http"} aria-current=${isStatus ? undefined : "page"} onClick=${isStatus ? go : (event) => event.preventDefault()}>Inspect</a>
        <a href="/status" aria-current=${isStatus ? "page" : undefined} onClick=${isStatus ? (event) => event.preventDefault() : go}>Status</a>
      </nav>
      <button type="button" class="keys" onClick=${help} title="( ? )">Keys</button>
      <span class=${`state ${!up ? "off" : state ? state.status : ""}`} role="status">${word}</span>
    </header>
    ${isStatus ? html`<${Status} setState=${setState} setUp=${setUp} />` : html`<${Inspect} state=${state} setState=${setState} setUp=${setUp} tell=${setSaid} help=${help} />`}
    <${Keys} dialog=${dialog} />
    <p class="said" role="status" aria-live="polite">${said}</p>`;
}

function Inspect({ state, setState, setUp, tell, help }) {
  const [filter, setFilter] = useState(fromUrl);
  const [fault, setFault] = useState("");
  const [shown, setShown] = useState([]);
  const [selected, setSelected] = useState(location.hash.slice(1));
  const [paused, setPaused] = useState(false);
  const [imported, setImported] = useState(null);
  const [versions, setVersions] = useState({});
  const known = useRef(new Map());
  const pausedNow = useRef(false);
  const [waiting, setWaiting] = useState(0);
  const frame = useRef(0);

  // However many come, the list is drawn once a frame.
  const draw = useCallback(() => {
    if (frame.current) return;
    frame.current = requestAnimationFrame(() => {
      frame.current = 0;
      if (pausedNow.current) return setWaiting((count) => count + 1);
      setShown([...known.current.values()].sort((one, other) => (one.id < other.id ? 1 : -1)));
    });
  }, []);
  const query = toQuery(filter);
  useEffect(() => {
    history.replaceState(history.state, "", `${location.pathname}${query && `?${query}`}${location.hash}`);
    known.current = new Map();
    setFault("");
    if (!pausedNow.current) setShown([]);
    return follow(query, {
      // Who says why not is there.
      link: (isUp, why) => (setUp(isUp || why !== ""), setFault(why)),
      state: setState,
      reset: () => ((known.current = new Map()), draw()),
      requests: (news) => {
        for (const one of news) known.current.set(one.id, one);
        for (const id of known.current.keys()) {
          if (known.current.size <= MOST) break;
          known.current.delete(id);
        }
        setVersions((now) => bump(now, news));
        draw();
      },
      gone: (ids) => {
        for (const id of ids) known.current.delete(id);
        draw();
      },
      oldest: (oldest) => {
        for (const id of known.current.keys()) if (oldest === null || id < oldest) known.current.delete(id);
        draw();
      },
    });
  }, [query]);

  const select = useCallback((id) => {
    setSelected(id);
    setVersions((now) => ({ [id]: now[id] || 0 }));
    const to = `${location.pathname}${location.search}${id ? `#${id}` : ""}`;
    // Where a request takes the place of the list, the browser's way back leads to the list.
    if (id && !location.hash && NARROW.matches) history.pushState({ opened: true }, "", to);
    else if (!id && history.state && history.state.opened) history.back();
    else history.replaceState(history.state, "", to);
  }, []);
  useEffect(() => {
    const moved = () => select(location.hash.slice(1));
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  const pause = () => {
    pausedNow.current = !pausedNow.current;
    setPaused(pausedNow.current);
    setWaiting(0);
    draw();
  };
  const clear = async () => {
    try {
      await api.clear();
      // Of what has gone there is nothing to look at, paused or not.
      setShown([]);
      select("");
      tell("Cleared.");
    } catch (error) {
      tell(`Not cleared: ${error.message}`);
    }
  };
  useEffect(() => {
    const keys = (event) => {
      const inField = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
      if (event.key === "Escape" && !event.target.closest("dialog")) return inField ? event.target.blur() : select("");
      if (inField || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("dialog")) return;
      const press = (id) => () => document.getElementById(id)?.click();
      const focus = (id) => () => document.getElementById(id)?.focus();
      const step = (by) => () => {
        const at = requests.findIndex((one) => one.id === selected);
        const next = requests[Math.min(requests.length - 1, Math.max(0, at + by))];
        if (next) select(next.id);
      };
      const looks = { "/": focus("search"), f: focus("find"), l: focus("list"), j: step(1), k: step(-1) };
      const acts = { p: pause, r: press("replay"), e: press("edit"), c: press("copy"), "?": help };
      const act = looks[event.key] || acts[event.key];
      if (act) (event.preventDefault(), act());
    };
    addEventListener("keydown", keys);
    return () => removeEventListener("keydown", keys);
  });

  const summaries = useMemo(() => {
    if (!imported) return null;
    const wanted = (filter.text || "").toLowerCase();
    const has = (entry) => [entry.request, entry.response].some((one) => one && text(decode(one.raw)).toLowerCase().includes(wanted));
    return imported.filter((entry) => !wanted || has(entry)).map(har.summary);
  }, [imported, filter.text]);
  const requests = summaries || shown;
  const take = async (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (!file) return;
    try {
      setImported(har.read(await file.text()));
      select("");
    } catch (error) {
      tell(`${file.name} is no HTTP archive: ${error.message}`);
    }
  };
  const save = async (secrets) => {
    try {
      const entries = imported || (await all(requests.map((one) => one.id)));
      const archive = await har.write(entries, state ? state.portway_version : "", secrets);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([JSON.stringify(archive, null, 1)], { type: "application/json" }));
      link.download = "portway.har";
      link.click();
      URL.revokeObjectURL(link.href);
      tell(`Exported ${entries.length} ${entries.length === 1 ? "request" : "requests"}.`);
    } catch (error) {
      tell(`Not exported: ${error.message}`);
    }
  };
  const endpoints = (state && state.endpoints) || [];
  const chosen = imported && imported.find((one) => one.id === selected);
  const off = endpoints.filter((one) => isHttp(one) && !one.inspect);
  const count = `${requests.length} ${requests.length === 1 ? "request" : "requests"}${query && !imported ? " found" : ""}`;
  return html`<main class=${`inspect ${selected ? "with-detail" : ""}`}>
    <section class="left" aria-label="Captured requests">
      <${FilterBar} filter=${filter} change=${setFilter} fault=${fault} only=${imported ? "text" : ""} endpoints=${endpoints.filter(isHttp)} />
      <div class="row tools">
        <span class="soft grow" id="count">${count}${imported ? " in the file" : ""}${paused && waiting ? ", more have come" : ""}</span>
        ${imported ? html`<button type="button" onClick=${() => (setImported(null), select(""))}>Close the file</button>` : html`
          <button type="button" aria-pressed=${paused} onClick=${pause} title="( p )">${paused ? "Go on" : "Pause"}</button>
          <button type="button" onClick=${clear} title="Forgets all requests" disabled=${!shown.length && !query}>Clear</button>`}
        <${Menu} id="export" title="Export" choices=${EXPORTS} choose=${(name) => save(name === "secrets")} disabled=${!requests.length} />
        <label class="button">Import<input type="file" accept=".har,application/json" onChange=${take} /></label>
      </div>
      ${off.length > 0 && !imported && requests.length > 0 && html`<p class="soft aside">Not inspected: ${off.map((one) => one.name).join(", ")}</p>`}
      <${List} requests=${requests} selected=${selected} select=${select} many=${endpoints.filter(isHttp).length > 1} empty=${!fault && html`<${Empty} state=${state} query=${imported ? filter.text : query} endpoints=${endpoints} file=${imported} />`} />
    </section>
    ${selected ? html`<${Detail} id=${selected} version=${versions[selected] || 0} imported=${chosen} looked=${filter.text} endpoints=${endpoints} select=${select} close=${() => select("")} tell=${tell} />`
      : html`<section class="detail none" aria-label="Request"><p class="soft">Choose a request to see all of it. Press ? for the keys.</p></section>`}
  </main>`;
}

const EXPORTS = { plain: "HAR file", secrets: "HAR file with credentials" };

const isHttp = (endpoint) => /^https?:/.test(endpoint.url);

/** Requests in full, a few at a time; what has gone meanwhile is left out. */
async function all(ids) {
  const found = new Array(ids.length);
  let next = 0;
  const take = async () => {
    while (next < ids.length) {
      const at = next++;
      found[at] = await api.detail(ids[at]).catch(() => null);
    }
  };
  await Promise.all([1, 2, 3, 4].map(take));
  return found.filter(Boolean);
}

/** The one that is open is fetched again when it changed. */
function bump(now, news) {
  let next = now;
  for (const { id } of news) if (id in next) next = { ...next, [id]: next[id] + 1 };
  return next;
}

function Empty({ state, query, endpoints, file }) {
  if (query) return html`<p class="notice">No request is like that.</p>`;
  if (file) return html`<p class="notice">There is no request in the file.</p>`;
  if (!state) return html`<p class="notice">…</p>`;
  const watched = endpoints.filter((one) => isHttp(one) && one.inspect);
  const off = endpoints.filter((one) => isHttp(one) && !one.inspect);
  if (!endpoints.length) return html`<p class="notice">No endpoint is running.</p>`;
  if (watched.length) {
    return html`<div class="notice"><p>No request so far. Send the first:</p>${watched.map((one) => html`<pre key=${one.url} class="text" tabindex="0">curl ${one.url}</pre>`)}
      <p>or open it: ${watched.map((one) => html`<a key=${one.url} href=${one.url} target="_blank" rel="noopener noreferrer">${one.url}</a> `)}</p></div>`;
  }
  if (off.length) return html`<p class="notice">Inspection is turned off for ${off.map((one) => one.name).join(", ")} (inspect: false), so no requests are kept. The figures are on the page Status.</p>`;
  return html`<p class="notice">Only TCP and TLS endpoints are running. Their connections are not looked into; requests of HTTP endpoints would be shown here.</p>`;
}

const KEYS = [
  ["/", "search, and Enter to look at once"],
  ["j k", "the next request, and the one before"],
  ["l", "to the list; ↑ ↓, Page Up, Page Down, Home, End there"],
  ["Esc", "out of a field, then back from the request"],
  ["f", "find in the request; Enter and Shift+Enter for the next and the one before"],
  ["r", "replay it"],
  ["e", "replay it with changes"],
  ["c", "copy it"],
  ["← →", "between tabs"],
  ["p", "pause, and go on"],
  ["?", "this"],
];

function Keys({ dialog }) {
  return html`<dialog ref=${dialog} aria-label="Keys"><h2>Keys</h2>
    <table class="pairs" aria-label="Keys"><tbody>${KEYS.map(([key, what]) => html`<tr key=${key}><th scope="row"><kbd>${key}</kbd></th><td class="words">${what}</td></tr>`)}</tbody></table>
    <form method="dialog"><button>Close</button></form>
  </dialog>`;
}

render(html`<${App} />`, document.getElementById("app"));
