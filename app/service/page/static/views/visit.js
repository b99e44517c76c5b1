/** One visit: its best picture, and what happened in it, with candidates and reasons. */

import { html, useState } from "../vendor/htm-preact.js";
import { Waiting } from "../components.js";
import { clock, dayAndTime } from "../dates.js";
import { useServer } from "../hooks.js";
import { explained, strings } from "../strings.js";
import { NotThisPerson } from "./not_this_person.js";
import { VisitPicture, who } from "./visit_picture.js";

const GONE = 404;

export function Visit({ number }) {
  const { data, error, reload } = useServer(`/visits/${encodeURIComponent(number)}`);
  const [asking, setAsking] = useState(false);
  const back = html`<a class="back" href="#/events">← ${strings.allEvents}</a>`;
  if (error?.status === GONE) return html`${back}<p class="state">${strings.visitGone}</p>`;
  if (!data) return html`${back}<${Waiting} error=${error} reload=${reload} />`;
  const { visit, events } = data;
  const from = dayAndTime(visit.time);
  return html`
    ${back}
    <div class="heading">
      <h1>${who(visit)}</h1>
      <span class="count">${visit.channel} · ${from} · ${visit.ended ? strings.lasted(visit.duration_s) : strings.stillThere}</span>
      <div class="actions">
        ${visit.name !== null && html`<a href="#/people/${encodeURIComponent(visit.name)}">${strings.toPerson(visit.name)}</a>`}
        ${visit.name === null && visit.stranger && html`<a href="#/strangers/${visit.stranger}">${strings.toStranger(visit.stranger)}</a>`}
        <button type="button" onClick=${() => setAsking(true)}>${who(visit) === strings.unknown ? strings.whoIsThis : strings.notThisPerson(who(visit))}</button>
      </div>
    </div>
    ${asking && html`<${NotThisPerson} visits=${[visit]} close=${() => setAsking(false)} />`}
    <div class="visit-detail">
      <${VisitPicture} visit=${visit} />
      <section>
        <h2>${strings.whatHappened}</h2>
        <ol class="rows history">${events.map((event) => html`<li key=${event.sequence}><${Happened} event=${event} /></li>`)}</ol>
      </section>
    </div>
  `;
}

function Happened({ event }) {
  const isLeft = event.event === "left";
  const [reason, numbers] = isLeft ? [strings.leftReasons[event.reason] ?? event.reason, ""] : explained(event.reason ?? "", event.why ?? "");
  return html`
    <p><span class="detail">${clock(event.time)}</span> <strong>${who(event)}</strong> ${strings.eventKinds[event.event] ?? event.event}${reason && html`: ${reason}<span class="detail">${numbers}</span>`}</p>
    ${!isLeft && event.candidates?.length > 0 && html`
      <h3>${strings.nearest}</h3>
      <ul class="candidates">${event.candidates.map((candidate) => html`<li key=${candidate.name}>
        <a href="#/people/${encodeURIComponent(candidate.name)}">${candidate.name}</a>
        <meter min="0" max="1" value=${Math.max(0, candidate.similarity)} aria-label=${candidate.name}></meter>
        <span class="number">${candidate.similarity.toFixed(2)}</span>
      </li>`)}</ul>`}
  `;
}
