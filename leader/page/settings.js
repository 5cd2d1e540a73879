// settings.js - what requests are made with, kept by the browser; the key for this tab only.
const DEFAULTS = {
  system: "",
  temperature: "0.7",
  top_p: "",
  max_tokens: "",
  seed: ""
};
let settings = {...DEFAULTS, ...readStored("hydac.settings")};
let onKey = () => {};

function readStored(name) {
  try {
    return JSON.parse(localStorage.getItem(name)) || {};
  } catch {
    return {};
  }
}

function number(text) {
  return text === "" || !Number.isFinite(Number(text)) ? undefined : Number(text);
}

/* Members of a request, but for the seed. */
function sampling() {
  const out = {};
  for (const k of ["temperature", "top_p", "max_tokens"]) out[k] = number(settings[k]);
  return out;
}

function openSettings(forKey, wrong) {
  const form = $("settings-form");
  for (const k of Object.keys(DEFAULTS)) form.elements[k].value = settings[k];
  form.elements.key.value = key;
  $("key-field").hidden = $("key-note").hidden =
      document.documentElement.dataset.key !== "need" && !wrong && !key;
  $("key-note").toggleAttribute("data-wrong", !!wrong);
  setText(
      $("key-note"),
      wrong      ? "The leader does not take this key." :
          forKey ? "This leader asks for its key. It is kept in this tab only." :
                   "Kept in this tab only.");
  if (!$("settings").open) $("settings").showModal();
  if (forKey) form.elements.key.focus();
}

function saveSettings() {
  const form = $("settings-form");
  for (const k of Object.keys(DEFAULTS)) settings[k] = form.elements[k].value.trim();
  localStorage.setItem("hydac.settings", JSON.stringify(settings));
  if (form.elements.key.value === key) return;
  key = form.elements.key.value.trim();
  needsKey = false;
  sessionStorage.setItem("hydac.key", key);
  onKey();
}

// ---- Theme ----

const THEMES = ["system", "dark", "light"];
let theme = localStorage.getItem("hydac.theme") || "system";

function showTheme() {
  const root = document.documentElement;
  if (theme === "system")
    delete root.dataset.theme;
  else
    root.dataset.theme = theme;
  const said = theme === "system" ? "as the system" : theme;
  $("theme").setAttribute("aria-label", `Theme: ${said}`);
  $("theme").title = `Theme: ${said}`;
}

function startSettings() {
  $("open-settings").addEventListener("click", () => openSettings(false));
  $("settings-cancel").addEventListener("click", () => $("settings").close());
  $("settings-form").addEventListener("submit", saveSettings);
  $("theme").addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    localStorage.setItem("hydac.theme", theme);
    showTheme();
  });
  showTheme();
}
