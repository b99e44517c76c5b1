/** Whose a visit is, and its best picture. */

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { request } from "../api.js";
import { useFileUrl } from "../hooks.js";
import { strings } from "../strings.js";

export const who = ({ name, stranger }) => name ?? stranger ?? strings.unknown;

/** The best picture of a visit, if there is one yet. */
export function VisitPicture({ visit }) {
  const [blob, setBlob] = useState(null);
  const url = useFileUrl(blob);
  useEffect(() => {
    let current = true;
    if (visit.picture) {
      request("GET", `/visits/${visit.visit}/picture.jpg`)
        .then((reply) => reply.blob())
        // A picture that was deleted meanwhile stays an empty frame.
        .then((data) => current && setBlob(data), () => {});
    }
    return () => {
      current = false;
    };
  }, [visit.visit, visit.picture]);
  return html`<span class="photo">${url ? html`<img src=${url} alt=${strings.pictureOfVisit(who(visit))} />` : html`<span>${visit.ended ? strings.noVisitPicture : strings.pictureLater}</span>`}</span>`;
}
