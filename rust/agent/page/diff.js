// Two texts beside each other, line by line.

// More lines than this are not compared: the table that finds what they share grows with both.
const MOST = 1500;

/** Lines of both as `[kind, line]`, kind being "same", "old" or "new"; null where they are too long to compare. */
export function lines(before, after) {
  const old = before.split("\n");
  const now = after.split("\n");
  let start = 0;
  while (start < old.length && start < now.length && old[start] === now[start]) start++;
  let end = 0;
  while (end < old.length - start && end < now.length - start && old[old.length - 1 - end] === now[now.length - 1 - end]) end++;
  const [a, b] = [old.slice(start, old.length - end), now.slice(start, now.length - end)];
  if (a.length > MOST || b.length > MOST) return null;
  // Longest common subsequence, from behind.
  const width = b.length + 1;
  const table = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const [skipOld, skipNew] = [table[(i + 1) * width + j], table[i * width + j + 1]];
      table[i * width + j] = a[i] === b[j] ? table[(i + 1) * width + j + 1] + 1 : Math.max(skipOld, skipNew);
    }
  }
  const found = old.slice(0, start).map((line) => ["same", line]);
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) (found.push(["same", a[i]]), i++, j++);
    else if (j >= b.length || (i < a.length && table[(i + 1) * width + j] >= table[i * width + j + 1])) found.push(["old", a[i++]]);
    else found.push(["new", b[j++]]);
  }
  return [...found, ...old.slice(old.length - end).map((line) => ["same", line])];
}
