/** What the channels of a run show now, with the names of the faces. */

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { Waiting } from "../components.js";
import { drawPicture } from "../drawing.js";
import { useServer } from "../hooks.js";
import { openLive } from "../live_socket.js";
import { strings } from "../strings.js";

const FPS = 10;
const REFRESH_MS = 3000;

export function Live() {
  const { data, error, reload } = useServer("/channels", REFRESH_MS);
  /** By channel: the canvas, and what it calls with the faces of a new picture. */
  const views = useRef(new Map());
  const socket = useRef(null);
  const names = data?.channels.map((channel) => channel.name).join("\n");

  useEffect(() => {
    if (!names) return undefined;
    const width = ({ canvas }) => Math.round(canvas.clientWidth * devicePixelRatio);
    const wanted = () => Object.fromEntries([...views.current].map(([name, view]) => [name, [width(view), FPS]]));
    socket.current = openLive(wanted, async (header, jpeg) => {
      const view = views.current.get(header.ch);
      if (!view) return;
      const faces = [...header.faces].sort((one, other) => one.box[0] - other.box[0]);
      await drawPicture(view.canvas, faces, jpeg);
      view.seen(faces);
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
      ${data.degrade_level > 0 && html`<span class="warning">${strings.degraded(data.degrade_level)}</span>`}
    </div>
    <ul class="channels">
      ${data.channels.map((channel) => html`<li key=${channel.name}><${Channel} channel=${channel} views=${views.current} /></li>`)}
    </ul>
  `;
}

function Channel({ channel, views }) {
  const canvas = useRef(null);
  const [faces, setFaces] = useState(null);
  useEffect(() => {
    const view = {
      canvas: canvas.current,
      // The same text again draws nothing again.
      seen: (found) => setFaces(strings.facesSeen(found.map((face) => face.name))),
    };
    views.set(channel.name, view);
    return () => views.delete(channel.name);
  }, [channel.name]);
  const isLost = channel.state !== "running";
  return html`<figure class=${isLost ? "channel lost" : "channel"}>
    <canvas ref=${canvas} width="640" height="360" role="img" aria-label=${strings.liveOf(channel.name)}></canvas>
    <figcaption>
      <span class="name">${channel.name}</span>
      ${isLost && html`<span class="badge refused" title=${channel.last_error ?? ""}>${strings.channelState(channel.state, channel.last_frame)}</span>`}
      <span class="detail">${faces ?? strings.noPictureYet}</span>
    </figcaption>
  </figure>`;
}
