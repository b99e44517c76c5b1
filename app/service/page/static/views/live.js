/** What the channels of a run show now, with the names of the faces. */

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { Waiting } from "../components.js";
import { drawPicture } from "../drawing.js";
import { useServer } from "../hooks.js";
import { openLive } from "../live_socket.js";
import { strings } from "../strings.js";
import { WhoIsThis } from "./who_is_this.js";

const FPS = 10;
const REFRESH_MS = 3000;

export function Live() {
  const { data, error, reload } = useServer("/channels", REFRESH_MS);
  /** By channel: the canvas, and what it calls with the faces of a new picture. */
  const views = useRef(new Map());
  const socket = useRef(null);
  const [asked, setAsked] = useState(null);
  const names = data?.channels.map((channel) => channel.name).join("\n");

  useEffect(() => {
    if (!names) return undefined;
    const width = ({ canvas }) => Math.round(canvas.clientWidth * devicePixelRatio);
    const wanted = () => Object.fromEntries([...views.current].map(([name, view]) => [name, [width(view), FPS]]));
    socket.current = openLive(wanted, async (header, jpeg) => {
      const view = views.current.get(header.ch);
      if (!view) return;
      const faces = [...header.faces].sort((one, other) => one.box[0] - other.box[0]);
      const { width, height } = await drawPicture(view.canvas, faces, jpeg);
      view.seen(faces.map((face) => ({ ...face, share: face.box.map((side, axis) => side / (axis % 2 ? height : width)) })));
    });
    addEventListener("resize", socket.current.want);
    return () => {
      removeEventListener("resize", socket.current.want);
      socket.current.close();
    };
  }, [names]);

  if (!data) return html`<${Waiting} error=${error} reload=${reload} />`;
  return html`
    <div class="heading">
      <h1>${strings.live}</h1>
      <span class="hint">${strings.liveHint}</span>
      ${data.degrade_level > 0 && html`<span class="warning">${strings.degraded(data.degrade_level)}</span>`}
    </div>
    <ul class="channels">
      ${data.channels.map((channel) => html`<li key=${channel.name}><${Channel} channel=${channel} views=${views.current} ask=${(face) => setAsked({ channel: channel.name, face })} /></li>`)}
    </ul>
    ${asked && html`<${WhoIsThis} ...${asked} close=${() => setAsked(null)} />`}
  `;
}

function Channel({ channel, views, ask }) {
  const canvas = useRef(null);
  const [faces, setFaces] = useState(null);
  useEffect(() => {
    const view = {
      canvas: canvas.current,
      seen: setFaces,
    };
    views.set(channel.name, view);
    return () => views.delete(channel.name);
  }, [channel.name]);
  const isLost = channel.state !== "running";
  return html`<figure class=${isLost ? "channel lost" : "channel"}>
    <div class="shown">
      <canvas ref=${canvas} width="640" height="360" role="img" aria-label=${strings.liveOf(channel.name)}></canvas>
      ${(faces ?? []).map((face) => html`<button
        key=${face.track}
        type="button"
        class="face"
        style=${placed(face.share)}
        aria-label=${strings.whoIs(face.name ?? face.stranger ?? strings.unknown)}
        onClick=${() => ask(face)}
      ></button>`)}
    </div>
    <figcaption>
      <span class="name">${channel.name}</span>
      ${isLost && html`<span class="badge refused" title=${channel.last_error ?? ""}>${strings.channelState(channel.state, channel.last_frame)}</span>`}
      <span class="detail">${faces ? strings.facesSeen(faces.map((face) => face.name)) : strings.noPictureYet}</span>
    </figcaption>
  </figure>`;
}

function placed([left, top, right, bottom]) {
  const percent = (share) => `${100 * share}%`;
  return { left: percent(left), top: percent(top), width: percent(right - left), height: percent(bottom - top) };
}
