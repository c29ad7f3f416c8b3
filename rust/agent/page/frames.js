// Frames of a WebSocket, both ways, in the order in which they came.
import { html, useEffect, useState } from "./html.js";
import { decode } from "./bytes.js";
import { marked } from "./find.js";
import * as formats from "./formats.js";
import { duration, size } from "./show.js";

/** Frames that are shown: the latest. */
const SHOWN = 2000;
const WAYS = { up: ["↑", "visitor to upstream"], down: ["↓", "upstream to visitor"] };

/** One direction's bytes, each piece with the time at which it came, as frames. */
export async function framesOf(pieces, way) {
  const bytes = (pieces || []).map((piece) => decode(piece.raw));
  const whole = new Uint8Array(bytes.reduce((sum, piece) => sum + piece.length, 0));
  const ends = [];
  let at = 0;
  for (const [index, piece] of bytes.entries()) {
    whole.set(piece, at);
    at += piece.length;
    ends.push([at, pieces[index].at]);
  }
  const found = await formats.inflated(formats.frames(whole));
  // A frame came when its last byte did.
  let piece = 0;
  return found.map((frame) => {
    while (piece < ends.length - 1 && ends[piece][0] < frame.end) piece++;
    return { ...frame, way, at: ends[piece][1] };
  });
}

export function Frames({ entry, find }) {
  const [found, setFound] = useState(null);
  useEffect(() => {
    let wanted = true;
    const both = [framesOf(entry.request.stream, "up"), framesOf(entry.response.stream, "down")];
    Promise.all(both).then((all) => wanted && setFound(all.flat().sort((one, other) => one.at - other.at)));
    return () => (wanted = false);
  }, [entry]);
  if (!found) return html`<p class="soft">…</p>`;
  if (!found.length) return html`<p class="soft">No frames so far.</p>`;
  const cut = entry.request.truncated || entry.response.truncated;
  const first = Math.max(0, found.length - SHOWN);
  return html`${cut && html`<p class="fault">Only the first frames were kept: there were more than the limit.</p>`}
    <p class="soft">${found.length} ${found.length === 1 ? "frame" : "frames"}${first > 0 ? `, the last ${SHOWN} of them` : ""}</p>
    <div class="wide" tabindex="0" role="region" aria-label="Frames"><table class="frames"><thead><tr><th scope="col">At</th><th scope="col">Way</th><th scope="col">Kind</th><th scope="col">Size</th><th scope="col">Content</th></tr></thead><tbody>
    ${found.slice(first).map((frame, index) => html`<tr key=${first + index} class=${frame.way}>
      <td>${duration(frame.at)}</td><td class="way" title=${WAYS[frame.way][1]}>${WAYS[frame.way][0]}</td>
      <td>${frame.kind}${frame.final ? "" : " …"}</td><td title=${frame.plain ? `${size(frame.length)} as it was sent` : undefined}>${size(frame.plain ? frame.plain.length : frame.length)}</td><td>${marked(formats.said(frame).slice(0, 4000), find)}${frame.cut ? " (cut)" : ""}</td></tr>`)}
  </tbody></table></div>`;
}
