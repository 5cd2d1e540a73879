// markdown.js - Markdown to nodes. Text is hostile: it becomes text nodes and a few elements of
// this file's choice; links go to the web or to mail, and pictures, which would ask some server,
// are links.
const DEEPEST = 6, LONGEST_LINK = 2000;

// ---- Inside a line ----

function link(text, to) {
  let url;
  try {
    url = new URL(to);
  } catch {
    return null;
  }
  if (!["http:", "https:", "mailto:"].includes(url.protocol)) return null;
  return el("a", {href: url.href, target: "_blank", rel: "noopener noreferrer nofollow"}, ...text);
}

const MARKS = [["**", "strong"], ["__", "strong"], ["~~", "del"], ["*", "em"], ["_", "em"]];
const WORD = /[\p{L}\p{N}]/u;
const SPECIAL = /[\\`*_~[!<h\n]/g;

/* Searches that found nothing are not made again, so that no text takes quadratic time. */
class Line {
  constructor(text) {
    this.text = text;
    this.missing = new Set();
  }
  find(what, from) {
    if (this.missing.has(what)) return -1;
    const at = this.text.indexOf(what, from);
    if (at < 0) this.missing.add(what);
    return at;
  }
}

/* Each takes the line and a place; null, or the node with the place behind it. */
function codeAt(line, i) {
  let n = 1;
  while (line.text[i + n] === "`") n++;
  const mark = "`".repeat(n), end = line.find(mark, i + n);
  if (end < 0) return null;
  const inner = line.text.slice(i + n, end);
  const padded = inner.startsWith(" ") && inner.endsWith(" ") && inner.trim() !== "";
  return [el("code", {}, padded ? inner.slice(1, -1) : inner), end + n];
}

function linkAt(line, i, depth) {
  const t = line.text, start = t[i] === "!" ? i + 1 : i;
  if (t[start] !== "[") return null;
  const middle = line.find("](", start);
  const end = middle < 0 ? -1 : line.find(")", middle + 2);
  if (end < 0 || end - start > LONGEST_LINK || t.slice(start + 1, middle).includes("["))
    return null;
  const to = t.slice(middle + 2, end).trim().split(/\s/)[0];
  const a = link(inline(t.slice(start + 1, middle) || to, depth + 1), to);
  return a && [a, end + 1];
}

function addressAt(line, i) {
  const m = /^(?:<(https?:\/\/[^\s<>]+)>|(https?:\/\/[^\s<>]*[^\s<>.,;:!?'")\]*_]))/.exec(
      line.text.slice(i, i + LONGEST_LINK));
  const a = m && link([m[1] || m[2]], m[1] || m[2]);
  return a && [a, i + m[0].length];
}

function markAt(line, i, depth) {
  const t = line.text;
  for (const [mark, tag] of MARKS) {
    const from = i + mark.length;
    if (!t.startsWith(mark, i) || !t[from] || /\s/.test(t[from])) continue;
    if (mark[0] === "_" && i > 0 && WORD.test(t[i - 1])) continue;
    let end = line.find(mark, from + 1);
    if (mark === "*" && end >= 0 && t[end + 1] === "*")
      end = line.find("***", end) >= 0 ? t.indexOf("***", end) + 2 : -1;
    if (end < 0 || /\s/.test(t[end - 1])) continue;
    if (mark[0] === "_" && t[end + mark.length] && WORD.test(t[end + mark.length])) continue;
    return [el(tag, {}, ...inline(t.slice(from, end), depth + 1)), end + mark.length];
  }
  return null;
}

function breakAt(line, i) { return [el("br"), i + 1]; }

function specialAt(line, i, depth) {
  switch (line.text[i]) {
    case "`":
      return codeAt(line, i);
    case "[":
    case "!":
      return linkAt(line, i, depth);
    case "<":
    case "h":
      return addressAt(line, i);
    case "\n":
      return breakAt(line, i);
    case "\\": {
      const next = line.text[i + 1];
      return next && /[!-/:-@[-`{-~]/.test(next) ? [next, i + 2] : null;
    }
    default:
      return markAt(line, i, depth);
  }
}

function inline(text, depth = 0) {
  if (depth > DEEPEST) return [text];
  const out = [], line = new Line(text);
  let done = 0;
  SPECIAL.lastIndex = 0;
  for (let m; (m = SPECIAL.exec(text));) {
    const at = m.index, found = specialAt(line, at, depth);
    SPECIAL.lastIndex = found ? found[1] : at + 1;
    if (!found) continue;
    if (at > done) out.push(text.slice(done, at));
    out.push(found[0]);
    done = found[1];
    SPECIAL.lastIndex = done;
  }
  if (done < text.length) out.push(text.slice(done));
  return out;
}

// ---- Blocks ----

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`\s]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(\S.*)?$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( +|$)/;
const DELIMITER = /^\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?$/;  // of a trimmed line

function isTable(lines, i) {
  return i + 1 < lines.length && lines[i].includes("|") && lines[i + 1].includes("-") &&
      DELIMITER.test(lines[i + 1].trim());
}

function begins(lines, i) {
  const s = lines[i];
  return FENCE.test(s) || HEADING.test(s) || RULE.test(s) || QUOTE.test(s) || ITEM.test(s) ||
      isTable(lines, i);
}

/* The line behind a list's item: what is indented belongs to it, and so do blank lines between. */
function itemEnd(lines, i, indent) {
  let j = i + 1;
  for (; j < lines.length; j++) {
    if (lines[j].trim() === "") continue;
    const in_ = lines[j].search(/\S/);
    if (in_ >= indent) continue;
    if (lines[j - 1].trim() === "" || begins(lines, j)) break;
  }
  while (j > i + 1 && lines[j - 1].trim() === "") j--;
  return j;
}

/* Where the block that begins at line i ends, and what it is. */
function blockAt(lines, i) {
  const s = lines[i], fence = FENCE.exec(s);
  let j = i + 1;
  if (fence) {
    const close = new RegExp(`^ {0,3}${fence[1][0]}{${fence[1].length},}\\s*$`);
    while (j < lines.length && !close.test(lines[j])) j++;
    return {
      kind: "code",
      end: Math.min(j + 1, lines.length),
      body: lines.slice(i + 1, j),
      language: fence[2]
    };
  }
  if (HEADING.test(s)) return {kind: "heading", end: j};
  if (RULE.test(s)) return {kind: "rule", end: j};
  if (QUOTE.test(s)) {
    while (j < lines.length && lines[j].trim() !== "" &&
           (QUOTE.test(lines[j]) || !begins(lines, j)))
      j++;
    return {kind: "quote", end: j};
  }
  if (ITEM.test(s)) {
    const ordered = /\d/.test(ITEM.exec(s)[2]);
    j = i;
    for (let m; j < lines.length && (m = ITEM.exec(lines[j])) && /\d/.test(m[2]) === ordered &&
         !RULE.test(lines[j]);) {
      j = itemEnd(lines, j, m[1].length + m[2].length + 1);
      let next = j;
      while (next < lines.length && lines[next].trim() === "") next++;
      if (next < lines.length && ITEM.test(lines[next])) j = next;
    }
    return {kind: ordered ? "ol" : "ul", end: j};
  }
  if (isTable(lines, i)) {
    for (j = i + 2; j < lines.length && lines[j].includes("|");) j++;
    return {kind: "table", end: j};
  }
  while (j < lines.length && lines[j].trim() !== "" && !begins(lines, j)) j++;
  return {kind: "paragraph", end: j};
}

/* [{kind, lines, from, to}]: from and to are places in the text. */
function blocks(text) {
  const lines = text.split("\n"), out = [];
  let at = 0;
  for (let i = 0; i < lines.length;) {
    if (lines[i].trim() === "") {
      at += lines[i++].length + 1;
      continue;
    }
    const b = blockAt(lines, i);
    b.lines = lines.slice(i, b.end);
    b.from = at;
    for (; i < b.end; i++) at += lines[i].length + 1;
    b.to = at - 1;
    b.source = b.lines.join("\n");
    out.push(b);
  }
  return out;
}

// ---- Nodes ----

function codeNode(b) {
  const text = b.body.join("\n");
  const copy = el("button", {type: "button", onclick: () => copyText(text, copy)}, "copy");
  return el(
      "div.code", {},
      el("pre",
         {tabIndex: 0, role: "region", "aria-label": `Code${b.language ? `, ${b.language}` : ""}`},
         el("code", {}, text)),
      copy);
}

/* Without the "#" that may close it. */
function headingText(text) {
  const t = text.trimEnd();
  let end = t.length;
  while (t[end - 1] === "#") end--;
  return end === 0 || t[end - 1] === " " ? t.slice(0, end).trimEnd() : t;
}

function listNode(b, depth) {
  const node = el(b.kind), first = parseInt(ITEM.exec(b.lines[0])[2], 10);
  if (b.kind === "ol" && first !== 1) node.start = first;
  for (let i = 0; i < b.lines.length;) {
    const m = ITEM.exec(b.lines[i]);
    if (!m) {
      i++;
      continue;
    }
    const indent = m[1].length + m[2].length + 1, end = itemEnd(b.lines, i, indent);
    const inner = [
      b.lines[i].slice(m[0].length),
      ...b.lines.slice(i + 1, end)
          .map((l) => l.slice(Math.min(indent, Math.max(0, l.search(/\S/)))))
    ];
    const parts = blocks(inner.join("\n"));
    const tight =
        parts.length > 0 && parts[0].kind === "paragraph" && !inner.slice(0, -1).includes("");
    node.append(
        el("li", {},
           ...parts.flatMap(
               (p, n) => (n === 0 && tight ? inline(p.source) : [blockNode(p, depth + 1)]))));
    i = end;
  }
  return node;
}

function cells(line) {
  const inner = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return inner.split(/(?<!\\)\|/).map((c) => c.trim().replace(/\\\|/g, "|"));
}

function tableNode(b) {
  const sides = cells(b.lines[1])
                    .map(
                        (c) =>
                            (/^:-+:$/.test(c)  ? "middle" :
                                 /-:$/.test(c) ? "right" :
                                                 ""));
  const row = (line, tag) =>
      el("tr", {},
         ...cells(line)
             .slice(0, sides.length)
             .map((c, i) => el(tag, {className: sides[i]}, ...inline(c))));
  return el(
      "div.wide", {tabIndex: 0, role: "region", "aria-label": "Table"},
      el("table", {}, el("thead", {}, row(b.lines[0], "th")),
         el("tbody", {}, ...b.lines.slice(2).map((l) => row(l, "td")))));
}

function blockNode(b, depth = 0) {
  if (depth > DEEPEST) return el("p", {}, b.source);
  switch (b.kind) {
    case "code":
      return codeNode(b);
    case "heading": {
      const m = HEADING.exec(b.source);
      return el(
          "p", {
            role: "heading",
            "aria-level": Math.min(6, m[1].length + 2),
            className: `h${m[1].length}`
          },
          ...inline(headingText(m[2] || "")));
    }
    case "rule":
      return el("hr");
    case "quote":
      return el(
          "blockquote", {},
          ...blocks(b.lines.map((l) => l.replace(QUOTE, "")).join("\n"))
              .map((p) => blockNode(p, depth + 1)));
    case "ul":
    case "ol":
      return listNode(b, depth);
    case "table":
      return tableNode(b);
    default:
      return el("p", {}, ...inline(b.lines.map((l) => l.trim()).join("\n")));
  }
}

/* Keeps a text's nodes current while it grows: what has not changed is left alone. Returns what
 * blocks() does. */
function showMarkdown(into, text) {
  const shown = into.blocks || (into.blocks = []), now = blocks(text);
  now.forEach((b, i) => {
    const old = shown[i];
    if (old && old.source === b.source && old.kind === b.kind) return;
    const node = blockNode(b);
    if (old)
      old.node.replaceWith(node);
    else
      into.append(node);
    shown[i] = {source: b.source, kind: b.kind, node};
  });
  for (const old of shown.splice(now.length)) old.node.remove();
  return now.map((b, i) => ({from: b.from, to: b.to, node: shown[i].node}));
}
