// API documentation page: all requests and events, searchable and linkable.

import { $, h } from "./dom.js";
import { inline, markdown } from "./markdown.js";
import { Schemas } from "./schema.js";

const ACCESS_LABELS = { anyone: "anyone", person: "signed-in users", operator: "operators, administrators", admin: "administrators" };

const STATUS = {
  101: "Switching Protocols", 200: "OK", 201: "Created", 204: "No Content", 503: "Service Unavailable", "4XX": "Error in the request",
};

/** All searchable entries: { details, item, section, part, words }. */
const entries = [];

function entry(id, head, words, build) {
  const details = h("details", { class: "entry", id }, h("summary", {}, head));
  details.addEventListener("toggle", () => {
    if (!details.open) return;
    // Schemas are many: each is rendered when it is first opened.
    if (details.children.length === 1) details.append(h("div", { class: "inside" }, build()));
    history.replaceState(null, "", `#${id}`); // the address links to the entry opened last
  });
  return { details, words: words.toLowerCase() };
}

function group(place, title, key, items) {
  const id = `group-${key}`;
  const section = h("section", { "aria-labelledby": id }, h("h3", { id, tabindex: "-1" }, title));
  const links = h("ul");
  for (const { details, words, label } of items) {
    const item = h("li", {}, h("a", { href: `#${details.id}` }, label()));
    section.append(details);
    links.append(item);
    entries.push({ details, item, section, words });
  }
  const part = h("div", {}, h("p", { class: "toc-title" }, h("a", { href: `#${id}` }, title)), links);
  entries.filter((other) => other.section === section).forEach((other) => (other.part = part));
  $("toc").append(part);
  place.append(section);
}

// Requests

function method(verb) {
  return h("span", { class: `verb ${verb}` }, verb.toUpperCase());
}

/** Long paths may wrap after a slash. */
function pathText(path) {
  return path.split(/(?<=\/)/).flatMap((part) => [part, h("wbr")]);
}

function operation(schemas, path, verb, op) {
  const access = ACCESS_LABELS[op["x-who"]] ?? op["x-who"];
  const head = [method(verb), h("code", { class: "path" }, pathText(path)), h("span", { class: "sum" }, op.summary), h("span", { class: "who-may" }, access)];
  const words = `${verb} ${path} ${op.summary} ${op.tags} ${access} ${JSON.stringify(op.requestBody ?? "")}`;
  const created = entry(op.operationId, head, words, () => [
    op.description ? h("p", {}, inline(op.description)) : null,
    h("p", {}, "Who may call: ", h("strong", {}, access)),
    op.parameters?.length ? [h("h4", {}, "Parameters"), parameters(schemas, op.parameters)] : null,
    op.requestBody ? [h("h4", {}, `Body${op.requestBody.required ? "" : " (optional)"}`), content(schemas, op.requestBody)] : null,
    h("h4", {}, "Responses"),
    Object.entries(op.responses).map(([status, response]) => responseBlock(schemas, status, response)),
  ].flat(2));
  return { ...created, label: () => [method(verb), h("span", {}, pathText(path.replace(/^\/api/, "") || path))] };
}

function parameters(schemas, list) {
  return h("ul", { class: "fields" }, list.map((p) =>
    schemas.field(p.name, { ...p.schema, description: `In the ${p.in}.${p.description ? ` ${p.description}` : ""}` }, p.required)));
}

function content(schemas, { content: kinds = {} }) {
  return Object.entries(kinds).map(([kind, { schema }]) =>
    h("div", {}, kind === "application/json" ? null : h("p", { class: "type" }, kind), schemas.body(schema)));
}

function responseBlock(schemas, status, response) {
  const head = h("summary", {}, h("code", { class: `status s${status[0]}` }, status), ` ${STATUS[status] ?? ""}`);
  if (!response.content) return h("p", { class: "answer" }, h("code", { class: `status s${status[0]}` }, status), ` ${STATUS[status] ?? ""}, no body`);
  return h("details", { class: "answer", open: status.startsWith("2") }, head, content(schemas, response));
}

function requests(document) {
  const schemas = new Schemas(document);
  const place = $("http");
  place.append(
    h("h2", {}, "Requests"),
    h("p", {}, inline(document.info.description)),
    h("p", { class: "lead" }, `Version ${document.info.version} · `, h("a", { href: "/api/openapi.json" }, "OpenAPI as JSON")));
  const byTag = new Map();
  for (const [path, verbs] of Object.entries(document.paths)) {
    for (const [verb, op] of Object.entries(verbs)) {
      const tag = op.tags?.[0] ?? "other";
      byTag.set(tag, [...(byTag.get(tag) ?? []), operation(schemas, path, verb, op)]);
    }
  }
  for (const [tag, items] of byTag) group(place, tag, tag.replace(/\W/g, ""), items);
}

// Events

function event(schemas, side, name, message) {
  const isReply = name.endsWith(".reply");
  const label = name.replace(/\.reply$/, "");
  const data = message.payload?.properties?.data ?? {};
  const head = [h("span", { class: `verb ${side}` }, side === "client" ? "SEND" : isReply ? "REPLY" : "RECEIVE"), h("code", { class: "path" }, label), h("span", { class: "sum" }, inline(message.summary ?? ""))];
  const created = entry(`${side}-${name.replace(".", "-")}`, head, `${name} ${message.summary} ${side}`, () => {
    const example = schemas.example(data);
    const frame = isReply ? { reply: 7, data: example } : side === "client" ? { id: 7, event: label, data: example } : { event: label, data: example };
    return [schemas.body(data), h("h4", {}, "Frame"), h("pre", { tabindex: "0" }, h("code", {}, JSON.stringify(frame, null, 2)))];
  });
  return { ...created, label: () => [h("span", {}, isReply ? `${label} (reply)` : label)] };
}

function events(document) {
  const schemas = new Schemas(document);
  const place = $("events");
  const messages = Object.values(document.channels)[0].messages;
  place.append(
    h("h2", {}, "Events"),
    h("p", { class: "lead" }, `Version ${document.info.version} · `, h("a", { href: "/api/asyncapi.json" }, "AsyncAPI as JSON")),
    h("div", { class: "prose" }, markdown(document.info.description)));
  const side = (operation) => Object.values(document.operations).filter((o) => o.action === operation).flatMap((o) => o.messages).map((m) => m.$ref.split("/").at(-1));
  const make = (sender) => (key) => event(schemas, sender, messages[key].name, messages[key]);
  group(place, "Events from the client", "client", side("receive").map(make("client")));
  group(place, "Events from the server", "server", side("send").map(make("server")));
}

// Search and links

function search() {
  const terms = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const { details, item, words } of entries) {
    const isMatch = terms.every((term) => words.includes(term));
    details.hidden = item.hidden = !isMatch;
    found += isMatch;
  }
  for (const { section, part } of entries) section.hidden = part.hidden = ![...section.querySelectorAll(".entry")].some((entry) => !entry.hidden);
  for (const prose of document.querySelectorAll(".prose")) prose.hidden = terms.length > 0;
  $("found").textContent = terms.length ? `${found || "Nothing"} found` : "";
}

function follow() {
  const target = location.hash.length > 1 && $(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (target.closest("[hidden]")) {
    $("search").value = "";
    search();
  }
  if (matchMedia("(max-width: 56rem)").matches) $("toc-part").open = false;
  if (target.matches(".entry")) {
    target.open = true;
    target.firstElementChild.focus({ preventScroll: true });
  }
  target.scrollIntoView();
}

function keys(event) {
  const isTyping = event.target.matches("input, textarea");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    $("search").focus();
  } else if (event.key === "Escape" && event.target === $("search")) {
    $("search").value = "";
    search();
  } else if (event.key === "Enter" && event.target === $("search")) {
    const first = entries.find(({ details }) => !details.hidden);
    if (first) location.hash = first.details.id;
  }
}

async function load(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path} returned ${response.status}`);
  return response.json();
}

async function start() {
  try {
    const [openapi, asyncapi] = await Promise.all([load("/api/openapi.json"), load("/api/asyncapi.json")]);
    requests(openapi);
    events(asyncapi);
    $("loading").remove();
  } catch (error) {
    $("loading").textContent = `The documentation cannot be loaded: ${error.message}. Reload the page.`;
    $("loading").className = "notice bad";
    return;
  }
  $("toc-part").open = !matchMedia("(max-width: 56rem)").matches;
  $("search").addEventListener("input", search);
  addEventListener("keydown", keys);
  addEventListener("hashchange", follow);
  follow();
}

start();
