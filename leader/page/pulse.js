// pulse.js - tokens as they come, over the last seconds, with losses among them.
const WINDOW_MS = 15000, KEPT = 4000;
const arrivals = [];  // times of tokens, by this page's clock
const marks = [];     // {at, text}: losses
let drawing = false;

function tokensCame(n) {
  const now = performance.now();
  for (let i = 0; i < n; i++) arrivals.push(now);
  if (arrivals.length > KEPT) arrivals.splice(0, arrivals.length - KEPT);
  drawSoon();
}

function markLoss(worker) {
  marks.push({at: performance.now(), text: worker});
  if (marks.length > 20) marks.shift();
  drawSoon();
}


/* light-dark() is no colour to a canvas; a computed one is. */
function used_colours() {
  const probe = el("i"), out = {};
  $("pulse").parentNode.append(probe);
  for (const name of ["accent", "bad", "line", "quiet"]) {
    probe.style.color = `var(--${name})`;
    out[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return out;
}

function drawLine(g, x, h, c, w) {
  g.strokeStyle = c;
  g.lineWidth = w;
  g.beginPath();
  g.moveTo(x, h[0]);
  g.lineTo(x, h[1]);
  g.stroke();
}

function draw() {
  const canvas = $("pulse"), w = canvas.clientWidth, h = canvas.clientHeight,
        scale = devicePixelRatio || 1;
  if (!w) return;
  if (canvas.width !== Math.round(w * scale)) {
    canvas.width = Math.round(w * scale);
    canvas.height = Math.round(h * scale);
  }
  const g = canvas.getContext("2d"), now = performance.now(), c = used_colours();
  const x = (t) => w - 1 - ((now - t) / WINDOW_MS) * (w - 2);
  g.setTransform(scale, 0, 0, scale, 0, 0);
  g.clearRect(0, 0, w, h);
  g.font = "10.5px system-ui, sans-serif";
  g.textAlign = "center";
  for (let s = 0; s <= WINDOW_MS / 1000; s += 5) {
    drawLine(g, Math.max(0.5, x(now - s * 1000)), [0, h - 16], c.line, 1);
    g.fillStyle = c.quiet;
    g.textAlign = s === 0 ? "right" : s * 1000 === WINDOW_MS ? "left" : "center";
    g.fillText(s === 0 ? "now" : `${s} s ago`, x(now - s * 1000), h - 3);
  }
  for (let i = arrivals.length; i-- > 0 && now - arrivals[i] < WINDOW_MS;)
    drawLine(g, x(arrivals[i]), [14, h - 18], c.accent, 1.4);
  g.textAlign = "left";
  for (const m of marks) {
    if (now - m.at > WINDOW_MS) continue;
    drawLine(g, x(m.at), [0, h - 16], c.bad, 2);
    g.fillStyle = c.bad;
    g.textAlign = x(m.at) > w - 90 ? "right" : "left";
    g.fillText(` ${m.text} lost `, x(m.at), 9);
  }
  const recent = arrivals.filter((t) => now - t < 2000).length / 2;
  setText($("pulse-rate"), recent > 0 ? `${recent.toFixed(0)} a second` : "");
}

/* While something moves; twice a second for whom moving things disturb. */
function drawSoon() {
  if (drawing) return;
  drawing = true;
  const again = () => {
    draw();
    const last = Math.max(arrivals.at(-1) || 0, marks.at(-1)?.at || 0);
    if (performance.now() - last > WINDOW_MS + 1000)
      drawing = false;
    else if (calm.matches || document.hidden)
      setTimeout(again, 500);
    else
      requestAnimationFrame(again);
  };
  again();
}
