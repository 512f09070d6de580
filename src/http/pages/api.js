// Requests to the server, and the tokens of this tab: kept, renewed before they end, forgotten.

const KEY = "securevox.session";

/** Why a request was not done: the server's problem, or none if there was no answer. */
export class Problem extends Error {
  constructor(problem) {
    super(problem.detail);
    Object.assign(this, problem);
  }

  /** Whether the same may work in a moment. */
  get isPassing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

const UNREACHABLE = { status: 0, code: "client/unreachable", detail: "The server cannot be reached." };

/** How this device calls itself. */
export const device = {
  name: `Browser on ${navigator.userAgentData?.platform || navigator.platform || "a computer"}`.slice(0, 100),
  platform: "web",
};

/** A request as it is; throws a Problem. */
export async function ask(method, path, body, token) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (token) headers.Authorization = `Bearer ${token}`;
  let response, text;
  try {
    response = await fetch(path, {
      method, headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(20_000),
    });
    text = await response.text();
  } catch {
    throw new Problem(UNREACHABLE);
  }
  let json = null;
  try {
    json = text ? JSON.parse(text) : null;
  } catch { /* a proxy in between may answer in its own words */ }
  if (response.ok) return json;
  throw new Problem(json?.detail ? json : { status: response.status, code: "client/unknown", detail: `The server answered ${response.status} ${response.statusText}.` });
}

/** Keeps what sign-in, registration or set-up answered. */
export function keep(signedIn) {
  const { user, device, access_token, refresh_token, expires_in } = signedIn;
  const expires_at = Date.now() + expires_in * 1000;
  sessionStorage.setItem(KEY, JSON.stringify({ user, device, access_token, refresh_token, expires_at, expires_in }));
}

/** What is kept, or null. */
export function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    return null;
  }
}

export function forget() {
  sessionStorage.removeItem(KEY);
}

let renewal = null;

/** New tokens; several callers share one exchange, since a refresh token works once. */
export function renew() {
  renewal ??= ask("POST", "/api/auth/refresh", { refresh_token: kept()?.refresh_token ?? "" })
    .then((signedIn) => {
      if (kept()) keep(signedIn); // signed out meanwhile: stay so
    })
    .finally(() => (renewal = null));
  return renewal;
}

/** Milliseconds until the tokens should be renewed: well before they end. */
export function untilRenewal() {
  const { expires_at, expires_in } = kept();
  return expires_at - Math.min(60, expires_in / 4) * 1000 - Date.now();
}

/** An access token that still works for a while. */
export async function token() {
  if (untilRenewal() <= 0) await renew();
  const session = kept();
  if (!session) throw new Problem({ status: 401, code: "client/signed-out", detail: "You are signed out." });
  return session.access_token;
}

/** A request of whoever is signed in. */
export async function call(method, path, body) {
  const used = await token();
  try {
    return await ask(method, path, body, used);
  } catch (problem) {
    if (problem.code !== "auth/invalid-token") throw problem;
    if (kept()?.access_token === used) await renew();
    return ask(method, path, body, await token());
  }
}

/** All items of a list, piece by piece. */
export async function all(path) {
  const items = [];
  let after = null;
  do {
    const more = after === null ? "" : `&after=${encodeURIComponent(after)}`;
    const piece = await call("GET", `${path}?limit=200${more}`);
    items.push(...piece.items);
    after = piece.next;
  } while (after);
  return items;
}
