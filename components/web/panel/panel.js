// The page itself: what is known, how it is asked for, what the buttons do. How it is shown: show.js.
const known = { overview: null, commands: [], events: [], config: null, status: null, report: null, plan: null };
const seen = {};  // revisions of the lists that were fetched
const past = { times: [], connected: [], latency: [], temperatures: {}, interval: 10 };
const photos = new Map();  // camera → address of its picture
let temperatures, latency, poll = null;

const moonraker = new Moonraker({
  changed: (overview) => { take(overview); refresh(); },
  download: (progress) => { if (known.overview) { known.overview.download = progress; showDownload(); } },
  live: (on) => { showLive(); if (on) { forgetRevisions(); update(); } schedule(); },
});

// Asking

let silent = false, broken = "";  // no answer; why what is new cannot be shown

// After a restart of Moonraker's the revisions begin anew, so that equal ones mean nothing.
function forgetRevisions() {
  for (const topic of Object.keys(seen)) delete seen[topic];
}

async function guarded(work) {
  try {
    const result = await work();
    if (silent) { silent = false; forgetRevisions(); showBanner(); }
    return result;
  } catch (error) {
    if (error instanceof Unauthorized) forbidden();
    else if (error instanceof Unreachable) { silent = true; showBanner(); showLive(); }
    else throw error;
    return undefined;
  }
}

async function look() {
  const status = await moonraker.get("status");
  known.status = status;
  $("login").hidden = true;
  $("panel").hidden = false;
  take(status);
  return true;
}

let updating = 0;
async function update() {
  let reason = "";
  updating += 1;
  await guarded(async () => {
    await look();
    fetchPictures();
    showSent();
    showVideos();
    showJobs();
    await refresh();
    await extend();
  }).catch((error) => { reason = error.message; });
  updating -= 1;
  if (reason !== broken) { broken = reason; showBanner(); }
  if (!moonraker.socket && !$("panel").hidden) moonraker.connect();
}

function take(overview) {
  if (known.overview && known.overview.version !== overview.version) location.reload();  // this page is of the plugin of before
  known.overview = overview;
  Skew.seconds = overview.time - Date.now() / 1000;
  show();
}

// Fetch the lists whose revision moved.
async function refresh() {
  const revisions = known.overview.revisions;
  const moved = (topic) => seen[topic] !== revisions[topic];
  const wants = {
    commands: async () => { known.commands = (await moonraker.get("commands", { limit: 50 })).commands; showCommands(); },
    events: async () => {
      known.events = (await moonraker.get("events", { limit: 60 })).events;
      known.status = await moonraker.get("status");  // a job may have ended
      showEvents(); showJobs();
    },
    settings: async () => { known.config = await moonraker.get("config"); showConfig(); },
    videos: async () => { known.status = await moonraker.get("status"); showVideos(); },
  };
  for (const [topic, fetchIt] of Object.entries(wants)) {
    if (!moved(topic)) continue;
    seen[topic] = revisions[topic];
    await guarded(fetchIt).catch(() => { seen[topic] = undefined; });
  }
}

let extending = null;  // one at a time, or points would come twice
function extend() {
  if (!extending) extending = fetchHistory().finally(() => { extending = null; });
  return extending;
}

async function fetchHistory() {
  const since = past.times.length ? past.times[past.times.length - 1] : 0;
  const more = await moonraker.get("history", { since });
  const before = past.times.length;
  past.interval = more.interval;
  for (const column of ["times", "connected", "latency"]) past[column].push(...more[column]);
  for (const name of new Set([...Object.keys(past.temperatures), ...Object.keys(more.temperatures)])) {
    const mine = past.temperatures[name] || { temperature: Array(before).fill(null), target: Array(before).fill(null) };
    const theirs = more.temperatures[name];
    for (const column of ["temperature", "target"]) {
      mine[column].push(...(theirs ? theirs[column] : Array(more.times.length).fill(null)));
    }
    past.temperatures[name] = mine;
  }
  const first = past.times.findIndex((time) => time > printerNow() - HOUR);
  if (first > 0) {
    const columns = [past.times, past.connected, past.latency, ...Object.values(past.temperatures).flatMap((s) => [s.temperature, s.target])];
    for (const column of columns) column.splice(0, first);
  }
  showCharts();
}

let looking = null;  // one round at a time: a camera may take its time
function fetchPictures(age = 4) {
  if (!looking) looking = lookAtCameras(age).finally(() => { looking = null; });
  return looking;
}

// Taken for whoever looks at this page, whether or not the hub gets any.
async function lookAtCameras(age) {
  await Promise.all(known.overview.cameras.map(async (camera) => {
    const blob = await guarded(() => moonraker.picture(camera.name, age)).catch(() => null);
    if (!blob) return;
    const old = photos.get(camera.name);
    photos.set(camera.name, URL.createObjectURL(blob));
    if (old) setTimeout(() => URL.revokeObjectURL(old), 1000);  // it may be on its way to the screen
  }));
  showPictures();
}

function schedule() {
  clearInterval(poll);
  poll = setInterval(() => { if (!document.hidden && !updating && $("login").hidden) update(); }, moonraker.live ? REFRESH_EVERY : POLL_EVERY);
}

// Doing

function unanswered() {
  if (silent) toast(t("unanswered"), true);
}

async function act(button, work, done) {
  button.disabled = true;
  try {
    const said = await guarded(work);
    if (said === undefined) { unanswered(); return undefined; }
    if (said && said.ok === false && said.message) { toast(t("failed", { reason: said.message }), true); return said; }
    const text = typeof done === "function" ? done(said) : done;
    if (text) toast(text);
    await update();
    return said;
  } catch (error) {
    toast(t("failed", { reason: error.message }), true);
    return undefined;
  } finally {
    button.disabled = false;
    if (document.activeElement === document.body) button.focus({ preventScroll: true });
  }
}

// Whether somebody says yes, and what they were asked of is then still so: page and question may be of before a night's sleep.
async function agreed(button, title, text, yes, subject) {
  const seenNow = async () => (await guarded(look).catch(() => false)) && !button.hidden && JSON.stringify(subject());
  const was = await seenNow();
  if (was && !(await ask(title, text, yes))) return false;
  if (was && (await seenNow()) === was) return true;
  toast(t("ask.changed"), true);
  return false;
}

async function examine() {
  const button = $("examine");
  known.report = "busy";
  showReport();
  button.setAttribute("aria-busy", "true");
  const report = await act(button, () => moonraker.get("doctor"), "");
  button.removeAttribute("aria-busy");
  known.report = report && report.checks ? report : null;
  showReport();
}

async function showLog() {
  if (!$("log-details").open) return;
  const said = await guarded(() => moonraker.get("log", { limit: 60 }));
  if (said) say($("log-lines"), said.lines.join("\n"));
}

async function saveBundle() {
  const response = await moonraker.fetch("GET", "/server/tecmedhub/support");
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  const address = URL.createObjectURL(await response.blob());
  const name = (known.overview.printer_name || "").replace(/[^\w-]+/g, "_");
  h("a", { href: address, download: `tecmedhub-${name}-${new Date().toISOString().slice(0, 10)}.zip` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
  return {};
}

async function cleanUp(button) {
  const files = known.plan.map((file) => file.path);
  const size = known.plan.reduce((sum, file) => sum + (file.size || 0), 0);
  if (!(await ask(t("cleanup.ask"), t("cleanup.ask.text", { count: files.length, size: bytes(size) }), t("cleanup.ask.yes")))) return;
  await act(button, () => moonraker.post("cleanup", { confirm: true, files }), (said) => t("cleanup.done", { count: said.files.length }));
  known.plan = null;
  showPlan();
}

const doing = {
  test: (button) => act(button, () => moonraker.post("test_connection"), (said) => t("test.ok", { ms: figure(said.milliseconds) })),
  film: (button) => act(button, () => moonraker.post("timelapse_now"), (said) => said.message),
  async snapshot(button) {
    await act(button, () => moonraker.post("snapshot"), t("cameras.done"));
    await looking;
    await fetchPictures(1);
  },
  async "firmware-restart"(button) {
    const stopped = () => [known.overview.printer.klippy, known.overview.printer.message];
    if (!(await agreed(button, t("restart.ask"), t("restart.ask.text"), t("restart.go"), stopped))) return;
    await act(button, async () => { await moonraker.ask("POST", "/printer/firmware_restart"); return {}; }, t("restart.done"));
  },
  "config-edit": () => openForm($("config-form").hidden),
  "hub-change": () => openForm(true, known.overview.hub.failure === "refused" ? "printer_token" : "server_url"),
  "viewer-close": () => $("viewer").close(),
  examine,
  bundle: (button) => act(button, saveBundle, ""),
  async bed(button) {
    const onIt = () => [known.overview.bed.needs_clearing, known.status.jobs.slice(0, 1).map((job) => [job.job_id, job.end_time])];
    if (await agreed(button, t("bed.ask"), t("bed.ask.text"), t("bed.ask.yes"), onIt)) await act(button, () => moonraker.post("bed_clear"), t("bed.done"));
  },
  async remote(button) {
    const on = button.getAttribute("aria-checked") !== "true";
    if (on && !(await ask(t("remote.ask"), t("remote.ask.text"), t("remote.ask.yes")))) return;
    await act(button, () => moonraker.post(on ? "remote_on" : "remote_off"), (said) => said.message);
  },
  "download-cancel": (button) => act(button, () => moonraker.post("cancel_download", { file: known.overview.download.file }), t("files.cancelled")),
  async cleanup(button) {
    const said = await act(button, () => moonraker.get("cleanup"), "");
    if (said && said.files) { known.plan = said.files; showPlan(); }
  },
};

async function login(event) {
  event.preventDefault();
  say($("login-error"), "");
  const key = $("login-key").value.trim();
  try {
    if (key) moonraker.useKey(key);
    else await moonraker.login($("login-user").value, $("login-password").value);
    await moonraker.get("status");
    $("login-password").value = $("login-key").value = "";
    $("login").hidden = true;
    drawn.delete($("notices"));
    await update();
    $("main").focus();
  } catch (error) {
    moonraker.forget();
    say($("login-error"), t("login.wrong", { reason: error instanceof Unreachable ? t("silent") : error.message || "401" }));
  }
}

function translate() {
  document.documentElement.lang = Language.now;
  for (const element of document.querySelectorAll("[data-t]")) say(element, t(element.dataset.t));
  for (const element of document.querySelectorAll("[data-t-label]")) element.setAttribute("aria-label", t(element.dataset.tLabel));
  for (const button of document.querySelectorAll("[data-lang]")) button.setAttribute("aria-pressed", String(button.dataset.lang === Language.now));
  if (!$("config-form").hidden) showForm();
  $("trial-verdict").replaceChildren();
  if (known.overview) { show(); showSent(); showCommands(); showEvents(); showJobs(); showConfig(); showCharts(); showPlan(); showVideos(); }
  showReport();
}

function speak(code) {
  keep.set("language", code);
  Language.choose();
  translate();
  for (const topic of ["commands", "events", "settings"]) seen[topic] = undefined;  // their sentences come in one language
  if (known.overview) refresh();
  if (known.report && known.report !== "busy") examine();
}

function begin() {
  Language.choose();
  temperatures = new Chart($("temperatures"), { format: (value) => degrees(value), floor: 0 });
  latency = new Chart($("latency"), { format: (value) => (value === null ? "–" : t("chart.ms", { value: figure(value) })), floor: 0 });
  for (const [id, work] of Object.entries(doing)) $(id).addEventListener("click", (event) => work(event.currentTarget));
  for (const button of document.querySelectorAll("[data-lang]")) button.addEventListener("click", () => speak(button.dataset.lang));
  $("login").addEventListener("submit", login);
  $("setup").addEventListener("submit", setUp);
  $("config-form").addEventListener("submit", review);
  $("config-all").addEventListener("change", showConfig);
  $("log-details").addEventListener("toggle", showLog);
  $("trial-details").addEventListener("toggle", openTrial);
  $("trial-action").addEventListener("change", showTrial);
  $("trial-confirm").addEventListener("change", writeTrial);
  $("trial").addEventListener("submit", tryCommand);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) update(); });
  setInterval(() => { for (const element of document.querySelectorAll("time[data-at]")) tick(element); showRetry(); moonraker.watch(); }, 1000);
  const watched = () => !document.hidden && known.overview && $("login").hidden;
  setInterval(() => { if (watched()) guarded(extend).catch(() => {}); }, 10000);
  setInterval(() => { if (watched()) fetchPictures().catch(() => {}); }, LOOK_EVERY);
  translate();
  update();
  schedule();
}

begin();
