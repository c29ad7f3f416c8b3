// The agent's local API, as this page uses it.

async function asked(path, options) {
  const response = await fetch(path, options);
  if (response.ok) return response.status === 204 ? null : response.json();
  throw new Error(await reason(response));
}

async function reason(response) {
  try {
    const told = await response.json();
    return told.details.err || told.msg;
  } catch {
    // Its status has to do.
    return `${response.status} ${response.statusText}`.trim();
  }
}

const json = (method, body) => ({ method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const api = {
  detail: (id) => asked(`/api/ui/requests/${encodeURIComponent(id)}`),
  clear: () => asked("/api/requests/http", { method: "DELETE" }),
  replay: (request) => asked("/api/ui/replay", json("POST", request)),
  status: () => asked("/api/ui/status"),
};

/** Before the next try, in ms. Browsers try again by themselves where nobody answers, but not where somebody refuses. */
const AGAIN = 2000;

/**
 * What happens, live: `see.requests(summaries)`, `see.gone(ids)`, `see.oldest(id)` that is still there, `see.state(status)`, `see.link(isUp, why)`. The agent
 * leaves out what the filter does not want. Returns what ends it.
 */
export function follow(filter, see) {
  const path = `/api/ui/events?${filter}`;
  let source = null;
  let timer = 0;
  let over = false;
  const listen = () => {
    source = new EventSource(path);
    source.onopen = () => see.link(true, "");
    source.onerror = async () => {
      const refused = source.readyState === EventSource.CLOSED ? await refusal(path) : null;
      if (over) return;
      see.link(false, refused ? refused.why : "");
      // A filter that is none does not become one.
      if (refused && refused.status !== 400) timer = setTimeout(listen, AGAIN);
    };
    source.addEventListener("reset", () => see.reset());
    source.addEventListener("requests", (event) => see.requests(JSON.parse(event.data)));
    source.addEventListener("gone", (event) => see.gone(JSON.parse(event.data)));
    source.addEventListener("oldest", (event) => see.oldest(JSON.parse(event.data)));
    source.addEventListener("state", (event) => see.state(JSON.parse(event.data)));
  };
  listen();
  return () => ((over = true), clearTimeout(timer), source.close());
}

/** Why the agent does not let this page follow: an event source keeps it to itself. */
async function refusal(path) {
  const stop = new AbortController();
  try {
    const response = await fetch(path, { signal: stop.signal });
    return { status: response.status, why: response.ok ? "" : await reason(response) };
  } catch {
    return { status: 0, why: "" };
  } finally {
    stop.abort();
  }
}
