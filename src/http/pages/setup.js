// The page of the one-time link: makes the first administrator.

import { ask, device, keep } from "./api.js";
import { $, fieldsOf, markFields, showOnly } from "./dom.js";

const states = ["missing", "invalid", "form", "done"].map($);
const form = $("form");

function show(state, focus) {
  showOnly(state, states);
  if (focus) state.focus();
}

/** The token is read from the fragment each time and kept nowhere: browsers do not send it. */
const token = () => location.hash.slice(1);

function start() {
  if (token()) show(form);
  else show($("missing"));
}

function complain(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

function check({ phone, name, password, again }) {
  const errors = {};
  if (!phone.value.trim()) errors.phone = "Write your phone number.";
  if (!name.value.trim()) errors.name = "Write your name.";
  if (!password.value) errors.password = "Choose a password.";
  else if (password.value !== again.value) errors.again = "The passwords are not the same.";
  return errors;
}

async function make(event) {
  event.preventDefault();
  const { phone, name, password } = form.elements;
  complain("");
  if (markFields(form, check(form.elements))) return;
  busy(true);
  try {
    const signedIn = await ask("POST", "/api/auth/setup", {
      setup_token: token(), phone: phone.value, name: name.value.trim(), password: password.value, device,
    });
    done(signedIn);
  } catch (problem) {
    busy(false);
    if (problem.code === "auth/invalid-setup-link") show($("invalid"), true);
    else if (!markFields(form, fieldsOf(problem, form))) {
      complain(problem.detail);
      $("problem").focus();
    }
  }
}

function busy(is) {
  const button = $("make");
  button.disabled = is;
  button.textContent = is ? "One moment…" : "Make the administrator";
  form.setAttribute("aria-busy", is);
}

function done(signedIn) {
  form.reset();
  history.replaceState(null, "", location.pathname); // the used token leaves the address bar
  keep(signedIn);
  $("who").textContent = signedIn.user.name;
  $("number").textContent = signedIn.user.phone;
  show($("done"), true);
}

form.addEventListener("submit", make);
$("show").addEventListener("change", ({ target }) => {
  for (const input of [$("password"), $("again")]) input.type = target.checked ? "text" : "password";
});
addEventListener("hashchange", start);
start();
