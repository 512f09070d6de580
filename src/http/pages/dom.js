// Small helpers to build pages from data without ever parsing data as HTML.

/** Makes an element: h("a", { href: "/", class: "x", onclick: f }, "text", child, …). */
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

/** Shows one of several elements. */
export function showOnly(one, all) {
  for (const element of all) element.hidden = element !== one;
}

/**
 * Makes the children of `parent` those of `items`, in order, and keeps the elements of items that
 * stay, so that focus, selection and what a screen reader reads are not lost at every change.
 */
export function reconcile(parent, items, keyOf, make, update) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const keys = new Set(items.map((item) => String(keyOf(item))));
  const old = new Map();
  for (const child of [...parent.children]) {
    if (keys.has(child.dataset.key)) old.set(child.dataset.key, child);
    else child.remove();
  }
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    const element = old.get(key) ?? make(item);
    element.dataset.key = key;
    update?.(element, item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  if (focused?.isConnected && focused !== document.activeElement) focused.focus(); // moved elements lose it
}

/** Writes a text only if it changed, so that live regions do not speak again. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const FIELD_OF_CODE = {
  "auth/invalid-phone": "phone",
  "auth/phone-already-registered": "phone",
  "auth/invalid-name": "name",
  "auth/invalid-password": "password",
  "auth/second-factor-invalid": "code",
};

/** Writes errors beside the fields of a form, and focuses the first. `errors`: { field: text }. */
export function markFields(form, errors) {
  let first = null;
  for (const input of form.querySelectorAll("input[name]")) {
    const text = errors[input.name] ?? "";
    const place = $(`${input.id}-error`);
    if (place) place.textContent = text;
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
    if (text && !first) first = input;
  }
  first?.focus();
  return first !== null;
}

/** The errors of a problem by field, as far as this form has the fields. */
export function fieldsOf(problem, form) {
  const errors = {};
  const field = FIELD_OF_CODE[problem.code];
  if (field) errors[field] = problem.detail;
  for (const error of problem.errors ?? []) errors[error.field] = error.detail;
  return Object.fromEntries(Object.entries(errors).filter(([name]) => form.elements[name]));
}
