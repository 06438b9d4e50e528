// What is known, as it is shown: each function draws one card, and only what has changed of it.
function show() {
  $("setup").hidden = known.overview.hub.state !== "unconfigured";
  showBanner(); showLive(); showNotices(); showHub(); showPrinter(); showControls(); showDownload(); showPictures();
  say($("printer-name"), known.overview.printer_name);
  say($("foot"), t("foot", { version: known.overview.version }));
  document.title = `${known.overview.printer_name || "TecMedHub"} · ${t(`hub.${known.overview.hub.state}`)}`;
}

function showBanner() {
  const text = silent ? t("banner.silent") : broken && t("banner.broken", { reason: broken });
  fill($("banner"), text, () => (text ? h("p", { class: "banner bad" }, text) : null));
}

function showLive() {
  const live = $("live");
  live.className = `live ${silent ? "off" : moonraker.live ? "on" : ""}`;
  const text = silent ? t("silent") : moonraker.live ? t("live") : t("polling", { seconds: POLL_EVERY / 1000 });
  fill(live, text, () => h("span", { class: "live-text" }, text));
}

function showNotices() {
  const why = known.overview.hub.sentence;  // told below, and not again by what suffers from it
  const told = (notice) => ["hub", "setup"].includes(notice.key) || (!notice.warning && why && notice.text.includes(why));
  const standing = known.overview.notices.filter((notice) => !told(notice));
  fill($("notices"), standing, () => standing.map((notice) => h("li", { class: notice.warning ? "" : "info" },
    h("span", {}, words(notice, "text")),
    h("span", { class: "quiet" }, `${t("notice.since", { time: moment(notice.since) })}${notice.count > 1 ? ` · ${t("notice.count", { count: notice.count })}` : ""}`))));
}

function showHub() {
  const hub = known.overview.hub;
  const tone = { connected: "ok", disconnected: "bad", connecting: "", unconfigured: "warn" }[hub.state];
  $("hub-state").closest(".card").classList.toggle("bad", hub.state === "disconnected");
  $("hub-state").className = `state ${tone}`;
  fill($("hub-state"), [hub.state, hub.since], () => [
    h("span", { class: "dot", "aria-hidden": "true" }), t(`hub.${hub.state}`),
    hub.since && hub.state !== "connecting" ? h("span", { class: "since" }, when(hub.since, "since")) : null]);
  fill($("hub-reason"), [hub.state, words(hub, "sentence")], () =>
    (hub.state === "unconfigured" ? t("hub.unconfigured.why", { file: hub.file }) : words(hub, "sentence") || null));
  const stages = Object.entries(hub.stages).filter(([name]) => name !== "tls" || hub.encrypted !== false);
  fill($("hub-chain"), stages, () => stages.map(([name, state]) => {
    const words = state === true ? "yes" : state === false ? "no" : "unknown";
    return h("li", { class: state === true ? "ok" : state === false ? "bad" : "", "aria-label": `${t(`stage.${name}`)}: ${t(`stage.${words}`)}` }, t(`stage.${name}`));
  }));
  $("hub-change").hidden = hub.state !== "disconnected";
  const sent = known.overview.last_sent;
  const skew = hub.clock_skew;
  const facts = hub.state === "unconfigured" ? [] : [
    [t("hub.host"), hub.host],
    [t("hub.latency"), hub.latency_ms === null || hub.state === "disconnected" ? "–" : t("chart.ms", { value: figure(hub.latency_ms) })],
    [t("hub.lastsent"), sent ? sent.taken_at : null],
    [t("hub.skew"), skew === null ? "–" : Math.abs(skew) <= 10 ? t("hub.skew.ok") : t("hub.skew.off", { seconds: figure(Math.abs(skew)) })],
    [t("hub.reconnections"), figure(hub.reconnections)],
    [t("hub.line"), hub.state === "disconnected" ? "–" : lineWords(hub.line)],
    [t("hub.generation"), hub.generation],
    [t("hub.waiting"), waitingForHub()],
  ];
  fill($("hub-facts"), facts, () => facts.map(([name, value], i) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, i === 2 ? (value ? when(value) : "–") : String(value)))));
  const wait = hub.state === "disconnected" ? Math.ceil(hub.retry_in) : 0;
  known.retryAt = wait > 0 ? Date.now() / 1000 + wait : 0;
  showRetry();
}

// How good the way to the hub is, and what follows from it.
function lineWords(line) {
  if (!line || (line.up === null && line.round_trip === null)) return "–";
  const parts = [];
  if (line.spared) parts.push(t("hub.line.up", { speed: bytes(line.up) }));
  if (line.failing >= 0.05) parts.push(t("hub.line.spoilt", { percent: figure(line.failing * 100) }));
  if (line.spared) parts.push(t("hub.line.spared"));
  return parts.join(", ") || t("hub.line.good");
}

// What is kept here until the hub has it.
function waitingForHub() {
  const waits = known.status && known.status.undelivered;
  if (!waits) return "–";
  const parts = [[waits.events, "hub.waiting.events"], [waits.command_results, "hub.waiting.results"]];
  const told = parts.filter(([count]) => count).map(([count, key]) => t(key, { count: figure(count) }));
  return told.join(", ") || t("hub.waiting.none");
}

function showRetry() {
  const left = Math.ceil((known.retryAt || 0) - Date.now() / 1000);
  say($("hub-retry"), left > 0 ? t("hub.retry", { seconds: left }) : "");
}

function showSent() {
  const sent = known.overview.last_sent;
  const line = !sent ? t("sent.none") : `${clock(sent.at)} · ${sent.ok
    ? t("sent.line", { bytes: bytes(sent.bytes), reasons: sent.reasons.map((reason) => word("reason", reason)).join(", ") })
    : t("sent.failed", { sentence: words(sent, "sentence") })}`;
  say($("sent-line"), line);
  say($("sent-body"), known.status && known.status.last_body ? JSON.stringify(known.status.last_body, null, 2) : "");
}

// Nozzles first, then the bed, then the rest as Klipper lists them.
const rank = (name) => (name.startsWith("extruder") ? 0 : name === "heater_bed" ? 1 : 2);
const ordered = (names) => [...names].sort((a, b) => rank(a) - rank(b));

function heaterName(name) {
  if (name === "extruder") return t("heater.nozzle");
  const number = /^extruder(\d+)$/.exec(name);
  if (number) return t("heater.nozzle_n", { n: Number(number[1]) + 1 });
  if (name === "heater_bed") return t("heater.bed");
  return name.replace(/^\w+ /, "").replace(/_/g, " ");
}

function showPrinter() {
  const printer = known.overview.printer;
  let state = printer.klippy === "ready" ? printer.state || "ready" : printer.klippy;
  if (printer.klippy === "error") state = "klippy_error";
  const tones = { printing: "ok", complete: "ok", standby: "ok", ready: "ok", paused: "warn", startup: "warn", cancelled: "" };
  $("printer-state").className = `state ${state in tones ? tones[state] : "bad"}`;
  fill($("printer-state"), state, () => [h("span", { class: "dot", "aria-hidden": "true" }), word("printer", state)]);
  // Klipper's own words: they may say "ready" before its parts are known here.
  say($("printer-message"), printer.klippy === "ready" || printer.message === "Printer is ready" ? "" : words(printer, "message"));
  $("firmware-restart").hidden = !["shutdown", "error"].includes(printer.klippy);
  const busy = ["printing", "paused"].includes(printer.state) && printer.klippy === "ready";
  fill($("job"), [busy, printer.filename, printer.progress, printer.layer, printer.layers, printer.minutes_left, printer.state, words(printer, "pause_reason"), Math.floor(printer.print_duration / 60)], () => {
    if (!busy) return null;
    const percent = printer.progress * 100;
    const why = printer.state === "paused" ? words(printer, "pause_reason") : "";
    const bar = h("div", { class: "progress", role: "progressbar", "aria-valuenow": Math.round(percent), "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": printer.filename }, h("span"));
    bar.firstChild.style.width = `${percent}%`;
    return [
      h("p", { class: "job-name" }, printer.filename), bar,
      why ? h("p", { class: "reason why" }, why) : null,
      h("p", { class: "job-line" },
        h("span", {}, `${figure(percent, 1)} %`),
        printer.layers ? h("span", {}, t("job.layer", { layer: printer.layer === null ? "–" : printer.layer, layers: printer.layers })) : null,
        h("span", {}, t("job.printed", { time: span(printer.print_duration) })),
        printer.minutes_left ? h("span", {}, t("job.left", { time: span(printer.minutes_left * 60) })) : null)];
  });
  const readings = { ...printer.heaters };
  for (const [name, temperature] of Object.entries(printer.sensors)) readings[name] = { temperature, target: null };
  const heaters = ordered(Object.keys(readings)).map((name) => [name, readings[name]]);
  fill($("heaters"), heaters, () => heaters.map(([name, heater]) => h("li", {},
    h("span", { class: "name" }, heaterName(name)),
    h("span", { class: "value" }, degrees(heater.temperature)),
    heater.target ? h("span", { class: "target" }, ` / ${figure(heater.target)}`) : null)));
}

function showControls() {
  const { remote, bed } = known.overview;
  $("remote").setAttribute("aria-checked", String(remote.on));
  say($("remote-text"), t(remote.on ? `remote.on.${remote.level}` : remote.level === "off" ? "remote.off.off" : "remote.off"));
  // Without the latch the button would promise what it cannot keep; in a job the bed is not clear.
  const printing = ["printing", "paused"].includes(known.overview.printer.state) && known.overview.printer.klippy === "ready";
  $("bed-control").hidden = !bed.required;
  $("bed").hidden = printing || !bed.needs_clearing;
  say($("bed-text"), t(printing ? "bed.printing" : bed.needs_clearing ? "bed.needed" : "bed.free"));
}

function showDownload() {
  const progress = known.overview.download;
  const waiting = known.overview.downloads_waiting;
  $("download-cancel").hidden = !progress;  // not drawn anew each second, under the finger
  fill($("download"), [progress, waiting], () => {
    if (!progress) return h("p", { class: "empty-line" }, t("files.none"));
    const bar = h("div", { class: "progress", role: "progressbar", "aria-valuenow": Math.round(progress.percent || 0), "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": progress.file }, h("span"));
    bar.firstChild.style.width = `${progress.percent || 0}%`;
    const size = progress.size || (progress.percent ? (progress.bytes * 100) / progress.percent : null);
    return [
      h("p", { class: "job-name" }, progress.file), bar,
      h("p", { class: "job-line" },
        h("span", {}, progress.percent === null || progress.percent === undefined ? "" : `${figure(progress.percent)} %`),
        h("span", {}, t("files.line", { done: bytes(progress.bytes), size: bytes(size), speed: bytes(progress.speed) })),
        progress.eta ? h("span", {}, t("files.eta", { time: span(progress.eta) })) : null),
      waiting.length ? h("p", { class: "quiet" }, t("files.waiting", { files: waiting.join(", ") })) : null];
  });
}

function showPictures() {
  const cameras = known.overview.cameras;
  fill($("pictures"), [cameras.map((c) => [c.name, c.state, c.message]), [...photos]], () => {
    if (!cameras.length) return h("p", { class: "empty-line" }, t("cameras.none"));
    return cameras.map((camera) => h("figure", {},
      photos.has(camera.name) ? h("button", { type: "button", class: "picture", "aria-label": t("cameras.enlarge", { name: camera.name }), onclick: () => enlarge(camera.name) },
        h("img", { src: photos.get(camera.name), alt: t("cameras.alt", { name: camera.name }) }))
        : h("div", { class: "blank" }, t("cameras.wait")),
      h("figcaption", {},
        h("strong", {}, camera.name),
        h("span", { class: `tag ${camera.state === "ok" ? "ok" : camera.state === "failing" ? "bad" : "warn"}` }, word("camera", camera.state)),
        camera.age === null ? null : h("span", { class: "quiet" }, when(printerNow() - camera.age)),
        camera.message ? h("span", { class: "trouble" }, words(camera, "message")) : null)));
  });
  if ($("viewer").open && known.enlarged && photos.has(known.enlarged)) $("viewer").querySelector("img").src = photos.get(known.enlarged);
}

// A picture or a video, as large as the window.
function showLarge(name, element) {
  say($("viewer-title"), name);
  $("viewer-body").replaceChildren(element);
  $("viewer").onclose = () => { known.enlarged = null; $("viewer-body").replaceChildren(); };
  $("viewer").showModal();
}

function enlarge(name) {
  showLarge(name, h("img", { src: photos.get(name), alt: t("cameras.alt", { name }) }));
  known.enlarged = name;
}

function showVideos() {
  const film = known.status && known.status.timelapse;
  if (!film) return;
  $("film").hidden = !film.waiting.length || Boolean(film.rendering);
  fill($("videos"), [film.recording, film.rendering, film.waiting, film.videos], () => {
    const now = film.recording ? t("videos.recording", { file: film.recording.filename, frames: film.recording.frames })
      : film.rendering ? t("videos.rendering", { file: film.rendering })
        : film.waiting.length ? t("videos.waiting", { file: film.waiting[0].filename, frames: film.waiting[0].frames }) : "";
    if (!now && !film.videos.length) return h("p", { class: "empty-line" }, t("videos.none"));
    return [now ? h("p", { class: "quiet" }, now) : null, h("ul", { class: "log" }, film.videos.slice(0, 6).map((video) => h("li", {},
      h("span", { class: "what" }, h("a", { href: moonraker.base + video.path, onclick: (event) => playVideo(event, video) }, video.name)),
      h("span", { class: "quiet" }, bytes(video.size)), when(video.created))))];
  });
}

// A browser plays MP4 in place; archives of frames are saved. An address cannot carry a login; a one-time token can.
async function playVideo(event, video) {
  event.preventDefault();
  const address = moonraker.base + video.path;
  const admitted = async (path) => {
    if (!moonraker.identified) return path;
    const token = await guarded(() => moonraker.ask("GET", "/access/oneshot_token"));
    return token ? `${path}?token=${encodeURIComponent(token)}` : path;
  };
  const source = await admitted(address);
  if (!/\.mp4$/i.test(video.path)) { h("a", { href: source, download: video.name }).click(); return; }
  const poster = await admitted(address.replace(/\.mp4$/i, ".jpg"));
  showLarge(video.name, h("video", { src: source, poster, controls: true, autoplay: true, loop: true }));
}

const TONE = { received: "", sent: "accent", running: "accent", done: "ok", failed: "bad", refused: "warn", expired: "warn", interrupted: "bad" };

function showCommands() {
  fill($("commands"), known.commands, () => (known.commands.length ? known.commands.map((command) => h("li", {},
    h("span", { class: `tag ${TONE[command.status] || ""}` }, word("status", command.status)),
    h("span", { class: "what" }, h("strong", {}, command.action || t("commands.unreadable")), command.action && command.summary && command.summary !== command.action ? ` ${command.summary.replace(command.action, "").trim()}` : ""),
    when(command.finished_at || command.received_at),
    command.message ? h("span", { class: "note" }, command.message) : null)) : h("li", {}, h("span", { class: "empty-line" }, t("commands.none")))));
}

const ENDED = { completed: "ok", cancelled: "", interrupted: "warn", server_exit: "warn" };

// When, for how long and why: what somebody asks who finds a mark on the part.
function pauseNote(pause) {
  const parts = [t("jobs.pause", { time: pause.at ? clock(pause.at) : "–" }), pause.seconds !== null && span(pause.seconds), words(pause, "reason") || t("jobs.pause.why")];
  return h("span", { class: "note" }, parts.filter(Boolean).join(" · "));
}

function showJobs() {
  const jobs = (known.status && known.status.jobs) || [];
  fill($("jobs"), jobs, () => (jobs.length ? jobs.map((job) => h("li", {},
    h("span", { class: `tag ${job.status in ENDED ? ENDED[job.status] : "bad"}` }, word("ended", job.status)),
    h("span", { class: "what" }, h("strong", {}, job.filename), job.total_duration ? h("span", { class: "quiet" }, ` ${span(job.total_duration)}`) : null),
    job.end_time ? when(job.end_time) : "",
    job.reason ? h("span", { class: "note" }, words(job, "reason")) : null,
    ...job.pauses.map(pauseNote))) : h("li", {}, h("span", { class: "empty-line" }, t("jobs.none")))));
}

function eventNote(event) {
  const data = event.data;
  const parts = [data.filename, data.state && word("printer", data.state === "error" ? "klippy_error" : data.state), data.message, data.action && `${data.action}: ${word("status", data.status || "")}`];
  if (data.seconds) parts.push(t("event.after", { time: span(data.seconds) }));
  if (data.print_duration) parts.push(span(data.print_duration));
  return parts.filter(Boolean).join(" · ");
}

function showEvents() {
  const events = known.events.filter((event) => event.kind !== "sample");
  const tone = (kind) => (/unreachable|failed|error|disconnected/.test(kind) ? "bad" : /reconnected|finished|ready/.test(kind) ? "ok" : "");
  fill($("events"), events, () => (events.length ? events.map((event) => h("li", {},
    h("span", { class: `tag ${tone(event.kind)}` }, word("event", event.kind)),
    h("span", { class: "what quiet" }, eventNote(event)), when(event.at))) : h("li", {}, h("span", { class: "empty-line" }, t("events.none")))));
}

const DASHES = ["", "9 4", "2 4", "12 4 2 4", "5 3", "14 5", "2 7"];

function swatch(i) {
  return svg("svg", { class: "swatch-line", viewBox: "0 0 26 6", "aria-hidden": "true" },
    svg("path", { class: `line k${i % 6}`, d: "M1 3H25", "stroke-dasharray": DASHES[i % DASHES.length] }));
}

function showCharts() {
  const names = ordered(Object.keys(past.temperatures));
  const series = names.flatMap((name, i) => {
    const colour = i % 6, both = past.temperatures[name];  // beyond the sixth, and for eyes that see no colour: dashes
    const targets = both.target.map((target) => target || null);
    return [
      ...(targets.some(Boolean) ? [{ name: heaterName(name), kind: "target", colour, values: targets }] : []),
      { name: heaterName(name), kind: "line", colour, dash: DASHES[i % DASHES.length], values: both.temperature }];
  });
  temperatures.show({ title: t("chart.temperatures"), times: past.times, interval: past.interval, series });
  const now = names.map((name) => [name, past.temperatures[name].temperature.at(-1), past.temperatures[name].target.at(-1)]);
  fill($("temperatures-legend"), now, () => now.map(([name, value, target], i) => h("li", {}, swatch(i),
    heaterName(name), h("strong", {}, degrees(value)), target ? h("span", { class: "quiet" }, t("chart.target", { value: figure(target) })) : null)));

  const outages = [];
  past.connected.forEach((connected, i) => {
    if (connected !== false) return;
    const until = past.times[i] + past.interval;
    const previous = outages[outages.length - 1];
    if (previous && past.times[i] - previous[1] < past.interval) previous[1] = until;
    else outages.push([past.times[i], until]);
  });
  if (outages.length) outages[outages.length - 1][1] = Math.min(outages[outages.length - 1][1], past.times[past.times.length - 1]);
  latency.show({ title: t("chart.latency"), times: past.times, interval: past.interval, outages, series: [{ name: t("chart.answer"), kind: "area", colour: 1, values: past.latency }] });
  const measured = past.latency.filter((value) => value !== null).sort((a, b) => a - b);
  const facts = measured.length ? [...(past.connected.at(-1) === false ? [] : [[t("chart.now"), last(past.latency)]]), [t("chart.median"), measured[Math.floor(measured.length / 2)]], [t("chart.slowest"), measured[measured.length - 1]]] : [];
  fill($("latency-legend"), [facts, outages.length], () => [
    ...facts.map(([name, value]) => h("li", {}, h("span", { class: "quiet" }, name), h("strong", {}, t("chart.ms", { value: figure(value) })))),
    outages.length ? h("li", {}, h("span", { class: "swatch block" }), t("chart.outage")) : null]);
}

function showReport() {
  const report = known.report;
  say($("doctor-line"), !report ? t("doctor.idle") : report === "busy" ? t("doctor.busy") : t(`doctor.${report.state}`, { seconds: figure(report.seconds, 1) }));
  if (!report || report === "busy") return;
  const sign = { ok: "✓", warning: "!", failed: "✕", skipped: "–" };
  fill($("findings"), report.checks, () => report.checks.map((check) => h("li", { class: check.state },
    h("span", { class: "sign", role: "img", "aria-label": t(`check.${check.state}`) }, sign[check.state]),
    h("span", { class: "text" }, h("strong", {}, `${check.title}: `), check.text,
      check.remedy ? h("span", { class: "remedy" }, check.remedy) : null))));
}

function valueText(option) {
  const value = option.value;
  if (option.secret) return value ? t("config.set") : t("config.unset");
  if (typeof value === "boolean") return value ? t("config.yes") : t("config.no");
  if (Array.isArray(value)) return value.length ? value.join(", ") : t("config.empty");
  if (value && typeof value === "object") return Object.keys(value).length ? Object.entries(value).map(([k, v]) => (typeof v === "object" ? k : `${k}: ${v}`)).join(", ") : t("config.empty");
  if (value === "" || value === null) return t("config.empty");
  return option.unit ? `${value} ${has(`unit.${option.unit}`) ? t(`unit.${option.unit}`) : option.unit}` : String(value);
}

function showConfig() {
  const config = known.config;
  if (!config) return;
  say($("config-line"), t("config.line", { file: config.file }));
  const problems = config.problems.filter((problem) => !problem.explained);
  fill($("config-problems"), problems, () => problems.map((problem) => h("li", { class: "warning" },
    h("span", { class: "sign", "aria-hidden": "true" }, "!"), h("span", { class: "text" }, problem.text))));
  const all = $("config-all").checked;
  const options = config.options.filter((option) => all || option.origin !== "default");
  fill($("config"), [options, all], () => {
    if (!options.length) return h("p", { class: "empty-line" }, t("config.same"));
    const sections = [...new Set(options.map((option) => option.section))];
    return h("div", { class: "options" }, sections.map((section) => [
      h("h3", {}, word("section", section)),
      ...options.filter((option) => option.section === section).map((option) => h("div", { class: "option" },
        h("span", { class: "path" }, option.path), h("span", { class: "value" }, valueText(option)),
        h("span", { class: `tag ${option.origin === "default" ? "" : "accent"}` }, t(`origin.${option.origin}`)),
        all ? h("span", { class: "help" }, option[Language.now] || option.en) : null))]).flat());
  });
}

function showPlan() {
  const plan = known.plan;
  fill($("cleanup-list"), plan, () => {
    if (!plan) return null;
    if (!plan.length) return h("p", { class: "empty-line" }, t("cleanup.none"));
    return [h("ul", { class: "log" }, plan.map((file) => h("li", {}, h("span"), h("span", { class: "what" }, file.name || file.path), h("span", { class: "when" }, bytes(file.size))))),
      h("button", { type: "button", class: "button danger small", onclick: (event) => cleanUp(event.currentTarget) }, t("cleanup.go", { count: plan.length }))];
  });
}

function forbidden() {
  moonraker.disconnect();
  $("panel").hidden = true;
  $("setup").hidden = true;
  if (!$("login").hidden) return;
  moonraker.forget();
  $("login").hidden = false;
  fill($("notices"), "forbidden", () => h("li", { class: "info" }, t("banner.forbidden")));
}
