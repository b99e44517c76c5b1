/** Who was there on a day: one card for each person and each stranger. */

import { html, useState } from "../vendor/htm-preact.js";
import { useArrivals } from "../arrivals.js";
import { Photo, ServerPicture, Waiting } from "../components.js";
import { dayOf } from "../dates.js";
import { useServer } from "../hooks.js";
import { strings } from "../strings.js";
import { NotThisPerson } from "./not_this_person.js";

const REFRESH_MS = 30000;
const LIMIT = 1000;
const MOST_TIMES = 4;

function daysAfter(day, count) {
  const [year, month, date] = day.split("-").map(Number);
  return new Date(year, month - 1, date + count);
}

export function Today({ query }) {
  const today = dayOf(new Date());
  const asked = new URLSearchParams(query).get("day") ?? "";
  const day = /^\d{4}-\d{2}-\d{2}$/.test(asked) ? asked : today;
  const range = new URLSearchParams({
    since: daysAfter(day, 0).toISOString(),
    until: daysAfter(day, 1).toISOString(),
    limit: String(LIMIT),
  });
  const { data, error, reload } = useServer(`/visits?${range}`, REFRESH_MS);
  const people = useServer("/people").data?.people ?? [];
  const kept = useServer("/strangers");
  const strangers = kept.data?.strangers ?? [];
  useArrivals(() => {
    reload();
    kept.reload();
  });
  const open = (wanted) => (location.hash = wanted === today ? "#/today" : `#/today?day=${wanted}`);
  const heading = html`<div class="heading">
    <h1>${day === today ? strings.today : strings.dayTitle(daysAfter(day, 0))}</h1>
    <div class="actions days">
      <button type="button" aria-label=${strings.dayBefore} onClick=${() => open(dayOf(daysAfter(day, -1)))}>‹</button>
      <input type="date" aria-label=${strings.dayChoose} value=${day} onChange=${({ target }) => target.value && open(target.value)} />
      <button type="button" aria-label=${strings.dayAfter} disabled=${day === today} onClick=${() => open(dayOf(daysAfter(day, 1)))}>›</button>
    </div>
  </div>`;
  if (!data) return html`${heading}<${Waiting} error=${error} reload=${reload} />`;
  const groups = grouped(data.visits);
  return html`
    ${heading}
    ${groups.length === 0 &&
    html`<div class="state"><h2>${strings.noVisitsTitle}</h2><p>${strings.noVisitsWhy}</p><p><a href="#/people">${strings.enrolTitle}</a></p></div>`}
    <ul class="grid day" aria-live="polite">
      ${groups.map((visits) => html`<li key=${visits[0].name ?? visits[0].stranger ?? ""}><${Card} visits=${visits} people=${people} strangers=${strangers} /></li>`)}
    </ul>
    ${data.more && html`<p class="hint">${strings.moreVisits(LIMIT)}</p>`}
  `;
}

/** The visits of each one, the last one first; those of unknown people without a number together. */
function grouped(visits) {
  const groups = new Map();
  for (const visit of visits) {
    const who = visit.name ? `person ${visit.name}` : (visit.stranger ?? "");
    groups.set(who, [...(groups.get(who) ?? []), visit]);
  }
  return [...groups.values()];
}

function Card({ visits, people, strangers }) {
  const [{ name, stranger }] = visits;
  // The pictures of a visit are written when it ends; until then there are those of the stranger.
  const pictured = visits.find((visit) => visit.picture);
  const [best] = strangers.find((one) => one.stranger === stranger)?.pictures ?? [];
  const picture = pictured ? `/visits/${pictured.visit}/picture.jpg` : best && !name ? `/strangers/${stranger}/pictures/${best}` : "";
  const title = name ?? stranger ?? strings.unknown;
  const person = people.find((one) => one.name === name);
  const address = name ? `#/people/${encodeURIComponent(name)}` : stranger ? `#/strangers/${stranger}` : "#/events";
  const isThere = visits.some((visit) => !visit.ended);
  const [asking, setAsking] = useState(false);
  return html`<a class="card" href=${address}>
    ${pictured || !person
      ? html`<${ServerPicture} path=${picture} alt="" missing=${strings.noPicture} />`
      : html`<${Photo} name=${name} id=${person.best_photo} alt="" />`}
    <span class="foot">
      <span class="name">${title}</span>
      ${isThere && html`<span class="badge added">${strings.thereNow}</span>`}
    </span>
    <ul class="times">
      ${visits.slice(0, MOST_TIMES).map((visit) => html`<li key=${visit.visit}>${strings.visitAt(visit)}</li>`)}
    </ul>
    ${visits.length > MOST_TIMES && html`<span class="detail">${strings.moreTimes(visits.length - MOST_TIMES)}</span>`}
    ${!name && stranger && html`<span class="ask">${strings.whoIsThis}</span>`}
  </a>
  ${name && html`<button type="button" class="not-this" onClick=${() => setAsking(true)}>${strings.notThisPerson(name)}</button>`}
  ${asking && html`<${NotThisPerson} visits=${visits} close=${() => setAsking(false)} />`}`;
}
