/** Hooks that connect signals and requests to components. */

import { useEffect, useState } from "./vendor/htm-preact.js";
import { changes, connected, getJson, tokenNeeded } from "./api.js";

/** The value of a signal; the component is drawn again when it changes. */
export function useSignal(source) {
  const [, redraw] = useState(0);
  useEffect(() => source.subscribe(() => redraw((count) => count + 1)), [source]);
  return source.value;
}

/**
 * What the server answers to a path: `{data, error, reload}`; nothing is asked for an empty path. Asked again when a lost server is back, when the token has
 * changed, and every `refresh_ms`.
 */
export function useServer(path, refresh_ms) {
  const [state, setState] = useState({ path });
  const [round, setRound] = useState(0);
  const mayAsk = [useSignal(connected), useSignal(tokenNeeded) === ""].every(Boolean);
  const made = useSignal(changes);
  useEffect(() => {
    if (!refresh_ms) return undefined;
    const timer = setInterval(() => document.hidden || setRound((count) => count + 1), refresh_ms);
    return () => clearInterval(timer);
  }, [refresh_ms]);
  useEffect(() => {
    let current = true;
    if (mayAsk && path) {
      getJson(path).then(
        (data) => current && setState({ path, data }),
        (error) => current && setState((before) => ({ ...(before.path === path ? before : { path }), error })),
      );
    }
    return () => {
      current = false;
    };
  }, [path, round, mayAsk, made]);
  // What an earlier path answered is not shown under a new one.
  const { data, error } = state.path === path ? state : {};
  return { data, error, reload: () => setRound((count) => count + 1) };
}

/** Calls `keys[key]()` when a key is pressed alone, unless something is being entered or a dialog is open. */
export function useShortcuts(keys) {
  useEffect(() => {
    const press = (event) => {
      const isEntering = event.target.closest?.("input, select, textarea, dialog") || document.querySelector("dialog[open]");
      if (isEntering || event.ctrlKey || event.metaKey || event.altKey || !connected.value) return;
      const act = Object.hasOwn(keys, event.key) && keys[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  });
}

/** Calls `take(files)` with pictures that are pasted anywhere on the page. */
export function usePaste(take) {
  useEffect(() => {
    const paste = (event) => {
      const files = pictures(event.clipboardData?.files);
      if (files.length) {
        event.preventDefault();
        take(files);
      }
    };
    document.addEventListener("paste", paste);
    return () => document.removeEventListener("paste", paste);
  });
}

/** The URL of a local file, for as long as a component shows it. */
export function useFileUrl(file) {
  const [url, setUrl] = useState(null);
  useEffect(() => {
    if (!file) return undefined;
    const made = URL.createObjectURL(file);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [file]);
  return url;
}

export const pictures = (files) => [...(files ?? [])];
