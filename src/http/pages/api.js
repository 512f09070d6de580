// HTTP requests to the server, and the session tokens of this tab: stored, renewed and removed.

const STORAGE_KEY = "securevox.session";

/** Error of a request: the problem document of the server, or status 0 if there was no response. */
export class Problem extends Error {
  constructor(problem) {
    super(problem.detail);
    Object.assign(this, problem);
  }

  /** Whether a retry may succeed. */
  get isTransient() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

const UNREACHABLE = { status: 0, code: "client/unreachable", detail: "The server cannot be reached." };

/** Name and platform of this device. */
export const device = {
  name: `Browser on ${navigator.userAgentData?.platform || navigator.platform || "a computer"}`.slice(0, 100),
  platform: "web",
};

/** Sends one request; throws a Problem. */
export async function request(method, path, body, token) {
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
  } catch { /* a proxy may answer without JSON */ }
  if (response.ok) return json;
  throw new Problem(json?.detail ? json : { status: response.status, code: "client/unknown", detail: `The server answered ${response.status} ${response.statusText}.` });
}

/** Stores the response of sign-in, registration or setup. */
export function storeSession(signedIn) {
  const { user, device, access_token, refresh_token, expires_in } = signedIn;
  const expires_at = Date.now() + expires_in * 1000;
  sessionStorage.setItem(STORAGE_KEY, JSON.stringify({ user, device, access_token, refresh_token, expires_at, expires_in }));
}

/** The stored session, or null. */
export function storedSession() {
  try {
    return JSON.parse(sessionStorage.getItem(STORAGE_KEY));
  } catch {
    return null;
  }
}

export function removeSession() {
  sessionStorage.removeItem(STORAGE_KEY);
}

let renewal = null;

/** Renews the tokens. Concurrent callers share one request, since a refresh token works once. */
export function renew() {
  renewal ??= request("POST", "/api/auth/refresh", { refresh_token: storedSession()?.refresh_token ?? "" })
    .then((signedIn) => {
      if (storedSession()) storeSession(signedIn); // not if signed out meanwhile
    })
    .finally(() => (renewal = null));
  return renewal;
}

/** Milliseconds until the tokens should be renewed: well before they expire. */
export function untilRenewal() {
  const { expires_at, expires_in } = storedSession();
  return expires_at - Math.min(60, expires_in / 4) * 1000 - Date.now();
}

/** An access token that is valid for a while. */
export async function token() {
  if (untilRenewal() <= 0) await renew();
  const session = storedSession();
  if (!session) throw new Problem({ status: 401, code: "client/signed-out", detail: "You are signed out." });
  return session.access_token;
}

/** Sends a request as the signed-in user. */
export async function call(method, path, body) {
  const used = await token();
  try {
    return await request(method, path, body, used);
  } catch (problem) {
    if (problem.code !== "auth/invalid-token") throw problem;
    if (storedSession()?.access_token === used) await renew();
    return request(method, path, body, await token());
  }
}

/** All items of a paginated list. */
export async function all(path) {
  const items = [];
  let after = null;
  do {
    const cursor = after === null ? "" : `&after=${encodeURIComponent(after)}`;
    const page = await call("GET", `${path}?limit=200${cursor}`);
    items.push(...page.items);
    after = page.next;
  } while (after);
  return items;
}
