// tiles.js - a tile for each machine, and its units: elements that stay the same and move to their
// new owner's tile when the plan says so.
const KINDS = [["heads", "heads"], ["ffn_blocks", "FFN"], ["vocab_blocks", "vocab"]];
const MOST_CELLS = 320;   // units of a kind that get an element each
const tiles = new Map();  // machine -> its elements
const units = {
  heads: [],
  ffn_blocks: [],
  vocab_blocks: []
};

/* A word and its number, a bar beneath. */
function barred(word, classes) {
  const parts = classes.map((c) => el(`i.${c}`)), text = el("span");
  return {
    node:
        el("div.barred", {}, el("span", {}, word), text,
           el("div.bar", {"aria-hidden": "true"}, ...parts)),
    parts,
    text
  };
}

function makeTile(m) {
  const t = {
    units: {},
    count: {},
    memory: barred("memory", ["a", "b", "c"]),
    speed: barred("speed", ["a", "b"]),
    link: el("span"),
    word: el("span.word"),
    gone: el("p.gone")
  };
  const rows = KINDS.map(([kind, word]) => {
    t.count[kind] = el("b");
    t.units[kind] = el(kind === "heads" ? "div.units" : "div.units.cells", {role: "group"});
    return el("div.row", {}, el("span", {}, `${word} `, t.count[kind]), t.units[kind]);
  });
  t.node =
      el("li.card.tile", {}, el("div.head", {}, el("span.name", {title: m.name}, m.name), t.word),
         el("div.living", {}, ...rows, t.memory.node, t.speed.node,
            el("div.barred", {}, el("span", {}, "link"), t.link)),
         t.gone);
  t.node.style.setProperty("--h", m.hue);
  tiles.set(m.name, t);
  const names = tileNames(), next = tiles.get(names[names.indexOf(m.name) + 1]);
  $("machines").insertBefore(t.node, next ? next.node : null);
  return t;
}

/* w2 stands before w10. */
function tileNames() {
  return [...tiles.keys()].sort((a, b) => a.localeCompare(b, "en", {numeric: true}));
}

function tileOf(m) { return tiles.get(m.name) || makeTile(m); }

// ---- Units ----

function unitOf(kind, i) {
  let u = units[kind][i];
  if (u) return u;
  u = kind === "heads" ? el("span.unit.head-unit", {}, String(i)) :
                         el("i.unit.cell", {"aria-hidden": "true"});
  u.style.setProperty("--h", machine(cluster.home[kind][i]).hue);
  units[kind][i] = u;
  return u;
}

function place(kind, i, name) {
  const u = unitOf(kind, i), into = tileOf(machine(name)).units[kind];
  if (u.parentNode !== into) {
    const next = [...into.querySelectorAll(".unit")].find((o) => units[kind].indexOf(o) > i);
    into.insertBefore(u, next || null);
  }
  if (kind !== "heads") return;
  const home = cluster.home[kind][i];
  u.title = `head ${i}${home === name ? "" : `, from ${home}`}`;
}

function say(kind, word, name, numbers, whole) {
  const t = tileOf(machine(name)), n = numbers.length;
  setText(t.count[kind], String(n));
  const said = kind === "heads" && n > 0 && n < 33 ? `${word} ${list(numbers.map(String))}` :
                                                     `${word}: ${n} of ${whole}`;
  t.units[kind].setAttribute("aria-label", said);
  t.units[kind].title = kind === "heads" ? "" : said;
}

function placeAll() {
  const plan = cluster.plan;
  for (const [kind, word] of KINDS) {
    const whole = plan[kind].length,
          of = new Map([...cluster.machines.keys()].map((name) => [name, []]));
    plan[kind].forEach((at, i) => {
      const name = plan.workers[at];
      if (!name) return;
      of.get(machine(name).name)?.push(i) ?? of.set(name, [i]);
      if (kind === "heads" || whole <= MOST_CELLS) place(kind, i, name);
    });
    for (const [name, numbers] of of)
      if (machine(name).state !== "forgotten") say(kind, word, name, numbers, whole);
  }
}

/* From where they were to where they are. */
function fly(before) {
  let n = 0;
  for (const [u, old] of before) {
    const now = u.getBoundingClientRect(), x = old.left - now.left, y = old.top - now.top;
    if (Math.abs(x) + Math.abs(y) < 8 || !now.width || !old.width) continue;
    u.classList.add("moved");
    u.animate(
         [
           {transform: `translate(${x}px, ${y}px)`},
           {transform: `translate(${x * 0.4}px, ${y * 0.4 - 14}px) scale(1.35)`, offset: 0.55},
           {transform: "none"}
         ],
         {
           duration: 1100,
           delay: Math.min(n++ * 12, 500),
           easing: "cubic-bezier(.3,.1,.2,1)",
           fill: "backwards"
         })
        .onfinish = () => u.classList.remove("moved");
  }
}

function showPlan(old) {
  const before = new Map(), moving = new Set();
  if (old)
    for (const [kind] of KINDS) {
      cluster.plan[kind].forEach((at, i) => {
        const u = units[kind][i];
        if (!u || old.workers[old[kind][i]] === cluster.plan.workers[at]) return;
        before.set(u, u.getBoundingClientRect());
        if (kind === "heads") moving.add(u);
      });
    }
  placeAll();
  for (const u of moving) u.classList.add("working");
  if (!calm.matches && !document.hidden) fly(before);
}

/* Those who have confirmed have computed what their new heads need. */
function settle() {
  setTimeout(() => {
    for (const u of units.heads) u?.classList.remove("working");
  }, 1200);
}

// ---- Numbers ----

function width(part, share) {
  part.style.width = `${(Math.max(0, Math.min(1, share || 0)) * 100).toFixed(1)}%`;
}

function used(m) { return (m.weight_bytes || 0) + (m.kv_bytes || 0) + (m.log_bytes || 0); }

function showNumbers(m, t, most) {
  const parts = [m.weight_bytes, m.kv_bytes, m.log_bytes];
  parts.forEach((p, i) => width(t.memory.parts[i], p / most.memory));
  setText(t.memory.text, bytes(used(m)));
  t.memory.node.title =
      `weights ${bytes(m.weight_bytes || 0)}, K/V ${bytes(m.kv_bytes || 0)}, input log ${
          bytes(m.log_bytes || 0)}; the machine has ${bytes(m.memory_bytes || 0)}`;
  const speed = m.multiply_adds_per_s / most.speed,
        busy = Math.min(1, rateOf(m.name, "busy_us") / 1e6);
  width(t.speed.parts[0], speed * busy);
  width(t.speed.parts[1], speed * (1 - busy));
  setText(
      t.speed.text, `${(m.multiply_adds_per_s / 1e9).toFixed(1)} G/s, ${Math.round(busy * 100)} %`);
  t.speed.node.title =
      "multiply-adds a second, measured when it joined; how much of the time it computes";
  setText(t.link, ways(rateOf(m.name, "bytes_out"), rateOf(m.name, "bytes_in")));
  t.link.title = `round trip ${millis(m.rtt_ms || 0)}`;
}

function wordOf(m) {
  if (m.state === "offline") return "lost";
  if (m.weight_bytes < 0.97 * m.weights_owned_bytes)
    return `loading ${Math.floor((100 * m.weight_bytes) / m.weights_owned_bytes)} %`;
  if (m.draining) return "draining";
  if (m.pace && m.pace !== "steady") return m.pace;
  return m.state;
}

function showMachine(m, most) {
  const t = tileOf(m);
  t.node.dataset.state = m.state;
  t.node.dataset.pace = m.pace || "";
  setText(t.word, wordOf(m));
  if (m.state === "offline")
    setText(
        t.gone,
        `${CAUSES[m.cause] || "It is not connected"}. Its units are with others.`.replace(
            /^./, (c) => c.toUpperCase()));
  else
    showNumbers(m, t, most);
}

function showMachines() {
  const there = [...cluster.machines.values()].filter((m) => m.state !== "forgotten");
  const most = {
    memory: Math.max(1, ...there.map(used)),
    speed: Math.max(1, ...there.map((m) => m.multiply_adds_per_s || 0))
  };
  for (const m of cluster.machines.values()) {
    if (m.state !== "forgotten")
      showMachine(m, most);
    else if (tiles.has(m.name)) {
      tiles.get(m.name).node.remove();
      tiles.delete(m.name);
    }
  }
}
