// The page: inspection of requests, and the status of the agent.
import { html, render, useCallback, useEffect, useMemo, useRef, useState } from "./html.js";
import { api, follow } from "./api.js";
import { Detail } from "./detail.js";
import { FilterBar, fromUrl, toQuery } from "./filter.js";
import * as har from "./har.js";
import { List } from "./list.js";
import { Status } from "./status.js";

/** Requests that the page keeps a line of; the agent's own limit is in bytes. */
const MOST = 10_000;

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
  const go = (to) => (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    history.pushState(null, "", to);
    setPath(to);
  };
  const isStatus = path === "/status";
  const word = up ? (state ? state.status : "…") : "the agent is gone";
  return html`
    <header class="top">
      <h1>portway</h1>
      <nav aria-label="Pages">
        <a href="/inspect/http" aria-current=${isStatus ? undefined : "page"} onClick=${go("/inspect/http")}>Inspect</a>
        <a href="/status" aria-current=${isStatus ? "page" : undefined} onClick=${go("/status")}>Status</a>
      </nav>
      <span class=${`state ${up && state ? state.status : "off"}`} role="status">${word}</span>
    </header>
    ${isStatus ? html`<${Status} setState=${setState} setUp=${setUp} />` : html`<${Inspect} state=${state} setState=${setState} setUp=${setUp} tell=${setSaid} />`}
    <p class="said" role="status" aria-live="polite">${said}</p>`;
}

function Inspect({ state, setState, setUp, tell }) {
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
    history.replaceState(null, "", `${location.pathname}${query && `?${query}`}${location.hash}`);
    known.current = new Map();
    setFault("");
    if (!pausedNow.current) setShown([]);
    return follow(query, {
      link: async (isUp) => {
        setUp(isUp);
        if (isUp || !query) return;
        const checked = await fetch(`/api/ui/requests?${query}`).catch(() => null);
        if (checked && checked.status === 400) setFault((await checked.json()).details.err);
      },
      state: setState,
      reset: () => ((known.current = new Map()), draw()),
      requests: (news) => {
        for (const one of news) known.current.set(one.id, one);
        for (const id of known.current.keys()) {
          if (known.current.size <= MOST) break;
          known.current.delete(id);
        }
        setVersions((now) => (news.length === 1 && news[0].id in now ? { ...now, [news[0].id]: now[news[0].id] + 1 } : bump(now, news)));
        draw();
      },
      gone: (ids) => {
        for (const id of ids) known.current.delete(id);
        draw();
      },
    });
  }, [query]);

  const select = useCallback((id) => {
    setSelected(id);
    setVersions((now) => ({ [id]: now[id] || 0 }));
    history.replaceState(null, "", `${location.pathname}${location.search}${id ? `#${id}` : ""}`);
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
      select("");
      tell("Cleared.");
    } catch (error) {
      tell(`Not cleared: ${error.message}`);
    }
  };
  useEffect(() => {
    const keys = (event) => {
      const inField = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
      if (event.key === "Escape") return inField ? event.target.blur() : select("");
      if (inField || event.ctrlKey || event.metaKey || event.altKey) return;
      const act = { "/": () => document.getElementById("search").focus(), p: pause, r: () => document.getElementById("replay")?.click() }[event.key];
      if (act) (event.preventDefault(), act());
    };
    addEventListener("keydown", keys);
    return () => removeEventListener("keydown", keys);
  });

  const summaries = useMemo(() => imported && imported.map(har.summary), [imported]);
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
  const save = async () => {
    try {
      const entries = imported || (await Promise.all(shown.slice(0, 1000).map((one) => api.detail(one.id).catch(() => null)))).filter(Boolean);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([JSON.stringify(har.write(entries.toReversed(), state ? state.portway_version : ""))], { type: "application/json" }));
      link.download = "portway.har";
      link.click();
      URL.revokeObjectURL(link.href);
    } catch (error) {
      tell(`Not exported: ${error.message}`);
    }
  };
  const endpoints = (state && state.endpoints) || [];
  const chosen = imported && imported.find((one) => one.id === selected);
  const origin = (endpoints.find((one) => one.name === (requests.find((it) => it.id === selected) || {}).endpoint) || endpoints[0] || { url: location.origin }).url;
  return html`<main class=${`inspect ${selected ? "with-detail" : ""}`}>
    <section class="left" aria-label="Captured requests">
      <${FilterBar} filter=${filter} change=${setFilter} fault=${fault} />
      <div class="row tools">
        <span class="soft grow">${requests.length} ${requests.length === 1 ? "request" : "requests"}${query ? " found" : ""}${paused && waiting ? ", more have come" : ""}</span>
        ${imported ? html`<button onClick=${() => (setImported(null), select(""))}>Close the file</button>` : html`
          <button aria-pressed=${paused} onClick=${pause} title="( p )">${paused ? "Go on" : "Pause"}</button>
          <button onClick=${clear} title="Forgets all requests">Clear</button>`}
        <button onClick=${save} disabled=${!requests.length}>Export</button>
        <label class="button">Import<input type="file" accept=".har,application/json" onChange=${take} /></label>
      </div>
      <${List} requests=${requests} selected=${selected} select=${select} empty=${html`<${Empty} query=${query} endpoints=${endpoints} />`} />
    </section>
    ${selected ? html`<${Detail} id=${selected} version=${versions[selected] || 0} imported=${chosen} find=${filter.text} origin=${origin} select=${select} close=${() => select("")} tell=${tell} />`
      : html`<section class="detail none"><p class="soft">Choose a request to see all of it.</p></section>`}
  </main>`;
}

/** The one that is open is fetched again when it changed. */
function bump(now, news) {
  let next = now;
  for (const { id } of news) if (id in next) next = { ...next, [id]: next[id] + 1 };
  return next;
}

function Empty({ query, endpoints }) {
  if (query) return html`<p class="notice">No request is like that.</p>`;
  const watched = endpoints.filter((one) => /^https?:/.test(one.url) && one.inspect);
  if (!endpoints.length) return html`<p class="notice">No endpoint is running.</p>`;
  if (!watched.length) return html`<p class="notice">Only requests of HTTP endpoints with inspection are shown, and none of those is running.</p>`;
  return html`<div class="notice"><p>No request so far. Send the first:</p>${watched.map((one) => html`<pre key=${one.url} class="text">curl ${one.url}</pre>`)}</div>`;
}

render(html`<${App} />`, document.getElementById("app"));
