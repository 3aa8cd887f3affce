// @ts-check
// The operator's page. It asks the same API as everybody, keeps the key for this tab, and makes no markup of text.

/** @typedef {{upload: string, phase: string, length?: number|null, offset?: number, promised?: number, assembled?: number,
 *   target?: string, idle_seconds?: number, age_seconds?: number, expires_at?: number|null, reason?: string|null,
 *   problem?: string}} Row */
/** @typedef {Row & {there: number[][], missing: number[][], arriving: {start: number, end: number, idle_seconds: number}[],
 *   order: string, policy: string, pieces: number, revision: number}} One */

const KEY = "storage-proxy operator key";
const SVG = "http://www.w3.org/2000/svg";
const EVENTS_MAX = 300;
const ROWS_WANTED = 20; // of a filtered list, before a person is asked whether to look further
const PAGES_MAX = 5;
const LOAD_MS = 30_000; // the next load waits for it

/** @type {(id: string) => any} */
const $ = (id) => document.getElementById(id);
let key = sessionStorage.getItem(KEY);
/** @typedef {{rows: Row[], after: string|null, looked: number, pages: number}} List */
/** @returns {List} */
const nothing = () => ({ rows: [], after: null, looked: 0, pages: 0 });
let listed = nothing();
/** @type {string|null} */
let shown = null;
let listening = new AbortController();

// ---- asking ---------------------------------------------------------------------------------------------------------

class Refused extends Error {}

/** @param {string} path @param {RequestInit} more @returns {Promise<Response>} */
async function ask(path, more = {}) {
  const answer = await fetch(`api/${path}`, { ...more, headers: { Authorization: `Bearer ${key}` }, cache: "no-store" });
  if (answer.status === 401 || answer.status === 403) throw new Refused("This is not the manager's key.");
  if (!answer.ok) throw new Error((await answer.json()).detail ?? answer.statusText);
  return answer;
}

/** @param {unknown} error */
function tell(error) {
  if (error instanceof Refused) return door(error.message);
  $("status").textContent = error instanceof TypeError || error instanceof DOMException ? "The service does not answer." : String(error instanceof Error ? error.message : error);
}

// ---- words ----------------------------------------------------------------------------------------------------------

/** @param {number|null|undefined} bytes */
function size(bytes) {
  if (bytes === null || bytes === undefined) return "unknown";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit += 1; }
  return `${unit ? bytes.toFixed(1) : bytes} ${units[unit]}`;
}

/** @param {number|undefined} seconds */
function time(seconds = 0) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

/** @param {number} number @param {string} thing @param {string} more */
const count = (number, thing, more = `${thing}s`) => `${number} ${number === 1 ? thing : more}`;

/** @param {string} tag @param {string|Node|(string|Node)[]} content @param {Record<string, string>} more */
function make(tag, content = [], more = {}) {
  const made = document.createElement(tag);
  made.append(...(Array.isArray(content) ? content : [content]));
  for (const [name, value] of Object.entries(more)) made.setAttribute(name, value);
  return made;
}

/** Extents from left to right: [start, end, class]. @param {number} end @param {[number, number, string][]} parts
 * @param {string} kind @param {string} words */
function drawn(end, parts, kind, words) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", kind);
  svg.setAttribute("viewBox", "0 0 1000 10");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", words);
  /** @type {[number, number, string][]} */
  const all = [[0, Math.max(end, 1), "missing"], ...parts];
  for (const [start, stop, what] of all.filter(([from, to]) => to > from)) {
    const rect = document.createElementNS(SVG, "rect");
    const x = (start / Math.max(end, 1)) * 1000;
    rect.setAttribute("x", String(x));
    // What is there at all is seen, however small.
    rect.setAttribute("width", String(Math.max(((stop - start) / Math.max(end, 1)) * 1000, 1)));
    rect.setAttribute("height", "10");
    rect.setAttribute("class", what);
    svg.append(rect);
  }
  return svg;
}

// ---- volumes --------------------------------------------------------------------------------------------------------

async function showVolumes() {
  const { volumes } = await (await ask("volumes")).json();
  $("volumes").replaceChildren(...volumes.map(card));
  const names = volumes.map((/** @type {any} */ each) => each.volume);
  if ($("volume").options.length !== names.length)
    $("volume").replaceChildren(...names.map((/** @type {string} */ name) => make("option", name)));
}

/** @param {any} told */
function card(told) {
  const survey = told.survey;
  const lines = [make("h3", [told.volume, make("span", told.ready ? "ready" : "not ready", { class: told.ready ? "good" : "bad" })])];
  if (told.reason) lines.push(make("p", told.reason, { class: "bad" }));
  if (told.free !== null) lines.push(make("p", `${size(told.free)} free of ${size(told.size)}` + (survey ? `, ${size(survey.owed)} owed to open uploads` : "")));
  if (survey) {
    const phases = Object.entries(survey.phases).map(([phase, count]) => `${count} ${phase}`).join(", ") || "no uploads";
    lines.push(make("p", `${phases}; counted ${time(Date.now() / 1000 - survey.at)} ago`, { class: "quiet" }));
  }
  const processes = told.replicas.map((/** @type {any} */ each) =>
    make("li", `${each.replica}, ${each.seconds_ago < 45 ? count(each.appends, "body", "bodies") + (each.draining ? ", draining" : "") : "silent"}, seen ${time(each.seconds_ago)} ago`));
  if (processes.length) lines.push(make("details", [make("summary", `${count(processes.length, "process", "processes")} seen lately`), make("ul", processes)]));
  return make("div", lines, { class: "card" });
}

// ---- the list -------------------------------------------------------------------------------------------------------

/** @param {List} list */
async function page(list) {
  const asked = new URLSearchParams({ volume: $("volume").value, older_than: $("older").value });
  if ($("phase").value) asked.append("phase", $("phase").value);
  if (list.after) asked.append("after", list.after);
  const answer = await ask(`uploads?${asked}`, { signal: AbortSignal.timeout(LOAD_MS) });
  const told = await answer.json();
  list.rows.push(...told.uploads);
  list.after = told.after;
  list.looked += told.looked_at;
  list.pages += 1;
}

// One load after the other, or two would show each upload twice; a new list takes the old one's place when it is whole.
/** @type {Promise<void>} */
let loaded = Promise.resolve();
let loading = 0;

/** @param {() => Promise<List>} load */
function inTurn(load) {
  loading += 1;
  const mine = loaded.then(load).then(showRows).finally(() => { loading -= 1; });
  loaded = mine.catch(() => {});
  return mine;
}

/** @param {List} list */
async function more(list) {
  const { rows: { length: before }, pages: begun } = list;
  do await page(list); while (list.after && list.rows.length - before < ROWS_WANTED && list.pages - begun < PAGES_MAX);
  return list;
}

/** @param {List} list @param {number} pages */
async function upTo(list, pages) {
  do await page(list); while (list.after && list.pages < pages);
  return list;
}

const begin = () => inTurn(() => more(nothing()));
const further = () => inTurn(async () => (listed.after ? more(listed) : listed));
/** As much as is there: what a person has asked for is not taken away again. */
const reload = () => inTurn(() => upTo(nothing(), listed.pages));

/** @param {List} list */
function showRows(list) {
  listed = list;
  const { rows, after, looked } = list;
  rows.sort((one, other) => (one.idle_seconds ?? 0) - (other.idle_seconds ?? 0));
  const focused = /** @type {HTMLElement|null} */ (document.activeElement)?.dataset?.upload;
  $("rows").replaceChildren(...rows.map(row));
  if (focused) button(focused)?.focus();
  $("more").hidden = !after;
  $("looked").textContent = `${rows.length} shown, ${looked} looked at` + (after ? "; there are more" : "");
}

/** @param {string} upload @returns {HTMLElement|null} */
const button = (upload) => $("rows").querySelector(`[data-upload="${upload}"]`);

/** @param {Row} told */
function row(told) {
  const name = make("button", told.target ?? told.upload, { type: "button", "data-upload": told.upload });
  name.addEventListener("click", () => show(told.upload).then(() => $("one").focus()).catch(tell));
  const end = told.length ?? Math.max(told.promised ?? 0, 1);
  const words = told.length ? `${Math.floor(((told.promised ?? 0) / told.length) * 100)} %` : size(told.promised);
  const bar = drawn(end, [[0, told.promised ?? 0, "there"]], "bar", words);
  const sad = told.phase === "failed" || told.phase === "unreadable";
  return make("tr", [
    make("td", name), make("td", told.phase, sad ? { class: "bad", title: told.reason ?? told.problem ?? "" } : {}),
    make("td", [bar, make("span", words, { class: "quiet" })]),
    make("td", size(told.length), { class: "number" }), make("td", `${time(told.idle_seconds)} ago`, { class: "number" }),
  ], { "aria-selected": String(told.upload === shown) });
}

$("rows").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const buttons = [...$("rows").querySelectorAll("button")];
  buttons[buttons.indexOf(document.activeElement) + step]?.focus();
  event.preventDefault();
});

// ---- one of them ----------------------------------------------------------------------------------------------------

/** @param {string} upload */
async function show(upload) {
  const before = shown;
  if (before !== upload) $("done").textContent = "";
  shown = upload;
  const answer = await ask(`uploads/${upload}`).catch((error) => {
    if (shown === upload) shown = before;
    throw error;
  });
  /** @type {One} */
  const told = await answer.json();
  if (shown !== upload) return; // meanwhile it was closed, or another one opened
  const ends = [...told.there.map((each) => each[1]), ...told.arriving.map((each) => each.end)];
  const end = told.length ?? Math.max(0, ...ends);
  const words = `${count(told.there.length, "extent")} there, ${told.arriving.length} arriving, ${told.missing.length} not there yet`;
  /** @type {[number, number, string][]} */
  const parts = [
    ...told.arriving.map((each) => /** @type {[number, number, string]} */ ([each.start, each.end, "arriving"])),
    ...told.there.map((each) => /** @type {[number, number, string]} */ ([each[0], each[1], "there"])),
  ];
  $("one-title").textContent = told.target ?? upload;
  $("map").replaceChildren(drawn(end, parts, "map", words));
  /** @type {[string, string][]} */
  const facts = [
    ["Upload", told.upload], ["Phase", told.phase + (told.reason ? `: ${told.reason}` : "")],
    ["Promised", `${size(told.promised)} of ${size(told.length)}, the first ${told.offset} bytes without a gap`],
    ["Assembled", `${size(told.assembled)}; ${count(told.pieces, "piece waits", "pieces wait")}`], ["Order, when taken", `${told.order}, ${told.policy}`],
    ["Created", `${time(told.age_seconds)} ago`], ["Last change", `${time(told.idle_seconds)} ago (revision ${told.revision})`],
    ["Expires", told.expires_at ? new Date(told.expires_at * 1000).toLocaleString() : "never by itself"],
  ];
  $("facts").replaceChildren(...facts.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
  $("extents").replaceChildren(
    ...told.there.map(([start, stop]) => make("li", `${start} to ${stop}: there`)),
    ...told.arriving.map((each) => make("li", `${each.start} to ${each.end}: arriving, quiet for ${time(each.idle_seconds)}`)),
    ...told.missing.map(([start, stop]) => make("li", `${start} to ${stop}: not there yet`)));
  $("finish").hidden = !["closed", "publishing", "failed"].includes(told.phase);
  $("terminate").hidden = !["open", "whole", "waiting", "closed", "failed", "published"].includes(told.phase);
  $("one").hidden = false;
  for (const each of $("rows").children) each.setAttribute("aria-selected", String(each.querySelector("button").dataset.upload === shown));
}

function closeOne() {
  const upload = shown;
  shown = null;
  $("one").hidden = true;
  if (upload) button(upload)?.focus();
}

/** @param {string} verb @param {string} done */
async function act(verb, done) {
  const upload = shown;
  $("done").textContent = "…";
  try {
    await ask(`uploads/${upload}/${verb}`, { method: "POST" });
    $("done").textContent = done;
  } catch (error) {
    if (error instanceof Refused) return tell(error);
    $("done").textContent = error instanceof Error ? error.message : String(error);
  }
  await Promise.all([upload ? show(upload) : null, reload()]);
}

$("close").addEventListener("click", closeOne);
$("finish").addEventListener("click", () => act("finish", "Finished.").catch(tell));
$("terminate").addEventListener("click", () => {
  if (confirm("Terminate this upload? What its client has sent is deleted; a published file stays."))
    act("terminate", "Terminated.").catch(tell);
});
addEventListener("keydown", (event) => { if (event.key === "Escape" && shown) closeOne(); });

// ---- as it happens --------------------------------------------------------------------------------------------------

async function listen() {
  listening = new AbortController();
  const { signal } = listening;
  while (!signal.aborted) {
    try {
      const answer = await ask("events", { signal });
      const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const events = (text + value).split("\n\n");
        text = events.pop() ?? "";
        events.forEach(heard);
      }
    } catch (error) {
      if (error instanceof Refused) return;
    }
    $("source").textContent = "Not listening; trying again.";
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

let due = false;

/** @param {string} text */
function heard(text) {
  const name = /^event: (.*)$/m.exec(text)?.[1];
  const data = /^data: (.*)$/m.exec(text)?.[1];
  if (!name || !data) return;
  const facts = JSON.parse(data);
  if (name === "Listening") {
    const process = facts.workers > 1 ? `one of the ${facts.workers} workers of its replica` : "a replica of one worker";
    $("source").textContent = `Only what ${facts.replica} does, ${process}; what others do is in the list above after a while.`;
    return;
  }
  const { upload, ...rest } = facts;
  const words = Object.entries(rest).filter(([, value]) => value !== null).map(([fact, value]) =>
    `${fact} ${typeof value === "object" ? JSON.stringify(value) : typeof value === "number" ? +value.toFixed(3) : value}`);
  $("events").prepend(make("li", `${new Date().toLocaleTimeString()} ${name} ${upload ?? ""} ${words.join(", ")}`));
  while ($("events").children.length > EVENTS_MAX) $("events").lastChild.remove();
  if (due) return;
  due = true;
  setTimeout(() => { due = false; look(); }, 1000);
}

/** What is on the screen, once more. */
function look() {
  if (document.hidden || $("view").hidden) return;
  const again = [showVolumes(), shown ? show(shown) : null, listed.looked <= 400 && !loading ? reload() : null];
  Promise.all(again).then(() => { $("status").textContent = ""; }).catch(tell);
}

// ---- the key --------------------------------------------------------------------------------------------------------

/** @param {string} why */
function door(why = "") {
  sessionStorage.removeItem(KEY);
  key = null;
  listening.abort();
  $("view").hidden = true; $("forget").hidden = true; $("door").hidden = false;
  $("refused").textContent = why;
  $("status").textContent = "";
  $("key").focus();
}

async function enter() {
  await showVolumes();
  sessionStorage.setItem(KEY, String(key));
  $("door").hidden = true; $("view").hidden = false; $("forget").hidden = false;
  listen();
  await begin();
}

$("ask").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  key = $("key").value;
  $("key").value = "";
  enter().catch(tell);
});
$("forget").addEventListener("click", () => door());
$("filter").addEventListener("submit", (/** @type {Event} */ event) => { event.preventDefault(); reload().catch(tell); });
$("filter").addEventListener("change", () => begin().catch(tell));
$("more").addEventListener("click", () => further().catch(tell));
setInterval(look, 10000);
if (key) enter().catch(tell); else door();
