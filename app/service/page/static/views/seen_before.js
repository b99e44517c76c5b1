/** Whether the face in a photo was seen before. */

import { html, useState } from "../vendor/htm-preact.js";
import { request } from "../api.js";
import { DropZone, ServerPicture } from "../components.js";
import { strings } from "../strings.js";

export const path = (stranger) => `/strangers/${encodeURIComponent(stranger)}`;
export const picturePath = (stranger, picture) => `${path(stranger)}/pictures/${encodeURIComponent(picture)}`;

export function Search() {
  const [found, setFound] = useState(null);
  const take = async ([photo]) => {
    const form = new FormData();
    form.append("image", photo, photo.name);
    setFound({ looking: true });
    setFound(await request("POST", "/strangers/search", form).then((reply) => reply.json(), (error) => ({ error })));
  };
  return html`<section class="panel" aria-labelledby="search-title">
    <h2 id="search-title">${strings.seenBefore}</h2>
    <${DropZone} label=${strings.seenBeforeDrop} take=${take} />
    <div role="status" class="found">
      ${found?.looking && html`<p>${strings.looking}</p>`}
      ${found?.error && html`<p class="error">${found.error.message}</p>`}
      ${found?.visits && html`<p class="summary">${strings.seenTimes(found.visits.length, found.compared)}</p>`}
    </div>
    <ul class="grid">
      ${(found?.visits ?? []).map(({ name, stranger, visit, similarity }) => html`<li key=${`${visit.channel} ${visit.first_seen}`}>
        <a class="card" href=${name ? `#/people/${encodeURIComponent(name)}` : `#/strangers/${stranger}`}>
          <${ServerPicture} path=${stranger && visit.picture ? picturePath(stranger, visit.picture) : ""} alt="" missing=${strings.noPicture} />
          <span class="name">${name ?? stranger ?? strings.unknown}</span>
          <span class="detail">${visit.channel}, ${strings.moment(visit.first_seen)}, ${similarity.toFixed(2)}</span>
        </a>
      </li>`)}
    </ul>
  </section>`;
}
