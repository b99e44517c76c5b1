/** The frame around the views: tabs, banners, and which view an address shows. */

import { html, render, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { busy, connected, notice, setToken, token, tokenNeeded, watchConnection } from "./api.js";
import { useSignal } from "./hooks.js";
import { strings } from "./strings.js";
import { Login } from "./views/login.js";
import { People } from "./views/people.js";
import { Person } from "./views/person.js";
import { Try } from "./views/try.js";

const TABS = [
  ["people", strings.people],
  ["try", strings.tryPicture],
];

/** `#/people/Ann` as `{tab: "people", name: "Ann"}`. */
function address() {
  const [tab, name] = location.hash.replace(/^#\/?/, "").split("/");
  let decoded = "";
  try {
    decoded = decodeURIComponent(name ?? "");
  } catch {
    // An address that was typed wrong shows all people.
  }
  return { tab: TABS.some(([known]) => known === tab) ? tab : TABS[0][0], name: decoded };
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
  const { tab, name } = useAddress();
  const main = useRef(null);
  const first = useRef(true);
  const isConnected = useSignal(connected);
  const needsToken = useSignal(tokenNeeded) !== "";
  const isBusy = useSignal(busy) > 0;
  const said = useSignal(notice);
  const hasToken = useSignal(token) !== "";
  useEffect(() => {
    document.title = [name || TABS.find(([known]) => known === tab)[1], strings.title].join(" · ");
    // Screen readers and the keyboard go on at the new view.
    if (!first.current) main.current.focus();
    first.current = false;
  }, [tab, name]);
  const logOut = () => {
    setToken("");
    tokenNeeded.value = "first";
  };
  const view = { people: name ? html`<${Person} key=${name} name=${name} />` : html`<${People} />`, try: html`<${Try} />` };
  return html`
    <a class="skip" href="#main" onClick=${(event) => {
      event.preventDefault();
      main.current.focus();
    }}>${strings.skip}</a>
    <header>
      <nav aria-label=${strings.title}>
        ${TABS.map(([id, label]) => html`<a key=${id} href="#/${id}" aria-current=${tab === id ? "page" : null}>${label}</a>`)}
      </nav>
      ${hasToken && !needsToken && html`<button type="button" class="quiet" onClick=${logOut}>${strings.logOut}</button>`}
    </header>
    <div class="banners">
      ${!isConnected && html`<p class="banner lost" role="alert">${strings.serverLost}</p>`}
      ${isConnected && isBusy && html`<p class="banner busy" role="status">${strings.busy}</p>`}
      <div role="status" aria-live="polite">
        ${said?.hash === location.hash &&
        html`<p class="banner ${said.failed ? "busy" : "notice"}">
          <span>${said.text}</span>
          <button type="button" class="quiet" aria-label=${strings.close} onClick=${() => (notice.value = null)}>✕</button>
        </p>`}
      </div>
    </div>
    <main id="main" tabindex="-1" ref=${main}>
      <fieldset class="plain" disabled=${!isConnected}>${needsToken ? html`<${Login} />` : view[tab]}</fieldset>
    </main>
  `;
}

// A file that misses its drop zone would replace the page.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
watchConnection();
render(html`<${App} />`, document.getElementById("app"));
