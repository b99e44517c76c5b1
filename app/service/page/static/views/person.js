/** One person: photos, and what can be done with the person. */

import { html, useState } from "../vendor/htm-preact.js";
import { Photo, Waiting } from "../components.js";
import { useServer } from "../hooks.js";
import { personPath } from "../api.js";
import { explained, strings } from "../strings.js";
import { Upload } from "../upload.js";
import { Merge, RemovePerson, RemovePhoto, Rename } from "./person_dialogs.js";

export function Person({ name }) {
  const { data, error, reload } = useServer(personPath(name));
  const [open, setOpen] = useState(null);
  const close = () => setOpen(null);
  const back = html`<a class="back" href="#/people">‹ ${strings.back}</a>`;
  if (error?.status === 404) return html`${back}<p class="state">${strings.notThere(name)}</p>`;
  if (!data) return html`${back}<${Waiting} error=${error} reload=${reload} />`;
  const { photos } = data;
  const unused = photos.filter((photo) => !photo.used).length;
  return html`
    ${back}
    <div class="heading">
      <h1>${data.name}</h1>
      <span class="count">
        ${strings.photoCount(photos.length)}${unused > 0 && html`, <span class="warning">${strings.notUsed(unused)}</span>`}
      </span>
      <div class="actions">
        <button type="button" onClick=${() => setOpen("rename")}>${strings.rename}</button>
        <button type="button" onClick=${() => setOpen("merge")}>${strings.merge}</button>
        <button type="button" class="danger" onClick=${() => setOpen("remove")}>${strings.remove}</button>
      </div>
    </div>
    <ul class="grid photos">
      ${photos.map((photo) => html`<li key=${photo.id}>
        <${PhotoCard} person=${data.name} photo=${photo} remove=${() => setOpen(photo)} />
      </li>`)}
    </ul>
    <section class="panel" aria-labelledby="add-title">
      <h2 id="add-title">${strings.morePhotos}</h2>
      <${Upload} name=${() => data.name} done=${(person, added) => added && reload()} />
    </section>
    ${open === "rename" && html`<${Rename} name=${data.name} version=${data.version} close=${close} />`}
    ${open === "merge" && html`<${Merge} name=${data.name} version=${data.version} count=${photos.length} close=${close} />`}
    ${open === "remove" && html`<${RemovePerson} name=${data.name} version=${data.version} count=${photos.length} close=${close} />`}
    ${open?.id &&
    html`<${RemovePhoto} name=${data.name} photo=${open} last=${photos.length === 1} close=${close} done=${reload} />`}
  `;
}

function PhotoCard({ person, photo, remove }) {
  const [reason, details] = explained(photo.reason, photo.why, photo.message);
  return html`<div class="card">
    <${Photo} name=${person} id=${photo.id} />
    <span class="badges">
      <span class="badge ${photo.used ? "added" : "refused"}" title=${photo.used ? strings.usedTitle : strings.unusedTitle}>
        ${photo.used ? strings.used : strings.unused}
      </span>
      ${photo.face_px > 0 && html`<span class="badge">${strings.facePx(photo.face_px)}</span>`}
    </span>
    ${photo.reason !== "used" && html`<p class=${photo.used ? "hint" : "warning"}><strong>${reason}</strong>${details}</p>`}
    ${photo.reason === "used" && photo.message && html`<p class="hint">${photo.message}</p>`}
    <span class="foot">
      <span class="detail" title=${photo.path}>${photo.path.split("/").pop()}</span>
      <button type="button" class="quiet" onClick=${remove} aria-label="${strings.remove} ${photo.path}">
        ${strings.remove}
      </button>
    </span>
  </div>`;
}
