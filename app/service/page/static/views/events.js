/** Who was where, from the event log; and one visit with what happened in it. */

import { html, useEffect, useRef } from "../vendor/htm-preact.js";
import { Waiting } from "../components.js";
import { byDay, clock, dayAfter, dayOf } from "../dates.js";
import { useServer } from "../hooks.js";
import { openLive } from "../live_socket.js";
import { strings } from "../strings.js";
import { Visit } from "./visit.js";
import { VisitPicture, who } from "./visit_picture.js";

const GATHER_MS = 500;
const UNKNOWN = "?";

export function Events({ visit, query }) {
  return visit ? html`<${Visit} key=${visit} number=${visit} />` : html`<${List} query=${query} />`;
}

function List({ query }) {
  /** @type {Record<string, string>} */
  const chosen = Object.fromEntries(new URLSearchParams(query));
  const { data, error, reload } = useServer(path(chosen));
  const changed = useRef(reload);
  changed.current = reload;
  useEffect(() => {
    let timer = null;
    const live = openLive(() => ({}), async () => {}, () => {
      // Several events come together, as when somebody is recognised.
      clearTimeout(timer);
      timer = setTimeout(() => changed.current(), GATHER_MS);
    });
    return () => {
      clearTimeout(timer);
      live.close();
    };
  }, []);

  const visits = data?.visits ?? [];
  const isFiltered = Object.keys(chosen).length > 0;
  return html`
    <div class="heading">
      <h1>${strings.events}</h1>
      ${data && html`<span class="count">${strings.eventsOver(visits.length, data.more)}</span>`}
    </div>
    <${Filters} chosen=${chosen} visits=${visits} />
    ${!data && html`<${Waiting} error=${error} reload=${reload} />`}
    ${data && visits.length === 0 && (isFiltered
      ? html`<p class="state">${strings.noneMatch} <a href="#/events">${strings.clearFilter}</a></p>`
      : html`<${Empty} title=${strings.noEventsTitle} why=${strings.noEventsWhy} />`)}
    ${byDay(visits).map(([day, some]) => html`<section key=${day}>
      <h2 class="day-title">${new Date(`${day}T12:00`).toLocaleDateString([], { dateStyle: "full" })}</h2>
      <ul class="rows">${some.map((one) => html`<li key=${one.visit}><${Row} visit=${one} /></li>`)}</ul>
    </section>`)}
  `;
}

const Empty = ({ title, why }) => html`<div class="state"><h1>${title}</h1><p>${why}</p></div>`;

function Row({ visit }) {
  const name = who(visit);
  return html`<a class="visit" href="#/events/${visit.visit}">
    <${VisitPicture} visit=${visit} />
    <span>
      <span class="name">${name}</span>
      <span class="detail"> ${visit.channel}</span>
      ${visit.name === null && visit.nearest && html`<br /><span class="hint">${strings.nearestPerson(visit.nearest)}</span>`}
    </span>
    <span class="when">${clock(visit.time)}<span class="detail">${visit.ended ? strings.lasted(visit.duration_s) : strings.stillThere}</span></span>
  </a>`;
}

/** The address keeps the choice, so that it can be shared and survives a reload. */
function Filters({ chosen, visits }) {
  const people = useServer("/people").data?.people.map((person) => person.name) ?? [];
  const channels = useServer("/channels").data?.channels.map((channel) => channel.name) ?? [];
  const choose = (key) => (event) => {
    const next = new URLSearchParams({ ...chosen, [key]: event.target.value });
    for (const [name, value] of [...next]) if (!value) next.delete(name);
    location.hash = `#/events${next.size ? `?${next}` : ""}`;
  };
  // What is chosen stays in its list, also without a visit or a channel of today.
  const all = (known, key, seen) => [...new Set([...known, ...seen, chosen[key]])].filter((name) => name && name !== UNKNOWN).sort();
  const option = (value, label, key) => html`<option key=${value} value=${value} selected=${(chosen[key] ?? "") === value}>${label}</option>`;
  return html`<div class="filters">
    <label class="field"><span>${strings.day}</span>
      <input type="date" max=${dayOf(Date.now())} value=${chosen.day ?? ""} onChange=${choose("day")} /></label>
    <label class="field"><span>${strings.personFilter}</span>
      <select onChange=${choose("person")}>
        ${option("", strings.everyone, "person")}${option(UNKNOWN, strings.unknownOnly, "person")}
        ${all(people, "person", visits.map((visit) => visit.name)).map((name) => option(name, name, "person"))}
      </select></label>
    <label class="field"><span>${strings.channelFilter}</span>
      <select onChange=${choose("channel")}>
        ${option("", strings.allChannels, "channel")}
        ${all(channels, "channel", visits.map((visit) => visit.channel)).map((name) => option(name, name, "channel"))}
      </select></label>
  </div>`;
}

/** @param {Record<string, string>} chosen */
function path({ day, person, channel }) {
  const query = new URLSearchParams();
  const at = (midnight) => new Date(`${midnight}T00:00`).toISOString();
  if (/^\d{4}-\d\d-\d\d$/.test(day ?? "")) {
    query.set("since", at(day));
    query.set("until", at(dayAfter(day)));
  }
  if (person === UNKNOWN) query.set("unknown", "1");
  else if (person) query.set("person", person);
  if (channel) query.set("channel", channel);
  return query.size ? `/visits?${query}` : "/visits";
}
