// What would become of a command of the hub's: asked with the hub's own form, judged by the same rules, and not run.
const trial = { actions: [] };

async function openTrial() {
  if (!$("trial-details").open) return;
  const said = await guarded(() => moonraker.get("what_if")).catch(() => undefined);
  if (!said) return;
  trial.actions = said.actions;
  showTrial();
}

// A place for each parameter, with its bounds beside it: not in its way, since a refusal is an answer as well.
function showTrial() {
  const select = $("trial-action"), chosen = select.value || "home";
  select.replaceChildren(...trial.actions.map((action) => h("option", { value: action.name, selected: action.name === chosen }, action.name)));
  const action = trial.actions.find((one) => one.name === select.value);
  say($("trial-about"), (action && action.description) || "");
  $("trial-fields").replaceChildren(...Object.entries(action ? action.parameters : {}).map(([name, parameter]) => h("div", { class: "field" },
    h("label", { for: `try-${name}` }, name), trialInput(name, parameter), h("small", { class: "path" }, boundsOf(parameter)))));
  writeTrial();
}

function trialInput(name, parameter) {
  const attributes = { id: `try-${name}`, "data-name": name, "data-type": parameter.type, oninput: writeTrial, autocomplete: "off", spellcheck: "false" };
  if (parameter.type === "boolean") return h("input", { ...attributes, type: "checkbox", checked: Boolean(parameter.default) });
  if (parameter.choices) return h("select", attributes, h("option", { value: "" }, ""), parameter.choices.map((choice) => h("option", { value: choice, selected: choice === parameter.default }, choice)));
  return h("input", { ...attributes, type: "text", inputmode: parameter.type === "number" ? "decimal" : null, value: parameter.default === undefined || parameter.default === null ? "" : parameter.default });
}

function boundsOf(parameter) {
  if (parameter.type === "number") return `${figure(parameter.min, 0)} – ${parameter.max === null ? "…" : figure(parameter.max, parameter.max % 1 ? 1 : 0)} ${parameter.unit || ""}`.trim();
  return parameter.max_length ? t("trial.longest", { count: parameter.max_length }) : "";
}

// The fields write the command as the hub would; whoever knows better edits it.
function writeTrial() {
  const command = { action: $("trial-action").value };
  for (const input of $("trial-fields").querySelectorAll("[data-name]")) {
    const text = input.type === "checkbox" ? input.checked : input.value.trim();
    if (text === "") continue;
    command[input.dataset.name] = input.dataset.type === "number" && Number.isFinite(Number(text)) ? Number(text) : text;
  }
  if ($("trial-confirm").checked) command.confirm = true;
  $("trial-json").value = JSON.stringify(command, null, 1);
}

async function tryCommand(event) {
  event.preventDefault();
  say($("trial-error"), "");
  const said = await guarded(() => moonraker.post("what_if", { command: $("trial-json").value })).catch((error) => ({ ok: false, message: error.message }));
  if (!said) return;
  if (!said.ok) { $("trial-verdict").replaceChildren(); say($("trial-error"), said.message); return; }
  $("trial-verdict").replaceChildren(h("p", { class: "quiet" }, t("trial.nothing")), ...said.commands.map(verdict));
}

const OUTCOMES = { runs: "ok", waits: "accent", refused: "warn", expired: "warn" };

function verdict(found) {
  const facts = [];
  if (found.lane) facts.push([t("trial.lane"), t(`lane.${found.lane}`)]);
  if (found.expires_after) facts.push([t("trial.expires"), span(found.expires_after)]);
  facts.push([t("trial.confirm"), found.confirm.needed ? t("trial.confirm.needed") : found.dangers.length ? t("trial.confirm.job", { why: found.dangers[0] }) : t("trial.confirm.no")]);
  return h("div", { class: "verdict" },
    h("p", {}, h("span", { class: `tag ${OUTCOMES[found.outcome]}` }, t(`trial.${found.outcome}`)), " ", h("strong", {}, found.action ? found.summary : t("commands.unreadable"))),
    h("p", {}, found.message),
    h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    found.sends.length ? [h("p", { class: "quiet" }, t(found.confirm.needed ? "trial.sends.confirmed" : "trial.sends", { who: t(`trial.to.${found.to}`) })),
      h("pre", { tabindex: "0", role: "region", "aria-label": t("trial.sends", { who: t(`trial.to.${found.to}`) }) }, found.sends.join("\n"))] : null);
}
