// Two texts beside each other, line by line.

/** Differences that are looked for one by one; of more, all that is old stands before all that is new. */
const MOST = 2000;
/** Lines around a difference, lines of one that are shown, and characters of a long line around what differs in it. */
const AROUND = 3;
const SHOWN = 400;
const BESIDE = 80;

/** Lines of both as `[kind, line]`, kind being "same", "old" or "new". */
export function lines(before, after) {
  const [old, now] = [before.split("\n"), after.split("\n")];
  let start = 0;
  while (start < old.length && start < now.length && old[start] === now[start]) start++;
  let end = 0;
  while (end < old.length - start && end < now.length - start && old[old.length - 1 - end] === now[now.length - 1 - end]) end++;
  const same = (line) => ["same", line];
  const middle = between(old.slice(start, old.length - end), now.slice(start, now.length - end));
  return [...old.slice(0, start).map(same), ...middle, ...old.slice(old.length - end).map(same)];
}

// The shortest script that makes one of the other (Myers, An O(ND) difference algorithm).
function between(old, now) {
  const reach = Math.min(MOST, old.length + now.length);
  // How far along `old` each diagonal has come, by the number of differences.
  const trace = [];
  const far = new Int32Array(2 * reach + 3);
  for (let count = 0; count <= reach; count++) {
    for (let diagonal = -count; diagonal <= count; diagonal += 2) {
      const at = reach + 1 + diagonal;
      let x = diagonal === -count || (diagonal !== count && far[at - 1] < far[at + 1]) ? far[at + 1] : far[at - 1] + 1;
      while (x < old.length && x - diagonal < now.length && old[x] === now[x - diagonal]) x++;
      far[at] = x;
      if (x >= old.length && x - diagonal >= now.length) return walked(old, now, trace);
    }
    // What the next round needs of this one; the rest would be memory for nothing.
    trace.push(far.slice(reach - count, reach + count + 3));
  }
  return [...old.map((line) => ["old", line]), ...now.map((line) => ["new", line])];
}

/** The way back through what was reached with ever fewer differences. */
function walked(old, now, trace) {
  const found = [];
  let [x, y] = [old.length, now.length];
  for (let count = trace.length; count >= 0; count--) {
    const diagonal = x - y;
    let [fromX, fromY] = [0, 0];
    if (count > 0) {
      const far = (at) => trace[count - 1][at + count] ?? 0;
      const down = diagonal === -count || (diagonal !== count && far(diagonal - 1) < far(diagonal + 1));
      fromX = down ? far(diagonal + 1) : far(diagonal - 1);
      fromY = fromX - (down ? diagonal + 1 : diagonal - 1);
    }
    while (x > fromX && y > fromY) (found.push(["same", old[--x]]), y--);
    if (count > 0) found.push(x > fromX ? ["old", old[--x]] : ["new", now[--y]]);
  }
  return found.reverse();
}

/** What of it is shown: without the lines that are far from a difference, and of lines that were changed only a little, what was: `[kind, [before, changed, after]]`. */
export function folded(changed) {
  const shown = [];
  for (let at = 0; at < changed.length; ) {
    const run = runAt(changed, at);
    at += run.length;
    const isEnd = at === changed.length;
    if (run[0][0] === "same") {
      const [head, tail] = [at === run.length ? 0 : AROUND, isEnd ? 0 : AROUND];
      const left = run.length - head - tail;
      shown.push(...(left > 1 ? [...run.slice(0, head), ["gap", `… ${left} lines that are the same …`], ...run.slice(run.length - tail)] : run));
      continue;
    }
    const other = isEnd ? [] : runAt(changed, at);
    if (run[0][0] === "old" && other.length === run.length && other[0][0] === "new") {
      at += other.length;
      const both = run.map(([, line], index) => parts(line, other[index][1]));
      shown.push(...cut(both.map(([one]) => ["old", one])), ...cut(both.map(([, one]) => ["new", one])));
    } else shown.push(...cut(run));
  }
  return shown;
}

function runAt(changed, start) {
  let end = start;
  while (end < changed.length && changed[end][0] === changed[start][0]) end++;
  return changed.slice(start, end);
}

function cut(run) {
  return run.length <= SHOWN ? run : [...run.slice(0, SHOWN), ["gap", `… ${run.length - SHOWN} more …`]];
}

/** Where two lines differ. */
function parts(old, now) {
  const most = Math.min(old.length, now.length);
  let start = 0;
  while (start < most && old[start] === now[start]) start++;
  let end = 0;
  while (end < most - start && old[old.length - 1 - end] === now[now.length - 1 - end]) end++;
  const of = (line) => [before(line.slice(0, start)), line.slice(start, line.length - end), after(line.slice(line.length - end))];
  return [of(old), of(now)];
}

const before = (said) => (said.length > 2 * BESIDE ? `…${said.slice(-BESIDE)}` : said);
const after = (said) => (said.length > 2 * BESIDE ? `${said.slice(0, BESIDE)}…` : said);
