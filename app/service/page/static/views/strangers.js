/** Unknown people, one after another: who is it? */

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { postJson, say, sayChanged } from "../api.js";
import { useArrivals } from "../arrivals.js";
import { Photo, ServerPicture, Waiting } from "../components.js";
import { useServer, useShortcuts } from "../hooks.js";
import { strings } from "../strings.js";
import { Search, path, picturePath } from "./seen_before.js";

const REFRESH_MS = 30000;

const show = (stranger) => (location.hash = `#/strangers/${encodeURIComponent(stranger)}`);

export function Strangers({ name }) {
  const { data, error, reload } = useServer("/strangers", REFRESH_MS);
  const people = useServer("/people").data?.people ?? [];
  useArrivals(reload);
  /** Where the last one was, so that the next one takes its place when it is gone. */
  const place = useRef(0);
  const strangers = [...(data?.strangers ?? [])].sort((one, other) => other.last_seen.localeCompare(one.last_seen));
  const index = strangers.findIndex((one) => one.stranger === name);
  const shown = strangers[index >= 0 ? index : Math.min(place.current, strangers.length - 1)];
  if (shown) place.current = strangers.indexOf(shown);
  const step = (by) => {
    const next = strangers[place.current + by];
    if (next) show(next.stranger);
  };
  useShortcuts({ j: () => step(1), k: () => step(-1) });
  if (!data) return html`<${Waiting} error=${error} reload=${reload} />`;
  const single = strangers.filter((one) => one.visits === 1);
  const ignoreSingle = async () => {
    const undo = [];
    try {
      for (const { stranger, version } of single) {
        undo.push((await postJson(`${path(stranger)}/ignore`, { version })).undo);
      }
    } catch (failure) {
      say(failure.message, { failed: true });
    }
    if (undo.length) sayChanged(strings.ignoredMany(undo.length), undo);
  };
  return html`
    <div class="heading">
      <h1>${strings.strangers}</h1>
      ${strangers.length > 0 && html`<span class="count">${strings.strangerPlace(place.current + 1, strangers.length)}</span>`}
      ${single.length > 1 &&
      html`<div class="actions"><button type="button" onClick=${ignoreSingle}>${strings.ignoreSingle(single.length)}</button></div>`}
    </div>
    ${shown
      ? html`<${Stranger} key=${shown.stranger} stranger=${shown} others=${strangers} people=${people} reload=${reload} />
          <ul class="queue" aria-label=${strings.strangers}>
            ${strangers.map((one) => html`<li key=${one.stranger}>
              <a href="#/strangers/${one.stranger}" aria-current=${one === shown ? "true" : null}>
                <${ServerPicture} path=${one.pictures.length ? picturePath(one.stranger, one.pictures[0]) : ""} alt="" missing="?" />
                <span>${one.pictures.length ? strings.visitCount(one.visits) : one.devices[0] ?? strings.visitCount(one.visits)}</span>
              </a>
            </li>`)}
          </ul>`
      : html`<div class="state"><h2>${strings.noStrangersTitle}</h2><p>${strings.noStrangersWhy}</p></div>`}
    <${Search} />
  `;
}

function Stranger({ stranger: one, others, people, reload }) {
  const { stranger, version } = one;
  const input = useRef(null);
  const [name, setName] = useState("");
  const [same, setSame] = useState("");
  const [error, setError] = useState("");
  const [working, setWorking] = useState(false);
  const change = async (work) => {
    if (working) return;
    setWorking(true);
    setError("");
    try {
      await work();
    } catch (failure) {
      // Someone else may have changed this stranger meanwhile: what is there now is shown with the reason.
      setError(failure.message);
      reload();
    }
    setWorking(false);
  };
  const give = (wanted) =>
    change(async () => {
      const { changed, undo } = await postJson(`${path(stranger)}/name`, { name: wanted, version });
      sayChanged(strings.moved(changed), undo);
    });
  const merge = () =>
    change(async () => {
      const into = others.find((other) => other.stranger === same);
      const { changed, undo } = await postJson(`${path(same)}/merge`, { others: [stranger], version: into?.version });
      show(same);
      sayChanged(strings.moved(changed), undo);
    });
  const split = () =>
    change(async () => {
      const divided = await postJson(`${path(stranger)}/split`, { version });
      sayChanged(strings.moved(divided.changed), divided.undo);
    });
  const ignore = () =>
    change(async () => {
      const { undo } = await postJson(`${path(stranger)}/ignore`, { version });
      sayChanged(strings.ignored(stranger), undo);
    });
  const nearest = one.nearest.map((near) => ({ ...near, photo: people.find((person) => person.name === near.name)?.best_photo }));
  useShortcuts({
    n: () => input.current.focus(),
    i: ignore,
    s: () => one.visits > 1 && split(),
    ...Object.fromEntries(nearest.map((near, row) => [String(row + 1), () => give(near.name)])),
  });
  // That of the picture which is shown, or else of another one.
  const frame = one.frames.includes(one.pictures[0]) ? one.pictures[0] : one.frames[0];
  const known = people.some((person) => person.name === name.trim());
  return html`<section class="review" aria-labelledby="stranger-title">
    <div class="seen">
      <${ServerPicture} path=${one.pictures.length ? picturePath(stranger, one.pictures[0]) : ""} alt=${strings.pictureOf(stranger)} missing=${one.devices.length ? strings.pictureElsewhere(one.devices) : strings.noPicture} />
      ${frame && html`<figure class="frame"><${ServerPicture} path=${`${picturePath(stranger, frame)}/frame.jpg`} alt=${strings.frameOf(stranger)} /><figcaption>${strings.frameWhy}</figcaption></figure>`}
    </div>
    <div>
      <h2 id="stranger-title">${strings.whoIsThis}</h2>
      <p class="detail">
        ${strings.strangerSeen(one.visits, one.channels, one.first_seen, one.last_seen)} · ${stranger}
      </p>
      ${one.devices.length > 0 && html`<p><span class="badge">${strings.seenElsewhere(one.devices)}</span></p>`}
      <form class="naming" onSubmit=${(event) => {
        event.preventDefault();
        if (name.trim()) give(name.trim());
      }}>
        <label class="field">
          <span>${strings.name} <kbd>n</kbd></span>
          <input
            ref=${input}
            list="known-names"
            maxlength="50"
            autocomplete="off"
            value=${name}
            onInput=${(event) => setName(event.target.value)}
            onKeyDown=${({ key }) => {
              if (key !== "Escape") return;
              setName("");
              input.current.blur();
            }}
          />
        </label>
        <datalist id="known-names">${people.map((person) => html`<option key=${person.name} value=${person.name} />`)}</datalist>
        <button type="submit" class="primary" disabled=${!name.trim() || working}>${known ? strings.mergeInto(name.trim()) : strings.giveName}</button>
      </form>
      ${error && html`<p class="error" role="alert">${error}</p>`}
      ${nearest.length > 0 &&
      html`<h3>${strings.orIsIt}</h3>
        <ul class="lookalikes">
          ${nearest.map((near, row) => html`<li key=${near.name}>
            <button type="button" disabled=${working} onClick=${() => give(near.name)}>
              <${Photo} name=${near.name} id=${near.photo} alt="" />
              <span class="name">${near.name}</span>
              <span class="detail">${near.similarity.toFixed(2)} <kbd>${row + 1}</kbd></span>
            </button>
          </li>`)}
        </ul>`}
      <div class="actions">
        <button type="button" disabled=${working} onClick=${ignore}>${strings.ignore} <kbd>i</kbd></button>
        ${one.visits > 1 && html`<button type="button" disabled=${working} onClick=${split}>${strings.split} <kbd>s</kbd></button>`}
        ${others.length > 1 &&
        html`<select aria-label=${strings.sameAs} value=${same} onChange=${(event) => setSame(event.target.value)}>
            <option value="">${strings.sameAs}</option>
            ${others.filter((other) => other !== one).map((other) => html`<option key=${other.stranger} value=${other.stranger}>${other.stranger}</option>`)}
          </select>
          ${same && html`<button type="button" disabled=${working} onClick=${merge}>${strings.mergeInto(same)}</button>`}`}
      </div>
      <p class="hint keys">${strings.strangerKeys}</p>
    </div>
  </section>`;
}
