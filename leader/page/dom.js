// dom.js - elements without strings of HTML: nothing that a model or a worker says is ever parsed.
const $ = (id) => document.getElementById(id);

/* el("p.quiet", {title: "..."}, "text", node...): properties that begin with "on" are listeners,
 * those with a "-" are attributes. */
function el(what, props, ...children) {
  const [tag, ...classes] = what.split(".");
  const e = document.createElement(tag);
  if (classes.length) e.className = classes.join(" ");
  for (const [k, v] of Object.entries(props || {})) {
    if (v === undefined || v === null) continue;
    if (k.startsWith("on"))
      e.addEventListener(k.slice(2), v);
    else if (k.includes("-") || k === "role")
      e.setAttribute(k, v);
    else
      e[k] = v;
  }
  e.append(...children.filter((c) => c !== undefined && c !== null && c !== ""));
  return e;
}

function svg(tag, attributes, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/* As often as the screen shows something, and now and then where it shows nothing. */
function soon(f) {
  if (document.hidden)
    setTimeout(f, 100);
  else
    requestAnimationFrame(f);
}

function setText(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

/* For those who listen instead of looking. */
function announce(text) { $("news").textContent = text; }

// ---- Numbers ----

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1000 && i < units.length - 1; i++) n /= 1024;
  return `${n >= 100 || i === 0 ? Math.round(n) : n.toFixed(1)} ${units[i]}`;
}

/* Down and up, in one unit. */
function ways(down, up) {
  const [, unit] = bytes(Math.max(down, up)).split(" "),
           by = {B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3}[unit];
  const said = (n) => (n / by >= 10 || by === 1 ? Math.round(n / by) : (n / by).toFixed(1));
  return `↓ ${said(down)} ↑ ${said(up)} ${unit}/s`;
}

function millis(n) {
  if (n === null || n === undefined) return "?";
  if (n >= 10000) return `${(n / 1000).toFixed(1)} s`;
  return n >= 100 ? `${Math.round(n)} ms` : `${n.toFixed(n >= 10 ? 0 : 1)} ms`;
}

function count(n) { return Math.round(n).toLocaleString("en"); }

function some(n, one, many) { return `${count(n)} ${n === 1 ? one : many || `${one}s`}`; }

/* "w1", "w1 and w2", "w1, w2 and w3" */
function list(names) {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}
