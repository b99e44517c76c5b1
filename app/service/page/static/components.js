/** Small parts that several views use. */

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { connected, photoPath, request } from "./api.js";
import { pictures, usePaste, useFileUrl, useSignal } from "./hooks.js";
import { strings } from "./strings.js";

/** What is shown while an answer is awaited, or when there is none. */
export function Waiting({ error, reload }) {
  if (!error) return html`<p class="state" role="status">${strings.loading}</p>`;
  return html`<div class="state" role="alert">
    <p>${error.message}</p>
    <button type="button" onClick=${reload}>${strings.retry}</button>
  </div>`;
}

/** What Today and Events show where no visits are recorded. */
export function NoLog({ title }) {
  return html`<div class="heading"><h1>${title}</h1></div>
    <div class="state"><h2>${strings.noLogTitle}</h2><p>${strings.noLogWhy}</p><p>${strings.noLogHow} <code>--events visits.jsonl</code></p></div>`;
}

/** A photo of the gallery. */
export function Photo({ name, id, alt }) {
  return html`<${ServerPicture} path=${id ? photoPath(name, id) : ""} alt=${alt ?? strings.photoOf(name)} missing=${strings.noPhoto} />`;
}

/**
 * A picture of the server; `missing` is shown where there is no path. It is fetched when it comes into view: an address
 * alone could not carry the token.
 */
export function ServerPicture({ path, alt, missing = strings.noPicture }) {
  const place = useRef(null);
  const [fetched, setFetched] = useState({});
  // A picture of an earlier path is not shown under a new one.
  const blob = fetched.path === path ? fetched.blob : null;
  const url = useFileUrl(blob);
  const [broken, setBroken] = useState("");
  const isConnected = useSignal(connected);
  useEffect(() => {
    if (!path || !isConnected || blob) return undefined;
    const cancel = new AbortController();
    const observer = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      request("GET", path)
        .then((reply) => reply.blob())
        // A photo that cannot be had stays an empty frame; what matters about it is written beside it.
        .then((data) => cancel.signal.aborted || setFetched({ path, blob: data }), () => {});
    }, { rootMargin: "200px" });
    observer.observe(place.current);
    return () => {
      cancel.abort();
      observer.disconnect();
    };
  }, [path, isConnected, blob]);
  return html`<span class="photo" ref=${place}>
    ${url && broken !== url
      ? html`<img src=${url} alt=${alt} onError=${() => setBroken(url)} />`
      : (!path || broken) && html`<span>${missing}</span>`}
  </span>`;
}

/** A form in front of the page. Esc and Cancel close it and change nothing; an error of `submit` is shown in it. */
export function Dialog({ title, action, danger, disabled, submit, close, children }) {
  const dialog = useRef(null);
  const [error, setError] = useState("");
  const [working, setWorking] = useState(false);
  useEffect(() => dialog.current.showModal(), []);
  const onSubmit = async (event) => {
    event.preventDefault();
    setWorking(true);
    setError("");
    try {
      await submit();
      // Gives the focus back to the button that opened it; a view that has changed takes it itself.
      dialog.current?.close();
    } catch (failure) {
      setError(failure.message);
      setWorking(false);
    }
  };
  return html`<dialog ref=${dialog} onClose=${close} aria-labelledby="dialog-title">
    <form onSubmit=${onSubmit}>
      <h2 id="dialog-title">${title}</h2>
      ${children}
      ${error && html`<p class="error" role="alert">${error}</p>`}
      <div class="actions">
        <button type="button" onClick=${() => dialog.current.close()}>${strings.cancel}</button>
        <button type="submit" class=${danger ? "danger" : "primary"} disabled=${disabled || working}>${action}</button>
      </div>
    </form>
  </dialog>`;
}

/** Takes files that are dropped, chosen or pasted. */
export function DropZone({ label, multiple, take }) {
  const [over, setOver] = useState(false);
  const isConnected = useSignal(connected);
  const accept = (files) => {
    setOver(false);
    if (isConnected && files.length) take(multiple ? files : files.slice(0, 1));
  };
  usePaste(accept);
  return html`<label
    class=${over ? "drop over" : "drop"}
    onDragOver=${(event) => {
      event.preventDefault();
      setOver(true);
    }}
    onDragLeave=${() => setOver(false)}
    onDrop=${(event) => {
      event.preventDefault();
      accept(pictures(event.dataTransfer.files));
    }}
  >
    <input
      type="file"
      accept="image/*,.heic,.heif"
      multiple=${multiple}
      onChange=${(event) => {
        accept(pictures(event.target.files));
        event.target.value = "";
      }}
    />
    <span>${label}</span>
  </label>`;
}

/** The picture of a local file, small. Files that the browser cannot show leave the frame empty. */
export function Thumbnail({ file }) {
  const url = useFileUrl(file);
  const [broken, setBroken] = useState(false);
  return html`<span class="photo">${url && !broken && html`<img src=${url} alt="" onError=${() => setBroken(true)} />`}</span>`;
}
