"use strict";
// Filters, sorting, links to secrets and places. The page is complete without this script: lists, details and links work in plain HTML.

const BOXES = ["severity", "confidence", "state"];
const FIELDS = [...BOXES, "text", "layer", "provider", "package", "origin", "sort", "lane"];

function setUp(image) {
  const form = image.querySelector("form.filters");
  if (!form) return;
  const list = image.querySelector(".list");
  const rows = [...list.children].map(readRow);
  const view = { image, form, list, rows, sorted: "" };
  form.hidden = false;
  form.addEventListener("input", () => changed(view));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { form.lane.value = ""; changed(view); }));
  form.querySelector(".lane-clear").addEventListener("click", () => { form.lane.value = ""; form.text.focus(); changed(view); });
  list.addEventListener("keydown", (event) => walk(view, event));
  for (const lane of image.querySelectorAll(".lane")) lane.addEventListener("click", (event) => follow(view, lane, event));
  views.set(image.id, view);
  apply(view);
}

function readRow(element, order) {
  const { severity, confidence, provider, package: owner, origin, lanes } = element.dataset;
  const places = lanes.split(";").map((lane) => {
    const [added, hidden, state] = lane.split(" ");
    return { lane, added, hidden, state };
  });
  return { element, order, severity, confidence, provider, package: owner, origins: origin.split(" "), places };
}

function textOf(row) {
  row.text ??= [...row.element.querySelectorAll("summary, .at h3, .at h4, .life, .facts")]
    .map((part) => part.textContent).join(" ").toLowerCase();
  return row.text;
}

function read(form) {
  const data = new FormData(form);
  const query = {};
  for (const name of FIELDS) query[name] = BOXES.includes(name) ? data.getAll(name) : data.get(name) ?? "";
  query.words = query.text.toLowerCase().split(/\s+/).filter(Boolean);
  return query;
}

function fits(row, query) {
  return (!query.severity.length || query.severity.includes(row.severity))
    && (!query.confidence.length || query.confidence.includes(row.confidence))
    && (!query.provider || query.provider === row.provider)
    && (!query.package || query.package === row.package)
    && (!query.origin || row.origins.includes(query.origin))
    && row.places.some((place) => placeFits(place, query))
    && query.words.every((word) => textOf(row).includes(word));
}

function placeFits(place, query) {
  return (!query.state.length || query.state.includes(place.state))
    && (!query.layer || query.layer === place.added || query.layer === place.hidden)
    && (!query.lane || query.lane === place.lane);
}

function apply(view) {
  const query = read(view.form);
  let shown = 0;
  for (const row of view.rows) {
    const fit = fits(row, query);
    if (row.element.hidden === fit) row.element.hidden = !fit;
    shown += fit;
  }
  sort(view, query.sort);
  const all = view.rows.length.toLocaleString("en");
  view.form.shown.value = shown === view.rows.length ? `Showing all ${all}` : `Showing ${shown.toLocaleString("en")} of ${all}`;
  view.image.querySelector(".none").hidden = shown > 0;
  const clear = view.form.querySelector(".lane-clear");
  clear.hidden = !query.lane;
  clear.textContent = query.lane ? `${laneName(query.lane)} ×` : "";
  clear.setAttribute("aria-label", `Show all secrets, not only: ${laneName(query.lane)}`);
  return query;
}

function laneName(lane) {
  const [added, hidden, state] = lane.split(" ");
  const parts = [added !== "-" && `added in layer ${added}`, hidden !== "-" ? `${state} in layer ${hidden}` : state];
  return parts.filter(Boolean).join(", ");
}

const KEYS = {
  path: (row) => row.element.querySelector(".place").textContent,
  name: (row) => row.element.querySelector(".what").textContent,
  added: (row) => row.places[0].added,
  hidden: (row) => row.places[0].hidden,
};

function sort(view, by) {
  if (view.sorted === by) return;
  view.sorted = by;
  const last = "\uffff";  // no layer comes last
  const keyed = view.rows.map((row) => [by ? KEYS[by](row).replace(/^-$/, last) : "", row]);
  const { compare } = new Intl.Collator("en", { numeric: true });
  keyed.sort(([a, x], [b, y]) => (a === last) - (b === last) || compare(a, b) || x.order - y.order);
  const place = document.createComment("");  // thousands of rows move four times faster outside the page
  view.list.replaceWith(place);
  view.list.append(...keyed.map(([, row]) => row.element));
  place.replaceWith(view.list);
}

function changed(view) {
  const query = apply(view);
  const pairs = new URLSearchParams();
  for (const name of FIELDS) if (query[name].length) pairs.set(name, query[name]);
  history.replaceState(null, "", pairs.size ? `#${view.image.id}?${pairs}` : `#${view.image.id}-findings`);
}

function restore(view, pairs) {
  for (const name of FIELDS) {
    const value = pairs.get(name) ?? "";
    if (BOXES.includes(name)) {
      for (const box of view.form.querySelectorAll(`[name=${name}]`)) box.checked = value.split(",").includes(box.value);
    } else if (view.form[name]) view.form[name].value = value;
  }
  apply(view);
}

function follow(view, lane, event) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (!lane.getAttribute("href").startsWith("#")) return;  // its first place is on another page
  event.preventDefault();
  if (lane.dataset.lane) {
    restore(view, new URLSearchParams({ lane: lane.dataset.lane }));
    changed(view);
    view.image.querySelector(".findings h2, .findings h3").focus({ preventScroll: true });
    view.form.scrollIntoView();
  } else {
    history.pushState(null, "", lane.hash);
    goTo(lane.hash);
  }
}

function goTo(hash) {
  const [id, query] = hash.slice(1).split("?");
  if (query !== undefined && views.has(id)) {
    restore(views.get(id), new URLSearchParams(query));
    views.get(id).form.scrollIntoView();
    return;
  }
  const target = document.getElementById(id);
  const details = target?.closest(".findings details");
  if (!details) return;
  if (details.hidden) restore(views.get(details.closest(".image").id), new URLSearchParams());
  details.open = true;
  details.querySelector("summary").focus({ preventScroll: true });
  target.scrollIntoView({ block: target === details ? "start" : "center" });
}

function walk(view, event) {
  const summary = event.target.closest("summary");
  if (!summary || event.ctrlKey || event.altKey || event.metaKey) return;
  const shown = [...view.list.children].filter((element) => !element.hidden);
  const at = shown.indexOf(summary.parentElement);
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: shown.length - 1 }[event.key];
  if (next === undefined || !shown[next]) return;
  event.preventDefault();
  shown[next].querySelector("summary").focus();
}

function addCopy(command) {
  if (!navigator.clipboard || command.querySelector(".copy")) return;
  const text = command.textContent;
  const button = Object.assign(document.createElement("button"), { type: "button", className: "copy", textContent: "Copy" });
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  command.prepend(button);
}

const views = new Map();
document.querySelectorAll(".image").forEach(setUp);
document.querySelectorAll(".plan .command, .more .command, .steps-to-take .command").forEach(addCopy);
document.addEventListener("click", (event) => {  // a link to the place that the address already names
  const link = event.target.closest("a.has");
  if (link && link.hash === location.hash) goTo(link.hash);
});
document.addEventListener("toggle", (event) => event.target.querySelectorAll(".command").forEach(addCopy), true);
addEventListener("hashchange", () => goTo(location.hash));
goTo(location.hash);
