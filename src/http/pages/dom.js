// Helpers to build elements from data without ever parsing data as HTML.

/** Creates an element: h("a", { href: "/", class: "x", onclick: f }, "text", child, …). */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export const $ = (id) => document.getElementById(id);

/** Shows one of several elements and hides the others. */
export function showOnly(one, all) {
  for (const element of all) element.hidden = element !== one;
}

/**
 * Makes the children of `parent` match `items` in order. Elements of remaining items are reused, so
 * that focus, selection and the position of a screen reader survive every change.
 */
export function reconcile(parent, items, keyOf, create, update) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const keys = new Set(items.map((item) => String(keyOf(item))));
  const existing = new Map();
  for (const child of [...parent.children]) {
    if (keys.has(child.dataset.key)) existing.set(child.dataset.key, child);
    else child.remove();
  }
  let position = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    const element = existing.get(key) ?? create(item);
    element.dataset.key = key;
    update?.(element, item);
    if (element === position) position = position.nextElementSibling;
    else parent.insertBefore(element, position);
  }
  if (focused?.isConnected && focused !== document.activeElement) focused.focus(); // moving an element removes its focus
}

/** Sets a text only if it changed, so that live regions are not announced again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const FIELD_OF_CODE = {
  "auth/invalid-phone": "phone",
  "auth/phone-already-registered": "phone",
  "auth/invalid-name": "name",
  "auth/invalid-password": "password",
  "auth/second-factor-invalid": "code",
};

/** Shows errors next to the fields of a form and focuses the first. `errors`: { field: text }. */
export function markFields(form, errors) {
  let first = null;
  for (const input of form.querySelectorAll("input[name]")) {
    const text = errors[input.name] ?? "";
    const output = $(`${input.id}-error`);
    if (output) output.textContent = text;
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
    if (text && !first) first = input;
  }
  first?.focus();
  return first !== null;
}

/** The field errors of a problem, limited to the fields of this form. */
export function fieldErrors(problem, form) {
  const errors = {};
  const field = FIELD_OF_CODE[problem.code];
  if (field) errors[field] = problem.detail;
  for (const error of problem.errors ?? []) errors[error.field] = error.detail;
  return Object.fromEntries(Object.entries(errors).filter(([name]) => form.elements[name]));
}
