// message.js - a message on the page: its text as it grows, what can be done with it, what it cost.
class Message {
  constructor(entry, acts) {
    this.entry = entry;
    this.losses = [];
    this.body = el(entry.role === "user" ? "div.body" : "div.text");
    this.tools = el("div.tools");
    this.facts = el("span.facts");
    this.node =
        el(`div.message.${entry.role}`, {},
           el("h2.hidden", {}, entry.role === "user" ? "You" : "Answer"), this.body, this.tools);
    this.acts = acts;
    if (entry.role === "user") setText(this.body, entry.content);
    this.showTools();
    this.show();
  }

  showTools() {
    const button = (text, act) => el("button", {type: "button", onclick: act}, text);
    this.tools.replaceChildren();
    if (this.running) return;
    const copy = button("Copy", () => copyText(this.entry.content, copy));
    this.tools.append(copy);
    if (this.entry.role === "user")
      this.tools.append(button("Edit", () => this.edit()));
    else
      this.tools.append(button("Regenerate", () => this.acts.again(this)), this.facts);
  }

  /* The text as it is now, at most once for what the screen shows. */
  grow(text) {
    this.entry.content += text;
    if (this.due) return;
    this.due = true;
    soon(() => {
      this.due = false;
      this.show();
      this.acts.grown();
    });
  }

  show() {
    if (this.entry.role === "user") return;
    const shown = showMarkdown(this.body, this.entry.content);
    for (const loss of this.losses) {
      const block = shown.findLast((b) => b.from <= loss.at) || shown[0];
      if (block && block.node.nextSibling !== loss.note)
        block.node.after(loss.note);
      else if (!block && !loss.note.parentNode)
        this.body.prepend(loss.note);
    }
    setText(this.facts, this.entry.facts || "");
  }

  run(running) {
    this.running = running;
    this.body.classList.toggle("coming", running);
    this.showTools();
    this.show();
  }

  fail(text) { this.node.append(el("p.error", {role: "alert"}, text)); }

  // ---- Losses in the middle of the text ----

  lose(worker) {
    const note =
        el("div.loss-note", {},
           el("span", {}, el("b", {}, `${worker} is lost`), el("span", {}, ", the text goes on")));
    this.losses.push({worker, at: Math.max(0, this.entry.content.length - 1), note});
    this.show();
  }

  recover(failover) {
    const loss = this.losses.find((l) => l.worker === failover.worker && !l.known);
    if (!loss) return;
    loss.known = true;
    loss.note.firstChild.replaceChildren(
        "in the lines above ", el("b", {}, `${failover.worker} was lost`),
        `: they stood still for ${millis(failover.stall_ms)}`);
  }

  // ---- Another question ----

  edit() {
    const area = el("textarea", {
      value: this.entry.content,
      rows: Math.min(12, this.entry.content.split("\n").length + 1),
      "aria-label": "Edit the message"
    });
    const end = () => {
      form.replaceWith(this.body);
      this.tools.hidden = false;
    };
    const form =
        el("form.edit", {
          onsubmit: (e) => {
            e.preventDefault();
            end();
            if (area.value.trim()) this.acts.edited(this, area.value.trim());
          },
          onkeydown: (e) => {
            if (e.key === "Escape") end();
            if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
              e.preventDefault();
              form.requestSubmit();
            }
          },
        },
           area,
           el("div", {}, el("button", {type: "button", onclick: end}, "Cancel"),
              el("button.main", {type: "submit"}, "Ask again")));
    this.body.replaceWith(form);
    this.tools.hidden = true;
    area.focus();
  }
}
