// The status page: the agent, its endpoints with their figures, and its configuration as it was read.
import { html, useEffect, useRef, useState } from "./html.js";
import { api } from "./api.js";
import { Pairs } from "./body.js";
import { duration } from "./show.js";

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
  const leg = status.session.legs[0] || {};
  return html`<main class="status-page">
    ${fault && html`<p class="fault" role="alert">${fault}</p>`}
    <h2>Agent</h2>
    <${Pairs} pairs=${[
      ["Status", status.status],
      ["Version", status.portway_version || status.agent_version],
      ["Region", leg.region || "–"],
      ["Round trip", leg.latency || "–"],
    ]} />
    <h2>Endpoints</h2>
    ${status.endpoints.length === 0 && html`<p class="soft">None is running.</p>`}
    ${status.endpoints.map((endpoint) => html`<${Endpoint} key=${endpoint.name} endpoint=${endpoint} history=${history.current} />`)}
    <h2>Configuration</h2>
    <p class="soft">As it was read; tokens, keys and passwords are left out.</p>
    <pre class="text" tabindex="0">${JSON.stringify(status.config, null, 2)}</pre>
  </main>`;
}

function remember(history, status) {
  history.at.push(Date.now() / 1000);
  if (history.at.length > KEPT) history.at.shift();
  for (const { name, metrics } of status.endpoints) {
    const rows = (history.endpoints[name] ||= { counts: [], last: null });
    const count = metrics.http.count || metrics.conns.count;
    rows.counts.push(rows.last === null ? 0 : Math.max(0, count - rows.last));
    rows.last = count;
    while (rows.counts.length < history.at.length) rows.counts.unshift(0);
    while (rows.counts.length > history.at.length) rows.counts.shift();
  }
}

function Endpoint({ endpoint, history }) {
  const { conns, http } = endpoint.metrics;
  const isHttp = /^https?:/.test(endpoint.url);
  const row = (title, of) => html`<tr><th scope="row">${title}</th><td>${of.count}</td>
    ${["rate1", "rate5", "rate15"].map((name) => html`<td key=${name}>${of[name].toFixed(2)}</td>`)}
    ${["p50", "p90", "p95", "p99"].map((name) => html`<td key=${name}>${of.count ? duration(of[name]) : "–"}</td>`)}</tr>`;
  return html`<section class="endpoint">
    <h3><a href=${isHttp ? endpoint.url : undefined} rel="noopener noreferrer" target="_blank">${endpoint.url}</a> <span class="soft">→ ${endpoint.upstream.url}</span></h3>
    <p class="soft">${endpoint.name}${conns.gauge ? `, ${conns.gauge} open` : ""}${isHttp && !endpoint.inspect ? ", requests are not kept" : ""}</p>
    <${Chart} title=${isHttp ? "requests a second" : "connections a second"} at=${history.at} values=${(history.endpoints[endpoint.name] || { counts: [] }).counts} />
    <div class="wide"><table class="figures"><thead><tr><th></th><th>all</th><th>/s, 1 min</th><th>5 min</th><th>15 min</th><th>p50</th><th>p90</th><th>p95</th><th>p99</th></tr></thead>
    <tbody>${row("Connections", conns)}${isHttp && row("Requests", http)}</tbody></table></div>
  </section>`;
}

function Chart({ title, at, values }) {
  const box = useRef(null);
  const plot = useRef(null);
  useEffect(() => {
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    const options = {
      ...{ width: box.current.clientWidth, height: 120, legend: { show: false }, cursor: { drag: { setScale: false } } },
      axes: [{ ...axis, grid: { show: false }, incrs: [1, 5, 10, 30, 60, 300] }, { ...axis, size: 46 }],
      scales: { y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
      series: [{}, { stroke: colour("--main"), width: 2, fill: `${colour("--main")}22`, points: { show: false } }],
    };
    plot.current = new window.uPlot(options, [at.slice(), values.slice()], box.current);
    const watch = new ResizeObserver(() => plot.current.setSize({ width: box.current.clientWidth, height: 120 }));
    watch.observe(box.current);
    return () => (watch.disconnect(), plot.current.destroy());
  }, []);
  useEffect(() => plot.current && plot.current.setData([at.slice(), values.slice()]));
  return html`<div class="chart" ref=${box} role="img" aria-label=${`${title}: ${values.length ? values[values.length - 1] : 0} now`}></div>`;
}
