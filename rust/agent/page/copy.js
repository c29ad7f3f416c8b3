// A request as a command or a program that sends it again.
import { isText, text } from "./bytes.js";

// What the tool itself says, or what holds between two neighbours only.
const LEFT_OUT = /^(content-length|transfer-encoding|connection|keep-alive|x-forwarded-(for|host|proto)|accept-encoding)$/i;

const quoted = (value) => `'${value.replaceAll("'", "'\\''")}'`;

function sent({ headers, body }) {
  const kept = headers.filter(([name]) => !LEFT_OUT.test(name) && name.toLowerCase() !== "host");
  const readable = isText(body);
  return { kept, readable, said: readable ? text(body) : "" };
}

const FORMS = {
  curl(request, url) {
    const { kept, readable, said } = sent(request);
    const lines = [`curl -X ${request.method} ${quoted(url)}`, ...kept.map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`)];
    if (request.body.length) lines.push(readable ? `--data-binary ${quoted(said)}` : "--data-binary @body.bin");
    return lines.join(" \\\n  ");
  },
  httpie(request, url) {
    const { kept, readable, said } = sent(request);
    const lines = [`http ${request.method} ${quoted(url)}`, ...kept.map(([name, value]) => quoted(`${name}:${value}`))];
    if (request.body.length) lines.push(readable ? `--raw=${quoted(said)}` : "< body.bin");
    return lines.join(" \\\n  ");
  },
  python(request, url) {
    const { kept, readable, said } = sent(request);
    const headers = kept.map(([name, value]) => `        ${JSON.stringify(name)}: ${JSON.stringify(value)},\n`).join("");
    const body = !request.body.length ? "None" : readable ? `${JSON.stringify(said)}.encode()` : 'open("body.bin", "rb").read()';
    return `import urllib.request\n\nrequest = urllib.request.Request(\n    ${JSON.stringify(url)},\n    method=${JSON.stringify(request.method)},\n    headers={\n${headers}    },\n    data=${body},\n)\nwith urllib.request.urlopen(request) as response:\n    print(response.status, response.read().decode(errors="replace"))\n`;
  },
  fetch(request, url) {
    const { kept, readable, said } = sent(request);
    const options = { method: request.method, headers: kept.map(([name, value]) => [name, value]) };
    if (request.body.length && readable) options.body = said;
    const note = request.body.length && !readable ? "// body: the bytes of body.bin\n" : "";
    return `${note}const response = await fetch(${JSON.stringify(url)}, ${JSON.stringify(options, null, 2)});\nconsole.log(response.status, await response.text());\n`;
  },
};

export const NAMES = { curl: "curl", httpie: "HTTPie", python: "Python", fetch: "fetch" };

/** `request`: method, path, headers, body. `origin`: the endpoint's URL. */
export function written(form, request, origin) {
  return FORMS[form](request, origin.replace(/\/$/, "") + request.path);
}
