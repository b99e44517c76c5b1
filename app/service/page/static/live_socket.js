/** Live pictures of all channels over one WebSocket, at the pace at which this tab can draw them. */

import { logInNow, refuse, say } from "./api.js";
import { strings } from "./strings.js";

const PAUSES_MS = [500, 1000, 2000, 5000];
const TOKEN_REFUSED = 4401;
const TOO_MANY_VIEWERS = 4503;

/**
 * Calls `show(header, jpeg)` for each picture and waits for it, and `happened(event)` for each event. `wanted()`: width and frames per second by channel.
 * A hidden tab has no connection; a lost one is opened again. Returns {want, close}: to send `wanted()` again, to end.
 */
export function openLive(wanted, show, happened = (_event) => {}) {
  let socket = null;
  let timer = null;
  let failures = 0;

  const want = () => socket?.readyState === WebSocket.OPEN && socket.send(JSON.stringify({ want: wanted() }));

  function open() {
    clearTimeout(timer);
    const opened = new WebSocket(`${location.origin.replace(/^http/, "ws")}/api/v1/live`);
    const then = logInNow();
    socket = opened;
    opened.binaryType = "arraybuffer";
    opened.onopen = want;
    opened.onmessage = async ({ data }) => {
      if (typeof data === "string") {
        happened(JSON.parse(data));
        return;
      }
      failures = 0;
      const size = new DataView(data).getUint32(0);
      const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, size)));
      try {
        await show(header, new Blob([new Uint8Array(data, 4 + size)], { type: "image/jpeg" }));
      } finally {
        if (opened.readyState === WebSocket.OPEN) opened.send(JSON.stringify({ ack: header.id }));
      }
    };
    opened.onclose = ({ code }) => {
      if (socket !== opened) return;
      socket = null;
      if (code === TOO_MANY_VIEWERS && failures === 0) say(strings.tooManyViewers, { failed: true });
      if (code === TOKEN_REFUSED) refuse(then);
      else if (!document.hidden) {
        timer = setTimeout(open, PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)]);
        failures += 1;
      }
    };
  }

  function leave() {
    clearTimeout(timer);
    const opened = socket;
    socket = null;
    opened?.close();
  }

  const seen = () => (document.hidden ? leave() : socket || open());
  document.addEventListener("visibilitychange", seen);
  seen();
  return {
    want,
    close: () => {
      document.removeEventListener("visibilitychange", seen);
      leave();
    },
  };
}
