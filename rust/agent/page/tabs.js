// Tabs: one is shown, arrow keys go from one to the next.
import { html } from "./html.js";

/** `titles` by name; `children`: what else stands in the row; `panel`: what is shown. */
export function Tabs({ id, label, titles, chosen, choose, panel, children }) {
  const names = Object.keys(titles);
  const keys = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -names.indexOf(chosen), End: names.length - 1 - names.indexOf(chosen) }[event.key];
    if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const next = names[(names.indexOf(chosen) + step + names.length) % names.length];
    choose(next);
    event.currentTarget.querySelector(`[data-tab="${next}"]`).focus();
  };
  return html`<div class="row tabs">
      <div class="row" role="tablist" aria-label=${label} onKeyDown=${keys}>
        ${names.map((name) => html`<button key=${name} type="button" role="tab" id=${`${id}-${name}`} data-tab=${name} aria-controls=${`${id}-panel`}
          aria-selected=${name === chosen} tabindex=${name === chosen ? 0 : -1} onClick=${() => choose(name)}>${titles[name]}</button>`)}
      </div>
      ${children}
    </div>
    <div role="tabpanel" id=${`${id}-panel`} aria-labelledby=${`${id}-${chosen}`}>${panel}</div>`;
}
