// chat.js - the conversation: asked, answered, stopped, begun again at any of its messages.
const IDEAS = [
  "Why is the sky blue?", "Write a short story about a lighthouse.",
  "Explain fault tolerance with a list of three examples."
];
let talk = [];       // of Message
let running = null;  // {message, abort}
const PATIENCE_MS = 30000, AGAIN_MS = 200;  // while nobody goes on with an answer

const acts = {
  again: (m) => restart(talk.indexOf(m)),
  edited: (m, text) => {
    const at = talk.indexOf(m);
    cut(at);
    ask(text);
  },
  grown: follow,
};

// ---- What is shown ----

/* Stays at the end of the text for whom is there. */
function follow(force) {
  const s = $("scroll");
  if (force || s.scrollHeight - s.scrollTop - s.clientHeight < 120) s.scrollTop = s.scrollHeight;
}

function keep() {
  sessionStorage.setItem("hydac.talk", JSON.stringify(talk.map((m) => m.entry)));
  $("empty").hidden = talk.length > 0;
}

function add(entry) {
  const m = new Message(entry, acts);
  talk.push(m);
  $("log").append(m.node);
  keep();
  return m;
}

/* Drops all messages from that place on. */
function cut(at) {
  stop();
  for (const m of talk.splice(at)) m.node.remove();
  keep();
}

function showRunning() {
  const on = running !== null;
  $("send").setAttribute("aria-label", on ? "Stop" : "Send");
  $("send").title = on ? "Stop" : "Send";
  $("send").firstChild.replaceChildren(
      on ? svg("rect", {x: 7, y: 7, width: 10, height: 10, rx: 1.5, fill: "currentColor"}) :
           svg("path", {d: "M12 19V5m-6 6 6-6 6 6"}));
  $("log").setAttribute("aria-busy", String(on));
}

// ---- Asking ----

function conversation() {
  const messages = talk.filter((m) => m.entry.content)
                       .map((m) => ({role: m.entry.role, content: m.entry.content}));
  return settings.system ? [{role: "system", content: settings.system}, ...messages] : messages;
}

function factsOf(extra, usage) {
  const facts = [], t = extra.timings || {};
  if (usage) facts.push(some(usage.completion_tokens, "token"));
  if (t.tokens_per_second > 0) facts.push(`${t.tokens_per_second.toFixed(1)} a second`);
  const lost = (extra.failovers || []).map((f) => f.worker);
  if (lost.length) facts.push(`outlived ${list(lost)}`);
  if (extra.suspect) facts.push("may be wrong: a worker's memory was damaged");
  if (extra.seed !== undefined) facts.push(`seed ${extra.seed}`);
  return facts.join(" · ");
}

/* An event of the stream. */
function takeChunk(run, data, id) {
  run.heard = Date.now();
  if (data === "[DONE]") {
    run.whole = true;
    return;
  }
  const chunk = JSON.parse(data), choice = chunk.choices?.[0], extra = chunk.hydac || {};
  if (chunk.error) throw new Error(chunk.error.message);
  if (id && chunk.id) Object.assign(run, {id: chunk.id, last: id});
  if (extra.tokens?.length) tokensCame(extra.tokens.length);
  if (choice?.delta?.content) run.message.grow(choice.delta.content);
  if (chunk.usage) run.usage = chunk.usage;
  if (extra.timings)
    run.extra = {...extra, seed: /"seed":(\d+)/.exec(data)?.[1]}; /* numbers of 63 bits */
  if (choice?.finish_reason) run.finish = choice.finish_reason;
}

function whyNot(run, error) {
  if (run.abort.signal.aborted) return null;
  if (error instanceof Refused && error.status === 401) {
    openSettings(true, true);
    return "The leader asks for its key.";
  }
  if (error) return error instanceof TypeError ? "The leader cannot be reached." : error.message;
  return run.whole ? null : "The answer ended before it was whole.";
}

/* A seed may have 64 bits, which JSON's numbers here have not. */
function bodyText(body) {
  const seed = /^\d{1,20}$/.test(settings.seed) ? `,"seed":${settings.seed}` : "";
  return `${JSON.stringify(body).slice(0, -1)}${seed}}`;
}

/* May the answer that this has broken off go on, with another leader or with this one once it is back? One
 * that has not begun is asked for once at each leader: the same question is the same answer. */
function maySee(run, error) {
  if (run.abort.signal.aborted) return false;
  if (run.id ? Date.now() - run.heard > PATIENCE_MS : ++run.tries >= leaders.length) return false;
  return !(error instanceof Refused) || [502, 503, 504].includes(error.status);
}

/* The answer to its end: behind the last event that has come, if the leader is lost in the middle. Whoever
 * serves then has the rest: another leader, at its own address or at this one behind a proxy; or the same
 * one, started again. */
async function readAnswer(run, body) {
  const take = (name, data, id) => takeChunk(run, data, id), signal = run.abort.signal;
  for (let broken = null;;) {
    const path = run.id ? `/v1/hydac/requests/${run.id}/events` : "/v1/chat/completions";
    const options = run.id ? {headers: {"Last-Event-ID": run.last}} : {method: "POST", body};
    try {
      await stream(path, {...options, signal}, take);
      if (run.whole) return;
    } catch (error) {
      if (!maySee(run, error)) throw (error instanceof Refused && broken) || error;
      broken = error;
    }
    if (!maySee(run)) return;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

async function answer() {
  const body = {
    model: cluster.status?.model.name || "hydac",
    messages: conversation(),
    stream: true,
    stream_options: {include_usage: true},
    hydac: true,
    ...sampling()
  };
  const run = {
    message: add({role: "assistant", content: ""}),
    abort: new AbortController(),
    tries: 0,
    extra: {}
  };
  running = run;
  run.message.run(true);
  showRunning();
  follow(true);
  let error = null;
  try {
    await readAnswer(run, bodyText(body));
  } catch (e) {
    error = e;
  }
  const why = whyNot(run, error), stopped = run.abort.signal.aborted;
  run.message.entry.facts = (stopped                     ? "stopped · " :
                                 run.finish === "length" ? "cut at the limit · " :
                                                           "") +
      factsOf(run.extra, run.usage);
  run.message.run(false);
  if (why) run.message.fail(why);
  if (running === run) running = null;
  showRunning();
  keep();
  follow();
  announce(why || (stopped ? "Stopped." : "The answer is complete."));
}

function ask(text) {
  add({role: "user", content: text});
  answer();
}

/* The answer at that place is given again. */
function restart(at) {
  cut(at);
  if (talk.length) answer();
}

function stop() {
  if (!running) return;
  running.abort.abort();
  running = null;
  showRunning();
}

// ---- The box ----

function fitPrompt() {
  const p = $("prompt");
  p.style.height = "auto";
  p.style.height = `${p.scrollHeight}px`;
}

function submit(e) {
  e.preventDefault();
  const text = $("prompt").value.trim();
  if (running) {
    stop();
    return;
  }
  if (!text) return;
  $("prompt").value = "";
  fitPrompt();
  ask(text);
}

function startChat() {
  $("composer").addEventListener("submit", submit);
  $("prompt").addEventListener("input", fitPrompt);
  $("prompt").addEventListener("keydown", (e) => {
    if (e.key !== "Enter" || e.shiftKey || e.isComposing) return;
    e.preventDefault();
    if (!running) $("composer").requestSubmit();
  });
  document.addEventListener("keydown", (e) => {
    if (e.key === "Escape" && !$("settings").open) stop();
  });
  $("new-chat").addEventListener("click", () => {
    cut(0);
    $("prompt").focus();
  });
  $("ideas").append(
      ...IDEAS.map((text) => el("button", {type: "button", onclick: () => ask(text)}, text)));
  let kept = [];
  try {
    kept = JSON.parse(sessionStorage.getItem("hydac.talk")) || [];
  } catch {
    // nothing that can be shown again
  }
  kept.forEach(add);
  keep();
  follow(true);
}
