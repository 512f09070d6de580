// The demo chat: coming in, the two tabs, the list of conversations, and what is shown when.

import { ask, call, device, forget, keep, kept } from "./api.js";
import { Chats } from "./chats.js";
import { face, nameOf, preview, when } from "./chat-words.js";
import { $, fieldsOf, h, markFields, reconcile, say } from "./dom.js";
import { People } from "./people.js";
import { Thread } from "./thread.js";

let chats = null;
let thread = null;
let people = null;

// Coming in

const form = $("entry-form");
let isNew = false;

function showEntry(words = "") {
  $("app").hidden = true;
  $("entry").hidden = false;
  document.title = "Chat · SecureVOX";
  mode(isNew);
  complain(words);
  form.elements.phone.focus();
}

function mode(register) {
  isNew = register;
  chooseTab(register ? "tab-register" : "tab-login");
  $("entry-panel").setAttribute("aria-labelledby", register ? "tab-register" : "tab-login");
  $("name-field").hidden = !register;
  askCode(false);
  form.elements.password.autocomplete = register ? "new-password" : "current-password";
  $("enter").textContent = register ? "Register" : "Sign in";
  complain("");
  markFields(form, {});
}

/** The code of an authenticator app is asked for when the server wants one. */
function askCode(isWanted) {
  $("code-field").hidden = !isWanted;
  form.elements.code.value = "";
}

function complain(words) {
  $("entry-problem").textContent = words;
  $("entry-problem").hidden = !words;
}

async function enter(event) {
  event.preventDefault();
  const { phone, name, password, code } = form.elements;
  const missing = {};
  if (!phone.value.trim()) missing.phone = "Write your phone number.";
  if (isNew && !name.value.trim()) missing.name = "Write your name.";
  if (!password.value) missing.password = "Write your password.";
  complain("");
  if (markFields(form, missing)) return;
  const body = { phone: phone.value, password: password.value, device, ...(isNew && { name: name.value.trim() }), ...(code.value.trim() && { code: code.value.trim() }) };
  $("enter").disabled = true;
  try {
    keep(await ask("POST", isNew ? "/api/auth/register" : "/api/auth/login", body));
    form.reset();
    askCode(false);
    form.elements.password.type = "password";
    begin();
  } catch (problem) {
    if (problem.code === "auth/second-factor-required") {
      askCode(true);
      code.focus();
    } else if (!markFields(form, fieldsOf(problem, form))) {
      complain(problem.detail);
      $("entry-problem").focus();
    }
  }
  $("enter").disabled = false;
}

// The chat itself

function begin() {
  $("entry").hidden = true;
  $("app").hidden = false;
  chats = new Chats({ changed: render, said, ended: end });
  thread = new Thread(chats);
  people = new People(chats, { open, trouble });
  say($("me"), chats.me.name);
  showPanel("chats");
  route();
}

/** Back to the door: signed out here, or by the server. */
function end(words) {
  chats?.stop();
  chats = thread = people = null;
  forget();
  history.replaceState(null, "", location.pathname);
  showEntry(words);
}

async function leave() {
  const unsent = chats.outbox.length;
  if (unsent && !confirm(`${unsent === 1 ? "One message has" : `${unsent} messages have`} not been sent. Sign out all the same?`)) return;
  $("leave").disabled = true;
  const goodbye = await call("POST", "/api/auth/logout").then(() => "", () => "Signed out in this tab only: the server could not be told.");
  $("leave").disabled = false;
  end(goodbye);
}

/** The address says which conversation is open, so that the browser's own back button works. */
function route() {
  if (!chats) return;
  const id = location.hash.slice(1);
  const before = chats.openId;
  chats.openId = id || null;
  $("app").dataset.open = Boolean(id);
  thread.show(id);
  if (!id && before) document.querySelector(`#chats a[href="#${CSS.escape(before)}"]`)?.focus();
  render();
}

function open(id) {
  showPanel("chats");
  location.hash = id;
}

function render() {
  if (!chats) return;
  renderLine();
  renderList();
  people.render();
  thread.render();
}

function renderLine() {
  const { kind, until, detail } = chats.line;
  // A short pause while the page loads is nothing to talk about.
  $("line").hidden = kind === "online" || (kind === "connecting" && !chats.isLoaded);
  const seconds = Math.max(1, Math.round((until - Date.now()) / 1000));
  const words = { connecting: "Connecting…", waiting: `No connection. Trying again in ${seconds} s; what you write is kept until then.`, halted: detail };
  say($("line-words"), words[kind] ?? "");
  $("line-again").hidden = kind === "connecting";
}

function renderList() {
  const list = [...chats.conversations.values()];
  const latest = (c) => c.messages.at(-1)?.sent_at ?? "";
  list.sort((a, b) => latest(b).localeCompare(latest(a)) || b.id.localeCompare(a.id));
  reconcile($("chats"), list, (c) => c.id, makeRow, updateRow);
  say($("chats-hint"), !chats.isLoaded ? "Loading…" : list.length ? "" : "No conversations yet. Add somebody under People, then write to them.");
  const unread = list.reduce((sum, c) => sum + chats.unread(c), 0);
  say($("count-chats"), unread ? String(unread) : "");
  document.title = `${unread ? `(${unread}) ` : ""}Chat · SecureVOX`;
}

function makeRow(conversation) {
  return h("li", {}, h("a", { class: "row", href: `#${conversation.id}` },
    h("span", { class: "face", "aria-hidden": "true" }),
    h("span", { class: "grow clip" },
      h("span", { class: "row-top" }, h("strong", { class: "grow clip" }), h("time", {})),
      h("span", { class: "row-top" }, h("span", { class: "grow clip faint" }), h("span", { class: "badge" })))));
}

function updateRow(row, conversation) {
  const name = nameOf(chats, conversation);
  const newest = conversation.messages.at(-1);
  const unread = chats.unread(conversation);
  const link = row.firstElementChild;
  if (conversation.id === chats.openId) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
  face(row.querySelector(".face"), conversation.peer_id ?? conversation.id, name);
  say(row.querySelector("strong"), name);
  say(row.querySelector("time"), newest ? when(newest.sent_at) : "");
  say(row.querySelector(".faint"), preview(chats, conversation));
  say(row.querySelector(".badge"), unread ? String(unread) : "");
  row.querySelector(".badge").setAttribute("aria-label", `${unread} unread`);
}

/** What came is said to screen readers, with its place unless it is before their eyes. */
function said(conversation, message) {
  const name = chats.names.get(message.sender_id) ?? "Somebody";
  const place = conversation.id === chats.openId || conversation.kind === "direct" ? "" : ` in ${nameOf(chats, conversation)}`;
  const files = (message.attachments ?? []).map((file) => file.name).join(", ");
  $("news").textContent = `${name}${place}: ${message.body.slice(0, 200)}${files && ` (${files})`}`;
}

function trouble(words) {
  $("trouble").hidden = !words;
  $("trouble-words").textContent = words;
}

// Tabs, by pointer and by arrow keys

function chooseTab(id) {
  for (const tab of $(id).parentElement.children) {
    tab.setAttribute("aria-selected", tab.id === id);
    tab.tabIndex = tab.id === id ? 0 : -1;
  }
}

function showPanel(which) {
  chooseTab(`tab-${which}`);
  $("panel-chats").hidden = which !== "chats";
  $("panel-people").hidden = which !== "people";
}

function tab(id, choose) {
  $(id).addEventListener("click", choose);
  $(id).addEventListener("keydown", ({ key }) => {
    const other = key === "ArrowRight" || key === "ArrowDown" ? "nextElementSibling" : key === "ArrowLeft" || key === "ArrowUp" ? "previousElementSibling" : null;
    const to = other && $(id)[other];
    to?.focus();
    to?.click();
  });
}

tab("tab-login", () => mode(false));
tab("tab-register", () => mode(true));
tab("tab-chats", () => showPanel("chats"));
tab("tab-people", () => showPanel("people"));
form.addEventListener("submit", enter);
$("show").addEventListener("change", ({ target }) => (form.elements.password.type = target.checked ? "text" : "password"));
$("leave").addEventListener("click", leave);
$("line-again").addEventListener("click", () => chats.again());
$("trouble-close").addEventListener("click", () => trouble(""));
addEventListener("hashchange", route);
addEventListener("focus", () => render());
setInterval(() => chats?.line.kind === "waiting" && renderLine(), 1_000);

if (kept()) begin();
else showEntry();
