// Tables, and the texts in their cells.
import {make, name} from "./core.js";

// table returns a table. A column is {label, cell, isMenu} with a function that makes the content of
// the cell of a row. The column of buttons has no label, and isMenu says that it has a menu. In a narrow window, the rows are blocks, so
// the roles say to a screen reader that this is a table.
export function table(label, columns, rows) {
  const head = make("tr", columns.map((column) => make("th", column.label || make("span", "Actions", {class: "unseen"}), {scope: "col", role: "columnheader"})), {role: "row"});
  const body = rows.map((row) => make("tr", columns.map((column, i) => {
    const attributes = {role: "cell"};
    if (!column.label) attributes.class = column.isMenu ? "actions menu-cell" : "actions";
    else if (i > 0) attributes["data-label"] = column.label;
    return make("td", make("div", column.cell(row)), attributes);
  }), {role: "row"}));
  return make("table", [make("thead", head, {role: "rowgroup"}), make("tbody", body, {role: "rowgroup"})], {role: "table", "aria-label": label});
}

// empty returns what is shown instead of a table without rows.
export const empty = (title, text, ...more) => make("div", [make("strong", title), make("p", text), ...more], {class: "empty"});

export const none = (text) => make("span", text, {class: "none"});
export const note = (content) => make("span", content, {class: "cell-note"});
export const badge = (text, look = "") => make("span", text, {class: `badge ${look}`});
export const title = (content, ...more) => [make("div", content, {class: "cell-title"}), ...more];
export const facts = (list) => make("dl", list.map(([label, value]) => make("div", [make("dt", label), make("dd", value)])), {class: "facts"});

const day = new Intl.DateTimeFormat(undefined, {dateStyle: "medium"});
const moment = new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle: "short"});
const second = new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle: "medium"});
const relative = new Intl.RelativeTimeFormat(undefined, {numeric: "auto"});
const units = [["day", 86_400_000], ["hour", 3_600_000], ["minute", 60_000]];

const at = (time, text) => make("time", text, {datetime: time, title: second.format(new Date(time))});

// date shows the day, exact shows the time to the second, and ago shows the distance from now if it
// is less than 30 days.
export const date = (time, otherwise = "Never") => time ? at(time, day.format(new Date(time))) : none(otherwise);
export const exact = (time) => at(time, second.format(new Date(time)));

export function ago(time, otherwise = "Never") {
  if (!time) return none(otherwise);
  const distance = new Date(time) - Date.now();
  if (Math.abs(distance) >= 30 * 86_400_000) return at(time, day.format(new Date(time)));
  for (const [unit, length] of units) {
    if (Math.abs(distance) >= length) return at(time, relative.format(Math.round(distance / length), unit));
  }
  return at(time, distance > 0 ? "in less than a minute" : "just now");
}

// end shows when something ends, and warns 14 days before.
export function end(time, otherwise = "Never") {
  if (!time) return none(otherwise);
  const left = new Date(time) - Date.now();
  if (left <= 0) return badge("Expired", "bad");
  return left < 14 * 86_400_000 ? make("span", ago(time), {class: "badge warn"}) : date(time);
}

// address shows an address. A long one may break after each colon.
export const address = (text) => text ? make("code", text.split(/(?<=:)/).flatMap((part) => [part, make("wbr")]), {class: "address"}) : none("Unknown");

// scopes shows the scopes of a key.
export function scopes(list) {
  if (!list) return none("Everything");
  if (!list.length) return none("Nothing");
  return make("span", list.map((scope) => make("code", scope)), {class: "chips"});
}

const browsers = [["Edg", "Edge"], ["OPR", "Opera"], ["SamsungBrowser", "Samsung Internet"], ["FxiOS", "Firefox"], ["CriOS", "Chrome"],
  ["Firefox", "Firefox"], ["HeadlessChrome", "Chrome"], ["Chrome", "Chrome"], ["Safari", "Safari"]];
const systems = [["Windows", "Windows"], ["Android", "Android"], ["iPhone", "iPhone"], ["iPad", "iPad"], ["CrOS", "ChromeOS"],
  ["Mac OS X", "macOS"], ["Linux", "Linux"]];

// client names the program and the system in a User-Agent: "Chrome on Linux". The text proves nothing,
// because any client can send any User-Agent.
export function client(agent) {
  if (!agent) return "Unknown program";
  const system = systems.find(([part]) => agent.includes(part))?.[1];
  const browser = agent.startsWith("Mozilla/") && browsers.find(([part]) => agent.includes(`${part}/`))?.[1];
  if (browser) return system ? `${browser} on ${system}` : browser;
  const program = /^([\w.+-]{1,40})\/[\w.+-]+/.exec(agent)?.[1];
  if (program) return system ? `${program} on ${system}` : program;
  return short(agent);
}

// short returns the beginning of a long text, so that a stranger cannot fill a page with one text.
function short(text, most = 60) {
  const letters = [...text];
  return letters.length <= most ? name(text) : make("bdi", `${letters.slice(0, most - 1).join("")}…`, {title: text});
}

const methods = new Map([["access_key", "Access key"], ["github", "GitHub"], ["host", "This service"], ["device", "Browser, for a device"]]);
export const method = (text) => methods.get(text) ?? name(text);

// pager shows buttons for the next and the previous page of a list.
export function pager(place, state, load) {
  const step = (text, path, change) => {
    const made = make("button", text, {type: "button", class: "button"});
    if (!path) made.setAttribute("disabled", "");
    made.addEventListener("click", async () => { change(); await load(path); document.getElementById("title").focus(); scrollTo(0, 0); });
    return made;
  };
  const previous = state.before.at(-1);
  if (!previous && !state.next) {
    place.replaceChildren();
    return;
  }
  place.replaceChildren(make("p", `Page ${state.before.length + 1}`, {class: "hint"}), make("div", [
    step("Previous", previous, () => state.before.pop()),
    step("Next", state.next, () => state.before.push(state.now)),
  ]));
}
