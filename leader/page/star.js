// star.js - the leader's card, and what travels between it and the machines.
const TRAFFIC = [
  ["attention", "attention", "a"], ["ffn", "FFN", "b"], ["logits", "logits", "c"],
  ["logs", "logs", "d"], ["weights", "weights", "e"], ["rest", "other", "f"]
];
const wires = new Map();  // machine -> its two paths
let card = null;

function makeCard() {
  const facts = {}, classes = TRAFFIC.map(([, , c]) => c);
  for (const name of ["tokens", "live", "epoch"]) facts[name] = el("b", {}, "0");
  card = {
    facts,
    state: el("small.quiet"),
    down: barred("down ↓", classes),
    up: barred("up ↑", classes),
    unit: el("span")
  };
  $("leader").append(
      el("div.head", {}, el("b", {}, "leader"), card.state),
      el("div.facts-row", {}, el("span", {}, facts.tokens, " tokens/s"),
         el("span", {}, facts.live, card.unit), el("span", {}, "epoch ", facts.epoch)),
      card.down.node, card.up.node,
      el("div.legend", {},
         ...TRAFFIC.map(
             ([, word, c]) =>
                 el("span", {}, el("span.bar", {"aria-hidden": "true"}, el(`i.${c}`)), word))));
}

function showWay(shown, way) {
  const rates = TRAFFIC.map(([kind]) => rate((s) => s.cluster.traffic.kinds[kind][way]));
  const sum = rates.reduce((a, b) => a + b, 0);
  rates.forEach((r, i) => width(shown.parts[i], sum > 0 ? r / sum : 0));
  const steps = cluster.status.cluster.traffic.decode;
  setText(
      shown.text,
      `${bytes(sum)}/s${steps.rows > 0 ? `, ${bytes(steps[`${way}_per_row`])} a token` : ""}`);
}

function showLeader() {
  if (!card) makeCard();
  const s = cluster.status;
  setText(card.facts.tokens, rate((x) => x.engine.tokens).toFixed(0));
  const live = s.engine.running + s.engine.waiting;
  setText(card.facts.live, String(live));
  setText(card.unit, live === 1 ? " request" : " requests");
  setText(card.facts.epoch, String(s.cluster.epoch));
  setText(card.state, cluster.reason);
  showWay(card.down, "down");
  showWay(card.up, "up");
}

// ---- Wires ----

function wireOf(name) {
  let w = wires.get(name);
  if (!w) {
    w = {line: svg("path", {}), flow: svg("path", {class: "flow"})};
    w.flow.style.setProperty(
        "--unit", getComputedStyle(tiles.get(name).node).getPropertyValue("--unit"));
    $("wires").append(w.line, w.flow);
    wires.set(name, w);
  }
  return w;
}

function drawWires() {
  const star = $("star").getBoundingClientRect(), from = $("leader").getBoundingClientRect();
  if (!star.width) return;
  const x0 = from.left + from.width / 2 - star.left, y0 = from.bottom - star.top;
  for (const [name, t] of tiles) {
    const box = t.node.getBoundingClientRect(), w = wireOf(name);
    const x1 = box.left + box.width / 2 - star.left, y1 = box.top - star.top,
          middle = (y0 + y1) / 2;
    const d = `M${x0} ${y0}C${x0} ${middle} ${x1} ${middle} ${x1} ${y1}`;
    w.line.setAttribute("d", d);
    w.flow.setAttribute("d", d);
  }
  for (const [name, w] of wires) {
    if (tiles.has(name)) continue;
    w.line.remove();
    w.flow.remove();
    wires.delete(name);
  }
}

function showWires() {
  for (const [name] of tiles) {
    const w = wireOf(name), m = machine(name), lost = m.state === "offline";
    const flow = lost ? 0 : rateOf(name, "bytes_out") + rateOf(name, "bytes_in");
    w.line.classList.toggle("lost", lost);
    w.flow.classList.toggle("on", flow > 20000);
    const hue = machine(name).hue;
    w.flow.style.setProperty("--unit", `light-dark(oklch(.5 .14 ${hue}), oklch(.78 .13 ${hue}))`);
    w.flow.style.animationDuration = `${flow > 1e6 ? 0.5 : 1.1}s`;
  }
}

/* The machines of the small screen's chat, in one line. */
function showStrip() {
  const parts = tileNames().map((name) => {
    const m = machine(name), lost = m.state === "offline";
    const heads = lost ? [] : [...tiles.get(name).units.heads.querySelectorAll(".head-unit")];
    const dots = heads.slice(0, 12).map((h) => {
      const dot = el("i.unit");
      dot.style.setProperty("--h", h.style.getPropertyValue("--h"));
      return dot;
    });
    return el(lost ? "span.lost" : "span", {}, name, ...dots);
  });
  $("strip").replaceChildren(...parts);
}
