/** The devices that share a database: what they lack, and conflicts to decide. */

import { html, useState } from "../vendor/htm-preact.js";
import { personPath, postJson, say } from "../api.js";
import { Photo, Waiting } from "../components.js";
import { dayAndTime } from "../dates.js";
import { useServer } from "../hooks.js";
import { strings } from "../strings.js";

const REFRESH_MS = 5000;
const FORBIDDEN = 403;

/** Nothing where the gallery is that of one device. */
export function Fleet() {
  const { data, error, reload } = useServer("/fleet", REFRESH_MS);
  if (!data && !error) return null;
  if (data?.state === "off") return null;
  return html`<section class="section fleet" aria-labelledby="fleet-title">
    <div class="title">
      <h2 id="fleet-title">${strings.fleet}</h2>
      ${data?.asked && html`<span class="hint">${strings.fleetCount(data.devices.length)}</span>`}
    </div>
    ${!data && html`<${Waiting} error=${error} reload=${reload} />`}
    ${data?.problem && html`<div class="note" role="status">
      <p><strong>${strings.databaseAway}</strong> ${data.asked ? strings.databaseAwaySince(dayAndTime(data.asked)) : strings.databaseAwayWhy}</p>
      <p class="error">${data.problem}</p>
    </div>`}
    ${data?.missing > 0 && html`<div class="note" role="status"><p>${strings.photosMissing(data.missing)}</p></div>`}
    ${data?.conflicts.length > 0 && html`<h3>${strings.conflicts}</h3>
      <p class="hint">${strings.conflictsWhy}</p>
      <ul class="rows">${data.conflicts.map((conflict) => html`<li key=${conflict.id}><${Conflict} conflict=${conflict} reload=${reload} /></li>`)}</ul>`}
    ${data?.devices.length > 0 && html`${data.conflicts.length > 0 && html`<h3>${strings.devices}</h3>`}
      <ul class="rows">${data.devices.map((device) => html`<li key=${device.name + device.last_seen}><${Device} device=${device} /></li>`)}</ul>`}
    ${data?.asked && data.devices.length === 0 && html`<p class="hint">${strings.noDevices}</p>`}
    ${data?.notices.length > 0 && html`<details class="passed">
      <summary>${strings.noticeCount(data.notices.length)}</summary>
      <ul class="rows">${data.notices.map((notice) => html`<li class="finding">${strings.fleetNotice(notice)}</li>`)}</ul>
    </details>`}
  </section>`;
}

function Device({ device }) {
  const lacks = [
    device.behind > 0 && strings.deviceBehind(device.behind),
    device.unsent > 0 && strings.deviceUnsent(device.unsent),
    device.conflicts > 0 && strings.deviceConflicts(device.conflicts),
  ].filter(Boolean);
  const isLate = device.behind > 0 || device.unsent > 0;
  const [kind, state] = device.away
    ? ["failed", strings.deviceAway]
    : isLate
      ? ["refused", strings.deviceLags]
      : device.conflicts > 0
        ? ["refused", strings.deviceAsks]
        : ["running", strings.deviceCurrent];
  return html`<div class="channel-row">
    <div>
      <span class="name">${device.name}</span>
      <span class="badge ${kind}">${state}</span>
      ${device.own && html`<span class="badge">${strings.thisDevice}</span>`}
      ${lacks.length > 0 && html`<p>${lacks.join(" · ")}</p>`}
      <p class="detail">${strings.deviceFacts(dayAndTime(device.last_seen), device.version, device.embedder)}</p>
    </div>
  </div>`;
}

function Conflict({ conflict, reload }) {
  const { id, kind, mine, theirs, photo } = conflict;
  const [working, setWorking] = useState(false);
  const keep = async (which) => {
    setWorking(true);
    try {
      const { name } = await postJson(`/fleet/conflicts/${id}`, { keep: which });
      say(strings.conflictSettled(kind, name));
    } catch (failure) {
      say(failure.status === FORBIDDEN ? strings.adminNeeded : failure.message, { failed: true });
    }
    setWorking(false);
    reload();
  };
  return html`<div class="conflict">
    <${Photo} name=${mine} id=${photo} alt="" />
    <div>
      <p class="name">${strings.conflictOf(kind)}</p>
      <p>${strings.conflictHere} <a href="#${personPath(mine)}">${mine}</a>, ${strings.conflictElsewhere} <strong>${theirs}</strong></p>
    </div>
    <div class="actions">
      <button type="button" disabled=${working} onClick=${() => keep("mine")}>${strings.keepMine(mine)}</button>
      <button type="button" disabled=${working} onClick=${() => keep("theirs")}>${strings.keepTheirs(theirs)}</button>
    </div>
  </div>`;
}
