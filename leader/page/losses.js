// losses.js - what each loss was: its phases on a line of time, beneath the tokens that came
// meanwhile.
const PHASES = [
  ["detect", "detect", "from its last sign of life to the verdict"],
  ["plan", "plan", "who takes over what"],
  ["weights", "weights", "survivors load the lost units"],
  ["rebuild", "rebuild", "K/V of the lost heads from the input logs"],
  ["wait", "wait", "messages on their way"],
  ["retry", "retry", "the interrupted half-step once more"],
];
const SHOWN = 6;

/* [{name, ms, from}] in milliseconds from the last sign of life; what nobody measured is waiting.
 */
function phasesOf(f) {
  const ms = {
    detect: f.detect_ms || 0,
    plan: f.plan_ms || 0,
    weights: f.weights_ms || 0,
    rebuild: f.rebuild_ms || 0,
    retry: f.retry_ms || 0
  };
  const sum = Object.values(ms).reduce((a, b) => a + b, 0);
  ms.wait = Math.max(0, (f.stall_ms || sum) - sum);
  let at = 0;
  return PHASES.map(([name, word, title]) => {
    const p = {name, word, title, ms: ms[name], from: at};
    at += ms[name];
    return p;
  });
}

function chart(loss, phases) {
  const f = loss.failover, stall = phases.at(-1).from + phases.at(-1).ms || 1;
  const margin = Math.max(stall * 0.35, 40), start = loss.at === undefined ? 0 : loss.at - stall;
  const whole = stall + 2 * margin, x = (ms) => `${(((ms + margin) / whole) * 100).toFixed(2)}%`;
  const part = (ms) => `${((ms / whole) * 100).toFixed(3)}%`;
  const out = svg("svg", {
    role: "img",
    "aria-label": `${f.worker}: ${
        phases.filter((p) => p.ms > 0).map((p) => `${p.word} ${millis(p.ms)}`).join(", ")}`
  });
  for (const p of phases) {
    if (p.ms <= 0) continue;
    const bar = svg("rect", {class: p.name, x: x(p.from), y: 30, width: part(p.ms), height: 16});
    bar.append(svg("title", {}, `${p.word}: ${millis(p.ms)}, ${p.title}`));
    out.append(bar);
  }
  if (loss.at !== undefined) {
    for (const t of loss.tokens || [])
      out.append(svg("line", {class: "tick", x1: x(t - start), x2: x(t - start), y1: 4, y2: 24}));
    out.append(svg("text", {x: 0, y: 60}, `tokens above, ${millis(whole)} in all`));
  }
  return out;
}

function gather(loss) {
  const stall = loss.failover.stall_ms || 0, margin = Math.max(stall * 0.35, 40);
  loss.tokens = arrivals.filter((t) => t > loss.at - stall - margin && t < loss.at + margin);
  loss.gathered = performance.now() > loss.at + margin;
}

function cost(f) {
  const parts = [
    `${some(f.positions, "position")} live`,
    `K/V rows: ${count(f.rows_kept)} kept, ${count(f.rows_rebuilt)} computed from logs`
  ];
  parts.push(
      f.rows_replayed ? `${some(f.rows_replayed, "token")} run again` : "no token run again");
  return parts.join(" · ");
}

function survivors(loss) {
  const of =
      (loss.confirmed || []).filter((c) => c.epoch === loss.failover.epoch && c.heads.length);
  return of.map((c) => `${c.worker} took head ${list(c.heads.map(String))}`).join(", ");
}

function lossNode(loss) {
  const f = loss.failover, phases = phasesOf(f);
  const words = phases.filter((p) => p.ms > 0)
                    .map(
                        (p) =>
                            el(`li.${p.name}`, {title: p.title}, el("i", {"aria-hidden": "true"}),
                               el("span", {}, `${p.word} ${millis(p.ms)}`)));
  return el(
      "div.loss", {},
      el("div.what", {}, el("b", {}, `${f.worker} lost`),
         el("span.quiet", {}, CAUSES[f.cause] || f.cause),
         el("span", {},
            `${some(f.heads_lost, "head")} lost, ${f.heads_rebuilt + f.heads_ready} taken over, ${
                f.heads_reused} kept`),
         el("strong", {}, `${millis(f.stall_ms)} in all`)),
      chart(loss, phases), el("ul.phases", {}, ...words),
      el("p.cost", {}, [cost(f), survivors(loss)].filter(Boolean).join(" · ")));
}

function showLosses() {
  if (!cluster.losses.length) return;
  for (const loss of cluster.losses)
    if (loss.at !== undefined && !loss.gathered) gather(loss);
  $("losses").replaceChildren(...cluster.losses.slice(0, SHOWN).map(lossNode));
  const open = cluster.losses.find((l) => l.at !== undefined && !l.gathered);
  if (open) setTimeout(showLosses, 100);
}

function showEvents() {
  const time = (d) => d.toLocaleTimeString("en-GB");
  $("events").replaceChildren(...cluster.events.slice(0, 14).map(
      (e) => el("li", {}, el("time", {}, time(e.at)), el("span", {}, e.text))));
}
