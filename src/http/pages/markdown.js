// Renders the Markdown subset of the API descriptions as elements: headings, lists, tables, code.

import { h } from "./dom.js";

/** Renders a text with `code` and **strong** parts. */
export function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).filter(Boolean).map((part) => {
    if (part.startsWith("`")) return h("code", {}, part.slice(1, -1));
    if (part.startsWith("**")) return h("strong", {}, part.slice(2, -2));
    return part;
  });
}

const cells = (line) => line.split("|").slice(1, -1).map((cell) => cell.trim());

function table([head, , ...rows]) {
  const row = (kind, line) => h("tr", {}, cells(line).map((cell) => h(kind, kind === "th" ? { scope: "col" } : {}, inline(cell))));
  return h("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Table" },
    h("table", {}, h("thead", {}, row("th", head)), h("tbody", {}, rows.map((line) => row("td", line)))));
}

function list(name, lines) {
  const items = [];
  for (const line of lines) {
    const start = line.match(/^(?:[-*]|\d+\.)\s+(.*)/);
    if (start) items.push(start[1]);
    else items[items.length - 1] += ` ${line.trim()}`;
  }
  return h(name, {}, items.map((item) => h("li", {}, inline(item))));
}

function block(lines) {
  const [first] = lines;
  const heading = first.match(/^(#+)\s+(.*)/);
  // Descriptions are below a heading of the page, so their own headings start one level lower.
  if (heading) return [h(`h${Math.min(6, heading[1].length + 1)}`, {}, inline(heading[2])), ...(lines.length > 1 ? block(lines.slice(1)) : [])];
  if (lines.every((line) => /^( {4}|\t)/.test(line))) return [h("pre", { tabindex: "0" }, h("code", {}, lines.map((line) => line.replace(/^( {4}|\t)/, "")).join("\n")))];
  if (first.startsWith("|")) return [table(lines)];
  if (/^[-*]\s/.test(first)) return [list("ul", lines)];
  if (/^\d+\.\s/.test(first)) return [list("ol", lines)];
  return [h("p", {}, inline(lines.join(" ")))];
}

/** Renders a whole text. */
export function markdown(text) {
  return text.split(/\n\s*\n/).map((part) => part.split("\n").filter((line) => line.trim())).filter((lines) => lines.length).flatMap(block);
}
