// model.js - what is known of the cluster: GET /hydac/events, event by event.
const HUES = [215, 55, 155, 330, 105, 285, 20, 185];
const HISTORY = 40;

const cluster = {
  status: null,  // the last one; `before`: the one before it
  before: null,
  plan: null,
  machines: new Map(),  // name -> what is known, with its hue
  home: {},             // kind -> [unit] the machine on which it was first seen
  losses: [],           // the latest first
  events: [],
  state: "connecting",
  reason: "",
  offset: null,  // what is to be added to the leader's milliseconds for this page's
};
const listeners = [];

function tell(what, data) {
  for (const f of listeners) f(what, data);
}

function machine(name) {
  let m = cluster.machines.get(name);
  if (!m) {
    const i = cluster.machines.size;
    m = {name, hue: HUES[i] ?? Math.round((i * 137.5) % 360), state: "online"};
    cluster.machines.set(name, m);
  }
  return m;
}

/* Of what grows, how much a second since the last status. */
function rate(read) {
  const {status, before} = cluster;
  if (!before || status.at_ms <= before.at_ms) return 0;
  const now = read(status), then = read(before);
  return now === undefined || then === undefined ?
      0 :
      Math.max(0, ((now - then) * 1000) / (status.at_ms - before.at_ms));
}

function rateOf(name, key) { return rate((s) => s.workers.find((w) => w.name === name)?.[key]); }

function note(text, ago_ms = 0) {
  cluster.events.unshift({at: new Date(Date.now() - ago_ms), text});
  cluster.events.length = Math.min(cluster.events.length, HISTORY);
  tell("note");
}

// ---- Sentences ----

const CAUSES = {
  closed: "its connection ended",
  silent: "it fell silent",
  deadline: "it did not answer in time",
  protocol: "it broke the rules",
  gave_up: "it could not go on",
  wrong: "it computed wrong bits",
};
const STATES = {
  online: "is there",
  suspect: "is late with its heartbeats",
  slow: "has become slow",
  relieved: "is relieved of its units",
  steady: "is as fast as usual",
  left_suspect: "",
  draining: "is being emptied",
};

function sentence(e) {
  if (e.state === "offline")
    return `${e.worker} is lost: ${CAUSES[e.cause] || "nobody knows why"}.`;
  const what = STATES[e.state] ?? e.state.replaceAll("_", " ");
  return what && e.worker ? `${e.worker} ${what}${e.cause ? ` (${e.cause})` : ""}.` : "";
}

function failoverSentence(f) {
  const ready = f.heads_ready ? `, ${f.heads_ready} stood ready` : "";
  return `${f.worker}'s ${some(f.heads_lost, "head")} went to others in ${millis(f.stall_ms)}: ${
      f.heads_rebuilt} rebuilt${ready}, ${f.heads_reused} kept.`;
}

// ---- Events ----

function setState(state, reason) {
  cluster.state = state;
  cluster.reason = reason || "";
  tell("state");
}

function takeStatus(s) {
  const first = cluster.status === null;
  if (!cluster.before || s.at_ms - cluster.status.at_ms >= 500)
    cluster.before = cluster.status; /* rates need time between */
  cluster.status = s;
  knowLeaders(s.leaders?.others);
  for (const w of s.workers) Object.assign(machine(w.name), w);
  const names = new Set(s.workers.map((w) => w.name));
  for (const name of cluster.machines.keys())
    if (!names.has(name)) cluster.machines.get(name).state = "forgotten";
  if (first) {
    cluster.losses = (s.failovers || []).map((failover) => ({failover})).reverse();
    for (const e of s.events || []) {
      const text = sentence(e);
      if (text) note(text, e.at_ms_ago);
    }
  }
  setState(s.cluster.state, s.cluster.reason);
  tell("status");
}

function takePlan(plan) {
  const old = cluster.plan;
  cluster.plan = plan;
  for (const kind of ["heads", "ffn_blocks", "vocab_blocks"]) {
    const home = cluster.home[kind] || (cluster.home[kind] = []);
    plan[kind].forEach((at, i) => {
      home[i] ??= plan.workers[at];
    });
  }
  tell("plan", old);
}

function takeChange(e) {
  if (e.worker && ["online", "suspect", "offline"].includes(e.state)) {
    const m = machine(e.worker);
    m.state = e.state;
    m.cause = e.cause;
    m.since = performance.now();
  }
  const text = sentence(e);
  if (text) note(text);
  if (text && e.state !== "steady") announce(text);
  tell("change", e);
}

function takeFailover(f) {
  cluster.losses.unshift(
      {failover: f, at: f.at_ms + cluster.offset, confirmed: cluster.confirmed || []});
  cluster.losses.length = Math.min(cluster.losses.length, HISTORY);
  cluster.confirmed = [];
  note(failoverSentence(f));
  announce(failoverSentence(f));
  tell("failover", f);
}

const TAKE = {
  status: takeStatus,
  plan: takePlan,
  change: takeChange,
  failover: takeFailover,
  cluster: (c) => setState(c.state, c.reason),
  confirmed: (c) => {
    (cluster.confirmed ||= []).push(c);
    tell("confirmed", c);
  },
};

function takeEvent(name, data) {
  const o = JSON.parse(data);
  if (o.at_ms !== undefined) { /* the quickest event tells best how the clocks differ */
    const offset = performance.now() - o.at_ms;
    cluster.offset = cluster.offset === null ? offset : Math.min(cluster.offset, offset);
  }
  TAKE[name]?.(o);
}

// ---- The connection ----

let watching = null;

/* A browser has six connections to one host for all its tabs, and a page that was left may be kept
 * with its own: who is not looked at gives it back. */
function stopWatching() {
  watching?.abort();
  watching = null;
}

/* For as long as the page is looked at, with growing pauses after each end. */
async function watchCluster() {
  let pause = 500;
  stopWatching();
  const mine = (watching = new AbortController());
  while (!mine.signal.aborted) {
    try {
      await stream("/hydac/events", {signal: mine.signal}, (name, data) => {
        pause = 500;
        takeEvent(name, data);
      });
    } catch (e) {
      if (mine.signal.aborted) return;
      if (e instanceof Refused && e.status === 401) {
        setState("gone", "the leader asks for its key");
        openSettings(true, key !== "");
        return;
      }
    }
    if (mine.signal.aborted) return;
    cluster.before = null;
    cluster.offset = null;
    setState("gone", "no connection to the leader");
    await new Promise((r) => {
      setTimeout(r, pause);
    });
    pause = Math.min(pause * 2, 8000);
  }
}
