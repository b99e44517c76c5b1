/** Requests to the server, and what all views share: who is logged in, the connection, and the latest notice. */

import { signal } from "./vendor/signals-core.js";
import { strings } from "./strings.js";

const ATTEMPTS = 5;
const CHECK_EVERY_MS = 5000;
const CHECK_WHILE_LOST_MS = 1000;
const HEALTH_TIMEOUT_MS = 4000;
const UNDO_MS = 10000;

/** Who is logged in, `{client, scope}`, or null. The browser keeps the cookie; no script can read it. */
export const account = signal(null);
/** Whether a request was refused: "first" without a log-in, "again" with one that is not valid any more, or "". */
export const tokenNeeded = signal("");
export const connected = signal(true);
/** How many requests wait because the server has too many. */
export const busy = signal(0);
/** What changed last, and the address at which that is shown: `{text, hash, failed, undo}`. */
export const notice = signal(null);
/** How many changes this tab has made. What is shown is asked for again after each. */
export const changes = signal(0);

export class ApiError extends Error {
  /** Status 0: there was no answer. */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** `hash`: the address of the view that comes next, if it is another one. */
export function say(text, { hash = location.hash, failed = false } = {}) {
  notice.value = { text, hash, failed };
}

/**
 * `undo`: one change, or several in the order in which they were made: the id for `/undo/`, or a function that reverts it.
 * Null where there is nothing to undo.
 */
export function sayChanged(text, undo, { hash = location.hash } = {}) {
  const ids = [undo ?? []].flat().filter(Boolean);
  const said = { text, hash, failed: false, undo: ids };
  notice.value = said;
  changes.value += 1;
  setTimeout(() => {
    if (notice.value === said) notice.value = { ...said, undo: [] };
  }, UNDO_MS);
}

/** Goes to another view, and ends when it is there: before, the view that goes would ask for what is there no longer. */
export async function goTo(hash) {
  if (location.hash === hash) return;
  const isThere = new Promise((done) => addEventListener("hashchange", done, { once: true }));
  location.hash = hash;
  await isThere;
}

/** Reverts what the notice says has changed. */
export async function undoLatest() {
  const { undo = [], hash } = notice.value ?? {};
  if (!undo.length || hash !== location.hash) return;
  notice.value = null;
  let changed = [];
  try {
    for (const one of undo.slice().reverse()) {
      if (typeof one === "function") await one();
      else changed = changed.concat((await postJson(`/undo/${one}`)).changed);
    }
    // The person whose view this is may have the old name again.
    const back = changed.find((one) => one.from && one.to && location.hash === `#${personPath(one.from)}`);
    if (back && !back.to.startsWith("stranger-")) await goTo(`#${personPath(back.to)}`);
    say(strings.undone(changed));
  } catch (error) {
    say(error.message, { failed: true });
  }
  changes.value += 1;
}

let logIns = 0;

/** Opens a session with `{token}` or `{code}`. */
export async function logIn(proof) {
  account.value = await (await request("POST", "/session", JSON.stringify(proof))).json();
  logIns += 1;
  tokenNeeded.value = "";
}

export async function logOut() {
  await request("DELETE", "/session");
  account.value = null;
  tokenNeeded.value = "first";
}

/** Uses the code in an address that the server has printed, and finds out who is logged in. */
export async function start() {
  const [, code] = location.hash.match(/^#\/login\/([\w-]+)$/) ?? [];
  if (code) history.replaceState(null, "", "#/");
  try {
    if (code) await logIn({ code });
    else {
      const found = await getJson("/session");
      if (found.client) account.value = found;
    }
  } catch {
    // The first request of the view will say what is wrong, and ask for a token if one is needed.
  }
}

/** Which log-in a request belongs to: one that was refused before the last one says nothing about it. */
export const logInNow = () => logIns;

export function refuse(logInThen) {
  if (logInThen !== logIns) return;
  tokenNeeded.value = account.value ? "again" : "first";
  account.value = null;
}

/** The reply to a request, or an ApiError. A busy server is asked again, since doing these twice changes nothing. */
export async function request(method, path, body) {
  for (let attempt = 1; ; attempt += 1) {
    const then = logInNow();
    const reply = await send(method, path, body);
    if (reply.ok) return reply;
    const wait_s = Number(reply.headers.get("Retry-After"));
    const again = reply.status === 503 && attempt < ATTEMPTS && ["GET", "POST"].includes(method);
    if (!again) {
      if (reply.status === 401) refuse(then);
      throw new ApiError(reply.status, await explanation(reply));
    }
    busy.value += 1;
    await new Promise((done) => setTimeout(done, 1000 * Math.min(Math.max(wait_s, 1), 10)));
    busy.value -= 1;
  }
}

export const getJson = async (path) => (await request("GET", path)).json();
export const postJson = async (path, content = {}) => (await request("POST", path, JSON.stringify(content))).json();
export const personPath = (name) => `/people/${encodeURIComponent(name)}`;
export const photoPath = (name, id) => `${personPath(name)}/photos/${id}`;

/** Adds one photo; the outcome says whether it was added, and why not. */
export async function addPhoto(name, file) {
  const form = new FormData();
  form.append("photos", file, file.name);
  const { photos } = await (await request("POST", `${personPath(name)}/photos`, form)).json();
  return photos[0];
}

/** Ends when the server is there. */
export async function reconnected() {
  await new Promise((done) => {
    let stop = () => {};
    stop = connected.subscribe((value) => {
      if (value) {
        done();
        queueMicrotask(() => stop());
      }
    });
  });
}

/** Asks the server again and again whether it is there. Hidden tabs do not ask. */
export function watchConnection() {
  const check = async () => {
    if (!document.hidden) connected.value = await answers();
    setTimeout(check, connected.value ? CHECK_EVERY_MS : CHECK_WHILE_LOST_MS);
  };
  check();
}

async function send(method, path, body) {
  const headers = { "X-CSRF": "1" };
  try {
    return await fetch(`/api/v1${path}`, { method, headers, body, cache: "no-store" });
  } catch {
    connected.value = await answers();
    throw new ApiError(0, connected.value ? strings.interrupted : strings.serverLost);
  }
}

async function answers() {
  try {
    return (await fetch("/api/v1/health", { signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS), cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

/** The server's own words about what it refused. */
async function explanation(reply) {
  if (reply.status === 503) return strings.busyStill;
  try {
    return (await reply.json()).error || strings.failed(reply.status);
  } catch {
    return strings.failed(reply.status);
  }
}
