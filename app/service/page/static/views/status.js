/** How the server, its channels and its machine are. */

import { html, useState } from "../vendor/htm-preact.js";
import { request, say } from "../api.js";
import { Waiting } from "../components.js";
import { clock, dayAndTime } from "../dates.js";
import { useServer } from "../hooks.js";
import { Plot } from "../plot.js";
import { strings } from "../strings.js";
import { Fleet } from "./fleet.js";

const REFRESH_MS = 5000;
const FORBIDDEN = 403;

export function Status() {
  const { data, error, reload } = useServer("/status", REFRESH_MS);
  if (!data) return html`<${Waiting} error=${error} reload=${reload} />`;
  return html`
    <div class="heading">
      <h1>${strings.status}</h1>
      <span class="count">${strings.runningSince(data.version, dayAndTime(data.started))}</span>
    </div>
    <div class="health ${data.health}" role="status">
      <p><strong>${strings.statusOf[data.health]}</strong>${data.problems.map((problem) => html` ${strings.problems[problem] ?? problem}`)}</p>
    </div>
    <${Channels} />
    <${Fleet} />
    <${Plots} series=${data.series} />
    <${Kept} />
    <${Machine} />
  `;
}

function Channels() {
  const { data, error, reload } = useServer("/channels", REFRESH_MS);
  return html`<section class="section">
    <div class="title"><h2>${strings.channels}</h2></div>
    ${!data && html`<${Waiting} error=${error} reload=${reload} />`}
    ${data?.channels.length === 0 && html`<p class="hint">${strings.noChannels}</p>`}
    ${data?.channels.length > 0 && html`<ul class="rows">
      ${data.channels.map((channel) => html`<li key=${channel.name}><${Channel} channel=${channel} reload=${reload} /></li>`)}
    </ul>`}
  </section>`;
}

function Channel({ channel, reload }) {
  const [working, setWorking] = useState(false);
  const { name, state, counters } = channel;
  const isStopped = state === "stopped";
  const canSwitch = !["ended", "failed"].includes(state);
  const isLost = ["stalled", "reconnecting", "failed"].includes(state);
  const left = counters.dropped + counters.skipped;
  const facts = [
    strings.framesPerSecond(channel.fps),
    counters.reconnects > 0 && strings.reconnected(counters.reconnects),
    channel.live && left > 0 && strings.droppedShare(Math.round((100 * left) / Math.max(1, counters.read))),
  ];
  const toggle = async () => {
    setWorking(true);
    try {
      await request("POST", `/channels/${encodeURIComponent(name)}/${isStopped ? "start" : "stop"}`);
      say(isStopped ? strings.channelStarted(name) : strings.channelStopped(name));
    } catch (failure) {
      say(failure.status === FORBIDDEN ? strings.adminNeeded : failure.message, { failed: true });
    }
    setWorking(false);
    reload();
  };
  return html`<div class="channel-row">
    <div>
      <span class="name">${name}</span>
      <span class="badge ${isLost ? "failed" : isStopped ? "refused" : state}">${strings.channelStates[state] ?? state}${isLost && channel.last_frame ? ` ${strings.since(clock(channel.last_frame))}` : ""}</span>
      <p class="detail">${facts.filter(Boolean).join(" · ")}</p>
      ${isLost && channel.last_error && html`<p class="error">${channel.last_error}</p>`}
    </div>
    ${canSwitch && html`<button type="button" disabled=${working} aria-label=${isStopped ? strings.startChannel(name) : strings.stopChannel(name)} onClick=${toggle}>
      ${isStopped ? strings.start : strings.stop}
    </button>`}
  </div>`;
}

function Plots({ series }) {
  const { times } = series;
  const plots = [
    [strings.plotFps, series.fps],
    [strings.plotLatency, series.latency_ms, " ms", 0],
    [strings.plotStages, series.stages_ms, " ms"],
    [strings.plotMemory, { "": series.memory_mb }, " MB", 0],
    [strings.plotLevel, { "": series.degrade_level }, "", 0],
    [strings.plotReconnects, { "": series.reconnects }, "", 0],
  ].filter(([, values]) => Object.keys(values).length);
  return html`<section class="section">
    <div class="title"><h2>${strings.lastHalfHour}</h2></div>
    ${times.length < 2
      ? html`<p class="hint" role="status">${strings.notMeasuredYet}</p>`
      : html`<div class="plots">
          ${plots.map(([title, values, unit, digits]) => html`<${Plot} key=${title} title=${title} times=${times} series=${values} unit=${unit} digits=${digits} />`)}
        </div>`}
  </section>`;
}

function Kept() {
  const { data, error, reload } = useServer("/retention");
  return html`<section class="section">
    <div class="title"><h2>${strings.kept}</h2><span class="hint">${strings.keptWhy}</span></div>
    ${!data && html`<${Waiting} error=${error} reload=${reload} />`}
    ${data && html`<dl class="kept">${data.kept.map((one) => html`<div key=${one.what}>
      <dt>${strings.keptWhat[one.what] ?? one.what}</dt>
      <dd>${strings.keptFor(one)} <span class="detail">${one.settings.join(", ")}</span></dd>
    </div>`)}</dl>`}
  </section>`;
}

/** What is wrong comes first; what is fine, behind a click. */
function Machine() {
  const { data, error, reload } = useServer("/doctor");
  const found = (data?.sections ?? []).flatMap(({ title, findings }) => findings.map((finding) => ({ title, ...finding })));
  const isWrong = ({ status }) => status === "PROBLEM" || status === "warning";
  const fine = found.filter((finding) => !isWrong(finding));
  return html`<section class="section">
    <div class="title">
      <h2>${strings.machine}</h2>
      <span class="hint">${data ? strings.checkedAt(clock(data.time)) : strings.machineWhy}</span>
    </div>
    ${!data && (error ? html`<p class="hint">${error.message}</p>` : html`<p class="hint" role="status">${strings.checkingMachine}</p>`)}
    ${found.some(isWrong) && html`<ul class="rows">${found.filter(isWrong).map((finding) => html`<${Finding} ...${finding} />`)}</ul>`}
    ${fine.length > 0 && html`<details class="passed">
      <summary>${strings.allFine(fine.length)}</summary>
      <ul class="rows">${fine.map((finding) => html`<${Finding} ...${finding} />`)}</ul>
    </details>`}
    ${data && html`<button type="button" class="quiet" onClick=${reload}>${strings.retry}</button>`}
  </section>`;
}

function Finding({ title, status, text, advice }) {
  const kind = { OK: "added", warning: "refused", PROBLEM: "problem" }[status] ?? "";
  return html`<li class="finding">
    <span class="badge ${kind}">${strings.findings[status] ?? status}</span><strong>${title}</strong>
    <p>${text}</p>
    ${advice && html`<p class="hint">${advice}</p>`}
  </li>`;
}
