// Building and formatting. Data only ever becomes text nodes and attributes, never markup.
// What the overview carries in both languages: `name`, and `name_es` beside it.
const words = (thing, name) => (Language.now === "es" && thing[`${name}_es`]) || thing[name];

const $ = (id) => document.getElementById(id);

// The browser's storage, which may be forbidden (private windows): then nothing is kept.
const storage = (area) => ({
  get(name) { try { return window[area].getItem(`tecmedhub.${name}`); } catch (_) { return null; } },
  set(name, value) { try { window[area].setItem(`tecmedhub.${name}`, value); } catch (_) { /* not kept */ } },
  drop(name) { try { window[area].removeItem(`tecmedhub.${name}`); } catch (_) { /* nothing there */ } },
});
const keep = storage("localStorage");
const session = storage("sessionStorage");

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children.flat());
  return element;
}

const drawn = new Map();
// Rebuild the children of `element` only when `data` or the language changed, so that focus and scrolling stay.
function fill(element, data, build) {
  const seen = JSON.stringify([data, Language.now]);
  if (drawn.get(element) === seen) return;
  drawn.set(element, seen);
  const name = (one) => one.getAttribute("aria-label") || one.textContent;
  const held = element.contains(document.activeElement) && name(document.activeElement);
  element.replaceChildren(...[build(data)].flat().filter((child) => child !== null && child !== undefined));
  const again = held && [...element.querySelectorAll("button, a")].find((one) => name(one) === held);
  if (again) again.focus({ preventScroll: true });
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const figure = (value, digits = 0) =>
  new Intl.NumberFormat(Language.locale, { maximumFractionDigits: digits, minimumFractionDigits: digits }).format(value);

function degrees(value) {
  return value === null || value === undefined ? "–" : `${figure(value, value < 100 ? 1 : 0)} °C`;
}

function bytes(count) {
  if (count === null || count === undefined) return "–";
  const units = ["B", "KB", "MB", "GB"];
  let place = 0;
  while (count >= 1024 && place < units.length - 1) { count /= 1024; place += 1; }
  return `${figure(count, place && count < 100 ? 1 : 0)} ${units[place]}`;
}

// Two steps at most: "3 d 4 h", "5 min", "12 s"; the units are the same in both languages.
function span(seconds) {
  seconds = Math.max(0, Math.round(seconds));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

const clock = (at) => new Date(at * 1000).toLocaleTimeString(Language.locale, { hour: "2-digit", minute: "2-digit" });
const moment = (at) => new Date(at * 1000).toLocaleString(Language.locale, { dateStyle: "medium", timeStyle: "medium" });

// A <time> that the ticker keeps current, in the printer's time rather than this browser's.
function when(at, kind = "ago") {
  const element = h("time", { datetime: new Date(at * 1000).toISOString(), title: moment(at), "data-at": at, "data-kind": kind });
  tick(element);
  return element;
}

const Skew = { seconds: 0 };  // printer's clock minus ours
const printerNow = () => Date.now() / 1000 + Skew.seconds;

function tick(element) {
  const age = printerNow() - Number(element.dataset.at);
  if (element.dataset.kind === "since") say(element, t("hub.since", { time: span(age) }));
  else say(element, age < 2 ? t("ago.now") : t("ago", { time: span(age) }));
}

function toast(text, bad) {
  const element = h("div", { class: bad ? "toast bad" : "toast" }, text);
  $("toasts").append(element);
  setTimeout(() => element.remove(), bad ? 9000 : 5000);
}

// One question at a time: another would take its place under the finger that answers the first.
function ask(title, text, yes) {
  const dialog = $("ask");
  if (dialog.open) return Promise.resolve(false);
  say($("ask-title"), title);
  $("ask-text").replaceChildren(text);
  say($("ask-yes"), yes);
  return new Promise((resolve) => {
    const end = (answer) => { dialog.close(); resolve(answer); };
    $("ask-yes").onclick = () => end(true);
    $("ask-no").onclick = () => end(false);
    dialog.oncancel = () => resolve(false);
    dialog.showModal();
    $("ask-no").focus();
  });
}
