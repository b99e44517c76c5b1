/** What is shown is asked for again when somebody comes, goes or gets a name. */

import { useEffect, useRef } from "./vendor/htm-preact.js";
import { openLive } from "./live_socket.js";

const COLLECT_MS = 300;

/** Asks again soon after something has happened. Several events of one moment are one question. */
export function useArrivals(reload) {
  const latest = useRef(reload);
  latest.current = reload;
  useEffect(() => {
    let timer = null;
    const socket = openLive(
      () => ({}),
      async () => {},
      (event) => {
        if (!("visit" in event) && event.event !== "relabel") return;
        timer ??= setTimeout(() => {
          timer = null;
          latest.current();
        }, COLLECT_MS);
      },
    );
    return () => {
      clearTimeout(timer);
      socket.close();
    };
  }, []);
}
