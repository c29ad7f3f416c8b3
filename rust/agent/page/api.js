// The agent's local API, as this page uses it.

async function asked(path, options) {
  const response = await fetch(path, options);
  if (response.ok) return response.status === 204 ? null : response.json();
  let why = `${response.status} ${response.statusText}`;
  try {
    const told = await response.json();
    why = (told.details && told.details.err) || told.msg || why;
  } catch {
    // Its status has to do.
  }
  throw new Error(why);
}

const json = (method, body) => ({ method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const api = {
  detail: (id) => asked(`/api/ui/requests/${encodeURIComponent(id)}`),
  clear: () => asked("/api/requests/http", { method: "DELETE" }),
  replay: (request) => asked("/api/ui/replay", json("POST", request)),
  status: () => asked("/api/ui/status"),
};

/**
 * What happens, live: `see.requests(summaries)`, `see.gone(ids)`, `see.oldest(id)` that is still there, `see.state(status)`, `see.link(isUp)`. The agent leaves
 * out what the filter does not want. Returns what ends it.
 */
export function follow(filter, see) {
  const source = new EventSource(`/api/ui/events?${filter}`);
  source.onopen = () => see.link(true);
  source.onerror = () => see.link(false);
  source.addEventListener("reset", () => see.reset());
  source.addEventListener("requests", (event) => see.requests(JSON.parse(event.data)));
  source.addEventListener("gone", (event) => see.gone(JSON.parse(event.data)));
  source.addEventListener("oldest", (event) => see.oldest(JSON.parse(event.data)));
  source.addEventListener("state", (event) => see.state(JSON.parse(event.data)));
  return () => source.close();
}
