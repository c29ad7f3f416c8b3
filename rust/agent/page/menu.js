// A button with choices behind it.
import { html, useEffect, useRef, useState } from "./html.js";

/** `choices`: titles by name; `choose` gets a name. Arrow keys go from one to the next, Escape closes it. */
export function Menu({ id, title, choices, choose, disabled }) {
  const [open, setOpen] = useState(false);
  const box = useRef(null);
  const items = () => [...box.current.querySelectorAll("[role=menuitem]")];
  const close = () => (setOpen(false), box.current.querySelector("button").focus());
  useEffect(() => {
    if (!open) return;
    items()[0].focus();
    const elsewhere = (event) => box.current.contains(event.target) || setOpen(false);
    addEventListener("pointerdown", elsewhere);
    return () => removeEventListener("pointerdown", elsewhere);
  }, [open]);
  const keys = (event) => {
    if (!open) return;
    // They are the menu's, and none of the page's.
    event.stopPropagation();
    if (event.key === "Tab") return setOpen(false);
    const all = items();
    const at = all.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1 + all.length, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined && event.key !== "Escape") return;
    event.preventDefault();
    if (to === undefined) close();
    else all[to % all.length].focus();
  };
  return html`<div class="menu" ref=${box} onKeyDown=${keys}>
    <button type="button" id=${id} aria-haspopup="menu" aria-expanded=${open} disabled=${disabled} onClick=${() => setOpen(!open)}>${title} <span aria-hidden="true">▾</span></button>
    ${open && html`<div role="menu" aria-labelledby=${id}>${Object.entries(choices).map(([name, text]) => html`<button key=${name} type="button" role="menuitem" tabindex="-1"
      data-name=${name} onClick=${() => (close(), choose(name))}>${text}</button>`)}</div>`}
  </div>`;
}
