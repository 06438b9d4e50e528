// The options that people change most, as a form: what would be written is shown first, then saved through the same checks.
const EDITABLE = ["server_url", "printer_token", "printer_name", "language", "printer_data.location",
  "security.remote_control", "security.require_clear_bed", "camera.enabled", "camera.capture_interval", "camera.resolution",
  "camera.timelapse_enabled", "intervals.status_update", "file_management.auto_cleanup"];

function field(option) {
  const value = option.secret ? "" : option.value;
  const attributes = { name: option.path, id: `set-${option.path}`, "data-was": option.secret ? "" : String(value) };
  if (option.type === "true or false") return h("input", { ...attributes, type: "checkbox", checked: value });
  if (option.choices) return h("select", attributes, option.choices.map((choice) => h("option", { value: choice, selected: choice === value }, choice)));
  if (option.minimum !== null) return h("input", { ...attributes, type: "number", step: "any", min: option.minimum, max: option.maximum, value });
  return h("input", { ...attributes, type: option.secret ? "password" : "text", value, autocomplete: option.secret ? "new-password" : "off", spellcheck: "false",
    placeholder: option.secret && option.value ? t("config.set") : "" });
}

// What the form says otherwise than before, by path.
function changesOf(form) {
  const changes = {};
  for (const input of form.elements) {
    if (!input.name) continue;
    const now = input.type === "checkbox" ? String(input.checked) : input.value.trim();
    if (now === input.dataset.was) continue;
    changes[input.name] = input.type === "checkbox" ? input.checked : input.type === "number" ? (now === "" ? null : Number(now)) : now;
  }
  return changes;
}

function showForm() {
  const options = EDITABLE.map((path) => known.config.options.find((option) => option.path === path)).filter(Boolean);
  $("config-form").replaceChildren(
    ...options.map((option) => h("div", { class: option.type === "true or false" ? "field inline" : "field" },
      h("label", { for: `set-${option.path}` }, option[Language.now] || option.en), field(option),
      h("small", { class: "path" }, option.unit ? `${option.path} · ${option.allowed || option.unit}` : option.path))),
    h("p", { class: "form-error", id: "config-error", role: "alert" }),
    h("div", { class: "row end" },
      h("button", { type: "button", class: "button", onclick: () => openForm(false) }, t("no")),
      h("button", { type: "submit", class: "button primary" }, t("config.review"))));
}

async function openForm(open, path = EDITABLE[0]) {
  if (open && !known.config) known.config = await guarded(() => moonraker.get("config"));
  if (open && !known.config) return;
  $("config-form").hidden = !open;
  $("config-edit").setAttribute("aria-expanded", String(open));
  if (open) { showForm(); $(`set-${path}`).focus(); }
}

// Lines that are only in one of the two, with a sign before them.
function difference(before, after) {
  const was = before.split("\n"), is = after.split("\n");
  const old = new Set(was), fresh = new Set(is);
  return [...was.filter((line) => !fresh.has(line)).map((line) => ["gone", `− ${line}`]), ...is.filter((line) => !old.has(line)).map((line) => ["new", `+ ${line}`])];
}

async function review(event) {
  event.preventDefault();
  const changes = changesOf(event.currentTarget);
  say($("config-error"), "");
  if (!Object.keys(changes).length) { openForm(false); return; }
  const post = (more) => guarded(() => moonraker.post("settings", { changes, ...more })).catch((error) => ({ ok: false, message: error.message }));
  const plan = await post({ dry_run: true });
  if (!plan) return;
  if (!plan.ok) { say($("config-error"), plan.message); return; }
  const lines = difference(plan.before, plan.after).map(([kind, line]) => h("span", { class: kind }, `${line}\n`));
  if (!(await ask(t("config.ask", { file: plan.file }), h("pre", { class: "difference" }, lines), t("config.save")))) return;
  const said = await post();
  if (!said) { unanswered(); return; }
  if (!said.ok) { say($("config-error"), said.message); return; }
  openForm(false);
  toast(t("config.saved"));
  await update();
}

// The first start: nothing is set yet, so the two things that are needed are asked for, saved, and tried.
async function setUp(event) {
  event.preventDefault();
  say($("setup-error"), "");
  const changes = { server_url: $("setup-url").value.trim(), printer_token: $("setup-token").value.trim() };
  const said = await guarded(() => moonraker.post("settings", { changes })).catch((error) => ({ ok: false, message: error.message }));
  if (!said) { unanswered(); return; }
  if (!said.ok) { say($("setup-error"), said.message); return; }
  $("setup-token").value = "";
  toast(t("config.saved"));
  await update();
  $("examine").scrollIntoView({ block: "nearest" });
  await examine();
}
