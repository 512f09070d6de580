// Page of the one-time setup link: creates the first administrator.

import { request, device, storeSession } from "./api.js";
import { $, fieldErrors, markFields, showOnly } from "./dom.js";

const states = ["missing", "invalid", "form", "done"].map($);
const form = $("form");

function show(state, focus) {
  showOnly(state, states);
  if (focus) state.focus();
}

/** The token is read from the fragment each time and never stored; browsers do not send it. */
const token = () => location.hash.slice(1);

function start() {
  if (token()) show(form);
  else show($("missing"));
}

function showError(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

function validate({ phone, name, password, again }) {
  const errors = {};
  if (!phone.value.trim()) errors.phone = "Enter your phone number.";
  if (!name.value.trim()) errors.name = "Enter your name.";
  if (!password.value) errors.password = "Choose a password.";
  else if (password.value !== again.value) errors.again = "The passwords do not match.";
  return errors;
}

async function submit(event) {
  event.preventDefault();
  const { phone, name, password } = form.elements;
  showError("");
  if (markFields(form, validate(form.elements))) return;
  setBusy(true);
  try {
    const signedIn = await request("POST", "/api/auth/setup", {
      setup_token: token(), phone: phone.value, name: name.value.trim(), password: password.value, device,
    });
    done(signedIn);
  } catch (problem) {
    setBusy(false);
    if (problem.code === "auth/invalid-setup-link") show($("invalid"), true);
    else if (!markFields(form, fieldErrors(problem, form))) {
      showError(problem.detail);
      $("problem").focus();
    }
  }
}

function setBusy(isBusy) {
  const button = $("make");
  button.disabled = isBusy;
  button.textContent = isBusy ? "One moment…" : "Create the administrator";
  form.setAttribute("aria-busy", isBusy);
}

function done(signedIn) {
  form.reset();
  history.replaceState(null, "", location.pathname); // removes the used token from the address bar
  storeSession(signedIn);
  $("who").textContent = signedIn.user.name;
  $("number").textContent = signedIn.user.phone;
  show($("done"), true);
}

form.addEventListener("submit", submit);
$("show").addEventListener("change", ({ target }) => {
  for (const input of [$("password"), $("again")]) input.type = target.checked ? "text" : "password";
});
addEventListener("hashchange", start);
start();
