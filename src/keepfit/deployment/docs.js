// The form of /docs: its fields make the JSON, the JSON makes the command, and the answer is shown.
"use strict";
const find = (id) => document.getElementById(id);
const fields = [...document.querySelectorAll("[data-name]")];
const body = find("body");
const row = JSON.parse(find("example").textContent);
const kinds = Object.fromEntries(Object.entries(row).map(([name, value]) => [name, typeof value]));

function value(field) {
  const text = field.value;
  if (text.trim() === "") return null;
  const kind = kinds[field.dataset.name];
  if (field.dataset.role === "number" || kind === "number") return isNaN(Number(text)) ? text : Number(text);
  if (kind === "boolean" && (text === "true" || text === "false")) return text === "true";
  return text;
}

function fromFields() {
  for (const field of fields) row[field.dataset.name] = value(field);
  body.value = JSON.stringify(row, null, 2);
  command();
}

function command() {
  let text = body.value;
  try { text = JSON.stringify(JSON.parse(text)); } catch { /* shown as it is */ }
  const key = find("key").value ? " \\\n  -H 'X-API-Key: $KEEPFIT_API_KEY'".replaceAll("'", '"') : "";
  const quoted = "'" + text.replaceAll("'", "'\\''") + "'";
  find("curl").textContent =
    `curl ${location.origin}/predict \\\n  -H 'Content-Type: application/json'${key} \\\n  -d ${quoted}`;
}

function bars(probabilities) {
  const parts = Object.entries(probabilities || {}).sort((a, b) => b[1] - a[1]).slice(0, 12).map(([name, share]) => {
    const line = document.createElement("div"), label = document.createElement("span");
    const meter = document.createElement("meter"), number = document.createElement("span");
    label.textContent = name;
    meter.value = share;
    number.textContent = (100 * share).toFixed(1) + " %";
    line.append(label, meter, number);
    return line;
  });
  find("bars").replaceChildren(...parts);
}

function headline(text, bad) {
  find("headline").textContent = text;
  find("headline").className = bad ? "bad" : "";
}

function show(status, answer) {
  find("answer").hidden = false;
  find("raw").textContent = typeof answer === "string" ? answer : JSON.stringify(answer, null, 2);
  const first = answer.predictions && answer.predictions[0];
  bars(first && first.probabilities);
  if (!first) return headline(answer.error ? answer.error.message : `The server answered ${status}.`, true);
  const sure = first.confidence === undefined ? "" : `, confidence ${(100 * first.confidence).toFixed(1)} %`;
  const ends = first.interval ? `, between ${first.interval.join(" and ")}` : "";
  headline(`${first.prediction}${sure}${ends}`, false);
}

async function ask(event) {
  event.preventDefault();
  const button = event.target.querySelector("button[type=submit]"), headers = { "Content-Type": "application/json" };
  if (find("key").value) headers["X-API-Key"] = find("key").value;
  button.disabled = true;
  try {
    const response = await fetch("predict", { method: "POST", headers, body: body.value });
    const text = await response.text();
    let answer = text;
    try { answer = JSON.parse(text); } catch { /* shown as text */ }
    show(response.status, answer);
  } catch (error) {
    show(0, { error: { message: `The server cannot be reached: ${error.message}` } });
  } finally {
    button.disabled = false;
  }
}

async function download(event) {
  if (!find("key").value) return; // the link does without it
  event.preventDefault();
  const answer = await fetch(event.target.href, { headers: { "X-API-Key": find("key").value } });
  const link = document.createElement("a"); // a link of its own: a browser sends no key with one
  link.href = URL.createObjectURL(new Blob([await answer.text()], { type: "application/json" }));
  link.download = "openapi.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function copy(event) {
  const text = find(event.target.dataset.copy);
  try {
    await navigator.clipboard.writeText(text.textContent);
  } catch { // no secure context: select it, so that Ctrl-C works
    getSelection().selectAllChildren(text);
    document.execCommand("copy");
  }
  event.target.textContent = "Copied";
  setTimeout(() => { event.target.textContent = "Copy"; }, 1500);
}

for (const field of fields) field.addEventListener("input", fromFields);
body.addEventListener("input", command);
find("key").addEventListener("input", command);
find("try").addEventListener("submit", ask);
find("openapi").addEventListener("click", download);
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", copy);
if (fields.length) fromFields(); else { body.value = JSON.stringify(row, null, 2); command(); }
