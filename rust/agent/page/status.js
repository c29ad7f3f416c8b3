// The status page: the agent, its endpoints with their figures, and its configuration as it was read.
import { html, useEffect, useRef, useState } from "./html.js";
import { api } from "./api.js";
import { Pairs } from "./body.js";
import { duration, time } from "./show.js";

const EVERY = 1000;
const KEPT = 300;

export function Status({ setState, setUp }) {
  const [status, setStatus] = useState(null);
  const [fault, setFault] = useState("");
  const history = useRef({ at: [], endpoints: {} });
  useEffect(() => {
    let over = false;
    let timer = 0;
    const look = async () => {
      try {
        const now = await api.status();
        if (over) return;
        remember(history.current, now);
        (setStatus(now), setFault(""), setState(now), setUp(true));
      } catch (error) {
        if (!over) (setFault(`The agent does not answer: ${error.message}`), setUp(false));
      }
      if (!over) timer = setTimeout(look, EVERY);
    };
    look();
    return () => ((over = true), clearTimeout(timer));
  }, []);
  if (!status) return html`<main class="status-page">${fault ? html`<p class="fault" role="alert">${fault}</p>` : html`<p class="soft">…</p>`}</main>`;
  const { legs } = status.session;
  return html`<main class="status-page">
    ${fault && html`<p class="fault" role="alert">${fault}</p>`}
    <h2>Agent</h2>
    <${Pairs} pairs=${[
      ["Status", status.status],
      ["Version", status.portway_version || status.agent_version],
      ["Region", legs.map((leg) => leg.region).join(", ") || "–"],
      ["Round trip", legs.map((leg) => leg.latency || "–").join(", ") || "–"],
    ]} title="Agent" />
    <h2>Endpoints</h2>
    ${status.endpoints.length === 0 && html`<p class="soft">None is running.</p>`}
    ${status.endpoints.map((endpoint) => html`<${Endpoint} key=${endpoint.name} endpoint=${endpoint} history=${history.current} />`)}
    <h2>Configuration</h2>
    <p class="soft">As it was read; tokens, keys and passwords are left out.</p>
    <pre class="text" tabindex="0" aria-label="Configuration">${JSON.stringify(status.config, null, 2)}</pre>
  </main>`;
}

function remember(history, status) {
  const now = Date.now() / 1000;
  const since = history.at.length ? now - history.at[history.at.length - 1] : 0;
  history.at.push(now);
  if (history.at.length > KEPT) history.at.shift();
  for (const { name, url, metrics } of status.endpoints) {
    const of = isHttp(url) ? metrics.http : metrics.conns;
    const known = (history.endpoints[name] ||= { last: null, lines: [[], [], []] });
    const rate = known.last === null || since <= 0 ? 0 : Math.max(0, of.count - known.last) / since;
    known.last = of.count;
    for (const [line, value] of [rate, of.p50 / 1e6, of.p99 / 1e6].entries()) {
      const values = known.lines[line];
      values.push(value);
      while (values.length < history.at.length) values.unshift(null);
      while (values.length > history.at.length) values.shift();
    }
  }
}

const isHttp = (url) => /^https?:/.test(url);

function Endpoint({ endpoint, history }) {
  const { conns, http } = endpoint.metrics;
  const web = isHttp(endpoint.url);
  const [rate, middle, slow] = (history.endpoints[endpoint.name] || { lines: [[], [], []] }).lines;
  const what = web ? "Requests" : "Connections";
  const row = (title, of) => html`<tr><th scope="row">${title}</th><td>${of.count}</td>
    ${["rate1", "rate5", "rate15"].map((name) => html`<td key=${name}>${of[name].toFixed(2)}</td>`)}
    ${["p50", "p90", "p95", "p99"].map((name) => html`<td key=${name}>${of.count ? duration(of[name]) : "–"}</td>`)}</tr>`;
  const heads = ["all", "/s, 1 min", "5 min", "15 min", "p50", "p90", "p95", "p99"];
  return html`<section class="endpoint">
    <h3>${web ? html`<a href=${endpoint.url} rel="noopener noreferrer" target="_blank">${endpoint.url}</a>` : endpoint.url} <span class="soft">→ ${endpoint.upstream.url}</span></h3>
    <p class="soft">${[endpoint.name, endpoint.description, conns.gauge ? `${conns.gauge} open` : "", web && !endpoint.inspect ? "requests are not kept (inspect: false)" : ""].filter(Boolean).join(" · ")}</p>
    <div class="charts">
      <${Chart} title=${`${what} a second`} at=${history.at} lines=${[rate]} />
      <${Chart} title=${web ? "Time to answer in ms: middle, and 99 of 100" : "Length in ms: middle, and 99 of 100"} at=${history.at} lines=${[middle, slow]} />
    </div>
    <div class="wide" tabindex="0" role="region" aria-label=${`Figures of ${endpoint.name}`}><table class="figures"><thead><tr><td></td>${heads.map((head) => html`<th scope="col" key=${head}>${head}</th>`)}</tr></thead>
    <tbody>${row("Connections", conns)}${web && row("Requests", http)}</tbody></table></div>
  </section>`;
}

const clock = (seconds) => time(seconds * 1000).slice(0, 8);

function Chart({ title, at, lines }) {
  const box = useRef(null);
  const plot = useRef(null);
  const data = [at.slice(), ...lines.map((line) => line.slice())];
  useEffect(() => {
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    const series = ["--main", "--move"].slice(0, lines.length).map((name, index) => ({ stroke: colour(name), width: 2, fill: index ? undefined : `${colour(name)}22`, points: { show: false } }));
    const options = {
      ...{ width: box.current.clientWidth, height: 120, legend: { show: false }, cursor: { drag: { setScale: false } } },
      axes: [{ ...axis, grid: { show: false }, size: 28, space: 80, values: (_, all) => all.map(clock) }, { ...axis, size: 46 }],
      // The last minute at least, so that the first figures have their place.
      scales: { x: { range: ({ data: [times] }) => [Math.min(times[0], times.at(-1) - 60), times.at(-1)] }, y: { range: (_, __, most) => [0, Math.max(1, (most || 0) * 1.1)] } },
      series: [{}, ...series],
    };
    plot.current = new window.uPlot(options, data, box.current);
    const watch = new ResizeObserver(() => plot.current.setSize({ width: box.current.clientWidth, height: 120 }));
    watch.observe(box.current);
    return () => (watch.disconnect(), plot.current.destroy());
  }, []);
  useEffect(() => plot.current && plot.current.setData(data));
  const now = lines.map((line) => (line[line.length - 1] || 0).toFixed(1)).join(" and ");
  return html`<figure><figcaption>${title}</figcaption><div class="chart" ref=${box} role="img" aria-label=${`${title}: ${now} now`}></div></figure>`;
}
