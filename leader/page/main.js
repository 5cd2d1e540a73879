// main.js - the parts together.
const WORDS = {
  ready: "serving",
  assigning: "recovering",
  waiting: "waiting",
  gone: "not connected",
  connecting: "connecting"
};

function showState() {
  const s = $("state");
  s.dataset.state = cluster.state;
  setText(s, WORDS[cluster.state] || cluster.state.replaceAll("_", " "));
  s.title = cluster.reason;
  if (cluster.state === "ready") settle();
}

function showStatus() {
  const m = cluster.status.model;
  if (!$("losses").dataset.shown) {
    $("losses").dataset.shown = "yes";
    showLosses();
  }
  setText($("model"), m.name);
  $("model").title = `${m.layers} layers, ${m.kv_heads} KV heads, context ${count(m.context)}`;
  showMachines();
  showLeader();
  drawWires();
  showWires();
  showStrip();
}

const SHOW = {
  state: showState,
  status: showStatus,
  plan: (old) => {
    showPlan(old);
    drawWires();
    showStrip();
  },
  change: (e) => {
    if (cluster.status) showMachines();
    if (e.state === "offline") {
      markLoss(e.worker);
      if (running) running.message.lose(e.worker);
    }
    if (cluster.status) showWires();
    showStrip();
  },
  failover: (f) => {
    for (const m of talk) m.recover(f);
    showLosses();
  },
  note: showEvents,
};

function show(view) {
  $("main").dataset.view = view;
  for (const v of ["chat", "cluster"])
    $(`view-${v}`).setAttribute("aria-pressed", String(v === view));
  drawWires();
  drawSoon();
}

function watchWhileSeen() {
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && !running)
      stopWatching();
    else if (!document.hidden && !watching && !needsKey)
      watchCluster();
  });
  addEventListener("pagehide", () => {
    stop();
    stopWatching();
  });
  addEventListener("pageshow", (e) => {
    if (e.persisted && !needsKey) watchCluster();
  });
}

/* What is not needed for the first picture. */
function startLater() {
  new ResizeObserver(() => {
    drawWires();
    draw();
  }).observe($("cluster"));
  drawSoon();
  if (!needsKey) watchCluster();
}

listeners.push((what, data) => SHOW[what]?.(data));
onKey = watchCluster;
startSettings();
startChat();
showRunning();
$("view-chat").addEventListener("click", () => show("chat"));
$("view-cluster").addEventListener("click", () => show("cluster"));
$("skip").addEventListener("click", () => show("chat"));
$("strip").addEventListener("click", () => show("cluster"));
watchWhileSeen();
if (needsKey) openSettings(true, false);
soon(() => setTimeout(startLater));
