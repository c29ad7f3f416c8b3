// Looking for words in what is shown.
import { html, useEffect, useRef, useState } from "./html.js";

/** Matches that are marked in one text. */
const MOST = 2000;

/** A text with what is looked for marked in it. */
export function marked(source, find) {
  if (!find) return source;
  const parts = [];
  const [lower, wanted] = [source.toLowerCase(), find.toLowerCase()];
  // Where small letters are longer than capitals, places would not fit.
  if (lower.length !== source.length) return source;
  let at = 0;
  for (let next = lower.indexOf(wanted); next >= 0 && parts.length < 2 * MOST; next = lower.indexOf(wanted, at)) {
    parts.push(source.slice(at, next), html`<mark>${source.slice(next, next + wanted.length)}</mark>`);
    at = next + wanted.length;
  }
  return parts.length ? [...parts, source.slice(at)] : source;
}

export function holds(source, find) {
  return Boolean(find) && source.toLowerCase().includes(find.toLowerCase());
}

/** The field, and the way from one match to the next inside `within` (a ref). */
export function Find({ value, change, within }) {
  const [place, setPlace] = useState({ at: -1, count: 0 });
  const current = useRef(null);
  // Who presses Enter at once is somewhere already when the matches are counted.
  const moved = useRef(false);
  const marks = () => (within.current ? [...within.current.querySelectorAll("mark:not(.wrong)")] : []);
  useEffect(() => {
    // Behind the frame in which views put their marks.
    const soon = setTimeout(() => moved.current || setPlace({ at: -1, count: value ? marks().length : 0 }), 50);
    return () => clearTimeout(soon);
  }, [value]);
  const go = (step) => {
    const all = marks();
    if (current.current) current.current.classList.remove("current");
    if (!all.length) return setPlace({ at: -1, count: 0 });
    const at = (Math.max(place.at, step < 0 ? 0 : -1) + step + all.length) % all.length;
    moved.current = true;
    current.current = all[at];
    all[at].classList.add("current");
    all[at].scrollIntoView({ block: "center" });
    setPlace({ at, count: all.length });
  };
  const keys = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    go(event.shiftKey ? -1 : 1);
  };
  const told = !value ? "" : !place.count ? "not here" : place.at < 0 ? `${place.count} here` : `${place.at + 1} of ${place.count}`;
  return html`<span class="find"><input id="find" type="search" size="14" placeholder="Find in this ( f )" aria-label="Find in this request" value=${value}
    onInput=${(event) => ((moved.current = false), change(event.target.value))} onKeyDown=${keys} /> <span class="soft" role="status">${told}</span></span>`;
}
