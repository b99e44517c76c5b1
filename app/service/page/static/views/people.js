/** Everyone who is enrolled, and the form that adds a person. */

import { html, useState } from "../vendor/htm-preact.js";
import { Photo, Waiting } from "../components.js";
import { useServer } from "../hooks.js";
import { strings } from "../strings.js";
import { Upload } from "../upload.js";

/** Cards at once: ten thousand make a browser slow. */
const PAGE = 200;

export function People() {
  const { data, error, reload } = useServer("/people");
  const [filter, setFilter] = useState("");
  const [limit, setLimit] = useState(PAGE);
  if (!data) return html`<${Waiting} error=${error} reload=${reload} />`;
  const { people } = data;
  const wanted = filter.trim().toLowerCase();
  const shown = people.filter((person) => person.name.toLowerCase().includes(wanted));
  return html`
    <div class="heading">
      <h1>${strings.people}</h1>
      ${people.length > 0 && html`<span class="count">${strings.peopleCount(people.length)}</span>`}
      ${people.length > 1 &&
      html`<input
        type="search"
        aria-label=${strings.filter}
        placeholder=${strings.filter}
        value=${filter}
        onInput=${(event) => setFilter(event.target.value)}
      />`}
    </div>
    ${people.length === 0 && html`<div class="state"><h2>${strings.emptyTitle}</h2><p>${strings.emptyWhy}</p></div>`}
    ${people.length > 0 && shown.length === 0 && html`<p class="state">${strings.noneFound(filter)}</p>`}
    <ul class="grid">
      ${shown.slice(0, limit).map((person) => html`<li key=${person.name}><${Card} ...${person} /></li>`)}
    </ul>
    ${shown.length > limit &&
    html`<p class="state">
      <button type="button" onClick=${() => setLimit(limit + PAGE)}>${strings.morePeople(shown.length - limit)}</button>
    </p>`}
    <${Enrol} names=${people.map((person) => person.name)} done=${reload} />
  `;
}

function Card({ name, photos, used_photos: used, best_photo: best }) {
  return html`<a class="card" href="#/people/${encodeURIComponent(name)}">
    <${Photo} name=${name} id=${best} alt="" />
    <span class="name">${name}</span>
    <span class="detail">
      ${strings.photoCount(photos)}${used < photos && html`, <span class="warning">${strings.notUsed(photos - used)}</span>`}
    </span>
  </a>`;
}

function Enrol({ names, done }) {
  const [name, setName] = useState("");
  const [missing, setMissing] = useState(false);
  const entered = name.trim();
  const ask = () => {
    setMissing(!entered);
    if (!entered) document.getElementById("enrol-name").focus();
    return entered;
  };
  return html`<section class="panel" aria-labelledby="enrol-title">
    <h2 id="enrol-title">${strings.enrolTitle}</h2>
    <label class="field">
      <span>${strings.name}</span>
      <input
        id="enrol-name"
        maxlength="50"
        autocomplete="off"
        value=${name}
        aria-invalid=${missing}
        aria-describedby="enrol-hint"
        onInput=${(event) => {
          setName(event.target.value);
          setMissing(false);
        }}
      />
    </label>
    <p id="enrol-hint" class=${missing ? "error" : "hint"} role="status">
      ${missing ? strings.nameFirst : names.includes(entered) ? strings.nameKnown(entered) : ""}
    </p>
    <${Upload} name=${ask} done=${(person, added) => added && done()} />
  </section>`;
}
