/** The frame around the views: tabs, banners, and which view an address shows. */

import { html, render, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { account, busy, connected, logOut, notice, start, tokenNeeded, undoLatest, watchConnection } from "./api.js";
import { NoLog, Waiting } from "./components.js";
import { useServer, useShortcuts, useSignal } from "./hooks.js";
import { strings } from "./strings.js";
import { Events } from "./views/events.js";
import { Live } from "./views/live.js";
import { Login } from "./views/login.js";
import { People } from "./views/people.js";
import { Person } from "./views/person.js";
import { Status } from "./views/status.js";
import { Strangers } from "./views/strangers.js";
import { Today } from "./views/today.js";
import { Try } from "./views/try.js";

const LIVE = ["live", strings.live];
const TODAY = ["today", strings.today];
const NEEDS_LOG = ["today", "events"];
const TABS = [
  ["people", strings.people],
  ["strangers", strings.strangers],
  ["events", strings.events],
  ["status", strings.status],
  ["try", strings.tryPicture],
];

/** `#/people/Ann?x=1` as `{wanted: "people", name: "Ann", query: "x=1"}`. */
function address() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [wanted, name] = path.split("/");
  let decoded = "";
  try {
    decoded = decodeURIComponent(name ?? "");
  } catch {
    // An address that was typed wrong shows all people.
  }
  return { wanted, name: decoded, query };
}

function useAddress() {
  const [shown, setShown] = useState(address);
  useEffect(() => {
    const change = () => setShown(address());
    addEventListener("hashchange", change);
    return () => removeEventListener("hashchange", change);
  }, []);
  return shown;
}

function App() {
  const { wanted, name, query } = useAddress();
  const { data, error } = useServer("/channels");
  // Without sources there is nothing to show live; without an event log, no one who was there today.
  const kept = data?.events_kept ?? true;
  const live = data?.channels.length ? [LIVE] : [];
  const tabs = live.length && kept ? [TODAY, ...live, ...TABS] : [...live, ...TABS, TODAY];
  const isKnown = tabs.some(([id]) => id === wanted);
  const tab = isKnown ? wanted : tabs[0][0];
  const isReady = (isKnown && !NEEDS_LOG.includes(tab)) || data || error;
  const main = useRef(null);
  const first = useRef(true);
  const isConnected = useSignal(connected);
  const needsToken = useSignal(tokenNeeded) !== "";
  const isBusy = useSignal(busy) > 0;
  const said = useSignal(notice);
  const isLoggedIn = useSignal(account) !== null;
  useShortcuts({ u: undoLatest });
  useEffect(() => {
    document.title = [name || tabs.find(([known]) => known === tab)[1], strings.title].join(" · ");
    // On a phone the tabs are wider than the screen.
    document.querySelector("nav a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
    // Screen readers and the keyboard go on at the new view.
    if (!first.current) main.current.focus();
    first.current = false;
  }, [tab, name]);
  const view = {
    live: html`<${Live} />`,
    today: kept ? html`<${Today} query=${query} />` : html`<${NoLog} title=${strings.today} />`,
    strangers: html`<${Strangers} name=${name} />`,
    people: name ? html`<${Person} key=${name} name=${name} />` : html`<${People} />`,
    events: kept ? html`<${Events} visit=${name} query=${query} />` : html`<${NoLog} title=${strings.events} />`,
    status: html`<${Status} />`,
    try: html`<${Try} />`,
  };
  const shown = isReady ? view[tab] : html`<${Waiting} />`;
  return html`
    <a class="skip" href="#main" onClick=${(event) => {
      event.preventDefault();
      main.current.focus();
    }}>${strings.skip}</a>
    <header>
      <nav aria-label=${strings.title}>
        ${tabs.map(([id, label]) => html`<a key=${id} href="#/${id}" aria-current=${tab === id ? "page" : null}>${label}</a>`)}
      </nav>
      ${isLoggedIn && !needsToken && html`<button type="button" class="quiet" onClick=${logOut}>${strings.logOut}</button>`}
    </header>
    <div class="banners">
      ${!isConnected && html`<p class="banner lost" role="alert">${strings.serverLost}</p>`}
      ${isConnected && isBusy && html`<p class="banner busy" role="status">${strings.busy}</p>`}
      <div role="status" aria-live="polite">
        ${said?.hash === location.hash &&
        html`<p class="banner ${said.failed ? "busy" : "notice"}">
          <span>${said.text}</span>
          ${said.undo?.length > 0 && html`<button type="button" class="undo" onClick=${undoLatest}>${strings.undo} <kbd>u</kbd></button>`}
          <button type="button" class="quiet" aria-label=${strings.close} onClick=${() => (notice.value = null)}>✕</button>
        </p>`}
      </div>
    </div>
    <main id="main" tabindex="-1" ref=${main}>
      <fieldset class="plain" disabled=${!isConnected}>${needsToken ? html`<${Login} />` : shown}</fieldset>
    </main>
  `;
}

// A file that misses its drop zone would replace the page.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
watchConnection();
await start();
render(html`<${App} />`, document.getElementById("app"));
