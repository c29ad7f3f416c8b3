// How values are written.

export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  for (const unit of ["kB", "MB", "GB"]) {
    bytes /= 1000;
    if (bytes < 1000 || unit === "GB") return `${bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)} ${unit}`;
  }
}

/** Nanoseconds. */
export function duration(ns) {
  const ms = ns / 1e6;
  if (ms < 10) return `${ms.toFixed(2)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(2)} s` : `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

export function time(start) {
  const at = new Date(start);
  const two = (number) => String(number).padStart(2, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

/** The same with its day, where that is another. */
export function moment(start) {
  const at = new Date(start);
  const isToday = at.toDateString() === new Date().toDateString();
  const two = (number) => String(number).padStart(2, "0");
  return isToday || isNaN(at) ? time(start) : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time(start)}`;
}

/** The class of a status: its colour. */
export function tone(status) {
  return status ? `s${Math.floor(status / 100)}` : "pending";
}

const SECRET = /^(authorization|proxy-authorization|cookie|set-cookie|x-api-key|x-auth-token|x-csrf-token)$/i;

export function isSecret(name) {
  return SECRET.test(name);
}

export const MASK = "••••••";
