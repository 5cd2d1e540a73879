// http.js - requests with the key, and streams of server-sent events read with fetch, which can
// send one where EventSource cannot.
let key = sessionStorage.getItem("hydac.key") || "";
let needsKey = document.documentElement.dataset.key === "need" && !key;

function headers() {
  return {"Content-Type": "application/json", ...(key ? {Authorization: `Bearer ${key}`} : {})};
}

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

/* Calls take(name, data, id) for each event; returns at the stream's end. */
async function stream(path, options, take) {
  const all = {...headers(), ...options.headers};
  const response = await fetch(path, {...options, headers: all, cache: "no-store"});
  if (!response.ok) throw await refusal(response);
  const events = new Events(take), reader = response.body.getReader(), decoder = new TextDecoder();
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    events.feed(decoder.decode(value, {stream: true}));
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
