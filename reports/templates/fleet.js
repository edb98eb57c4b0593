"use strict";
// Filters and sorting of tables. Without this script, tables are complete and in their default order.

const BOXES = ["severity", "state"];
const NAMES = ["repository", "owner"];
const LARGEST_FIRST = new Set(["worst", "findings", "new", "images", "tags", "age", "secrets"]);

function setUp(section) {
  const form = section.querySelector("form.filters");
  if (!form) return;
  const body = section.querySelector("tbody");
  const rows = [...body.rows].map((element, order) => ({ element, order, data: element.dataset }));
  const names = Object.fromEntries(NAMES.map((name) => [name, optionTexts(form.elements[name])]));
  const view = { section, form, body, rows, names, sorted: "" };
  form.hidden = false;
  form.addEventListener("input", () => changed(view));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => changed(view)));
  views.set(section.id, view);
  apply(view);
}

function read(form) {
  const data = new FormData(form);
  const query = {};
  for (const name of new Set(data.keys())) {
    const values = data.getAll(name).filter(Boolean);
    if (values.length) query[name] = values;
  }
  return query;
}

function optionTexts(select) {
  return new Map([...select?.options ?? []].slice(1).map(({ value, text }) => [value, text]));
}

// Text of a row with the parts that it does not show: whole digests, ids of secrets, rules, all repositories and owners.
function textOf({ element, data }, names) {
  const texts = [element.textContent, data.name, data.rules];
  for (const code of element.querySelectorAll("code[title]")) texts.push(code.title);
  for (const link of element.querySelectorAll('a[href*="secrets/"]')) texts.push(link.getAttribute("href"));
  for (const name of NAMES) for (const value of data[name]?.split(" ") ?? []) texts.push(names[name].get(value));
  return texts.join(" ");
}

function fits(row, query, names) {
  return Object.entries(query).every(([name, values]) => {
    if (name === "sort") return true;
    if (name === "text") {
      row.text ??= textOf(row, names).toLowerCase();
      return values[0].toLowerCase().split(/\s+/).every((word) => row.text.includes(word));
    }
    const own = (row.data[name] ?? "").split(" ");
    return values.some((value) => own.includes(value));
  });
}

function apply(view) {
  const query = read(view.form);
  let shown = 0;
  for (const row of view.rows) {
    const fit = fits(row, query, view.names);
    if (row.element.hidden === fit) row.element.hidden = !fit;
    shown += fit;
  }
  sort(view, query.sort?.[0] ?? "");
  const all = view.rows.length.toLocaleString("en");
  view.form.shown.value = shown === view.rows.length ? `Showing all ${all}` : `Showing ${shown.toLocaleString("en")} of ${all}`;
  view.section.querySelector(".none").hidden = shown > 0;
  return query;
}

function sort(view, by) {
  if (view.sorted === by) return;
  view.sorted = by;
  const sign = LARGEST_FIRST.has(by) ? -1 : 1;
  const { compare } = new Intl.Collator("en", { numeric: true });
  const rows = view.rows.toSorted((a, b) => (by ? sign * compare(a.data[by], b.data[by]) : 0) || a.order - b.order);
  const placeholder = document.createComment("");  // moving thousands of rows is faster outside the page
  view.body.replaceWith(placeholder);
  view.body.append(...rows.map((row) => row.element));
  placeholder.replaceWith(view.body);
}

function changed(view) {
  const query = apply(view);
  const pairs = new URLSearchParams();
  // Names in the address: the numbers of options differ between sweeps.
  for (const [name, values] of Object.entries(query)) pairs.set(name, view.names[name]?.get(values[0]) ?? values);
  history.replaceState(null, "", `#${view.section.id}${pairs.size ? `?${pairs}` : ""}`);
}

function restore() {
  const [id, query] = location.hash.slice(1).split("?");
  const view = views.get(id);
  if (!view || query === undefined) return;
  const pairs = new URLSearchParams(query);
  for (const field of view.form.elements) {
    const value = pairs.get(field.name) ?? "";
    if (BOXES.includes(field.name)) field.checked = value.split(",").includes(field.value);
    else if (NAMES.includes(field.name)) field.value = [...field.options].find(({ text }) => text === value)?.value ?? "";
    else if (field.matches("select, input")) field.value = value;
  }
  apply(view);
  view.form.scrollIntoView();
}

const views = new Map();
document.querySelectorAll(".listing").forEach(setUp);
addEventListener("hashchange", restore);
restore();
