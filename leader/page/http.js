// http.js - which leader is asked, requests with the key, and streams of server-sent events read with
// fetch, which can send one where EventSource cannot.
let key = sessionStorage.getItem("hydac.key") || "";
let needsKey = document.documentElement.dataset.key === "need" && !key;

function headers() {
  return {"Content-Type": "application/json", ...(key ? {Authorization: `Bearer ${key}`} : {})};
}

// ---- Leaders ----

const SILENT_MS = 1000;  // a leader that says nothing, and no more when it is asked, is left
let leader = "";         // that is asked: "", whose page this is, or the address of another one
const leaders = [""];    // that are known

/* What a status says of the others. */
function knowLeaders(others) {
  for (const {url} of others || [])
    if (url && url !== location.origin && !leaders.includes(url)) leaders.push(url);
}

/* That one does not serve: the next. */
function nextLeader(from) {
  if (from === leader) leader = leaders[(leaders.indexOf(leader) + 1) % leaders.length];
}

/* There, whether it serves or not. */
async function isThere(at) {
  try {
    await fetch(`${at}/health`, {cache: "no-store", signal: AbortSignal.timeout(SILENT_MS)});
    return true;
  } catch {
    return false;
  }
}

// ---- Requests ----

class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function refusal(response) {
  let text = `The leader answered with status ${response.status}.`;
  try {
    text = (await response.json()).error.message || text;
  } catch {
    // not an object of ours: a proxy's page, perhaps
  }
  return new Refused(response.status, text);
}

/* "event: name", "id: ...", "data: ..." and a blank line make an event; comments are left out. */
class Events {
  constructor(take) {
    this.take = take;
    this.rest = "";
  }
  feed(text) {
    const parts = (this.rest + text).split(/\r?\n\r?\n/);
    this.rest = parts.pop();
    for (const part of parts) {
      let name = "message", data = "", id = "";
      for (const line of part.split(/\r?\n/)) {
        if (line.startsWith("event:"))
          name = line.slice(6).trim();
        else if (line.startsWith("id:"))
          id = line.slice(3).trim();
        else if (line.startsWith("data:"))
          data += (data ? "\n" : "") + line.slice(5).replace(/^ /, "");
      }
      if (data) this.take(name, data, id);
    }
  }
}

/* Reads to the end of a stream; given up when its leader, one of several, is silent. */
async function read(at, path, options, take) {
  const all = {...headers(), ...options.headers};
  const response = await fetch(
      at + path, {...options, headers: all, cache: "no-store", redirect: "manual"});
  if (response.type === "opaqueredirect") throw new Refused(503, "Another leader serves.");
  if (!response.ok) throw await refusal(response);
  const events = new Events(take), reader = response.body.getReader(), decoder = new TextDecoder();
  for (;;) {
    const {done, value} = await reader.read();
    options.heard();
    if (done) return;
    events.feed(decoder.decode(value, {stream: true}));
  }
}

/* Calls take(name, data, id) for each event; returns at the stream's end. If it does not end as it
 * should the next one that asks finds another leader. */
async function stream(path, options, take) {
  const at = leader, lost = new AbortController(), stop = () => lost.abort();
  let last = Date.now();
  const heard = () => { last = Date.now(); };
  const look = setInterval(async () => {
    if (leaders.length > 1 && Date.now() - last > SILENT_MS && !(await isThere(at))) stop();
  }, SILENT_MS);
  options.signal.addEventListener("abort", stop);
  try {
    await read(at, path, {...options, signal: lost.signal, heard}, take);
  } catch (error) {
    if (!(error instanceof Refused) || [502, 503, 504].includes(error.status)) nextLeader(at);
    throw lost.signal.aborted && !options.signal.aborted ? new TypeError("silent") : error;
  } finally {
    clearInterval(look);
    options.signal.removeEventListener("abort", stop);
  }
}

async function copyText(text, button) {
  const said = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "copied";
  } catch {
    button.textContent = "not allowed";
  }
  setTimeout(() => {
    button.textContent = said;
  }, 1500);
}
