/** Asks who a face of a live picture is. */

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { addPhoto, photoPath, postJson, request, sayChanged } from "../api.js";
import { Dialog } from "../components.js";
import { useFileUrl, useServer } from "../hooks.js";
import { explained, strings } from "../strings.js";

const MARGIN = 0.4;
/** Around a face, in parts of its size: no neighbour should be in the picture. */
const JPEG_QUALITY = 0.95;

/** `face.share`: its box in parts of the picture. */
export function WhoIsThis({ channel, face, close }) {
  const people = useServer("/people").data?.people ?? [];
  const path = face.stranger && `/strangers/${encodeURIComponent(face.stranger)}`;
  const stranger = useServer(path ?? "");
  const [entered, setEntered] = useState("");
  const [photo, setPhoto] = useState(null);
  const [error, setError] = useState(null);
  const url = useFileUrl(photo);
  useEffect(() => {
    pictureOf(channel, face.share).then(setPhoto, setError);
  }, []);
  const name = entered.trim();
  const isKnown = people.some((person) => person.name === name);
  const nearest = stranger.data?.stranger.nearest ?? [];
  const submit = async () => {
    if (path) {
      const { version } = stranger.data.stranger;
      const { changed, undo } = await postJson(`${path}/name`, { name, version });
      sayChanged(strings.moved(changed), undo);
      return;
    }
    const outcome = await addPhoto(name, photo);
    if (!outcome.added) throw new Error(explained(outcome.reason, outcome.message).join(""));
    sayChanged(strings.photoAdded(name), () => request("DELETE", photoPath(name, outcome.photo.id)));
  };
  const problem = stranger.error ?? (path ? null : error);
  return html`<${Dialog}
    title=${strings.whoIsThis}
    action=${isKnown ? strings.mergeInto(name) : strings.giveName}
    disabled=${!name || name === face.name || (path ? !stranger.data : !photo)}
    submit=${submit}
    close=${close}
  >
    <div class="preview">
      <span class="photo">${url && html`<img src=${url} alt=${strings.chosenFace} />`}</span>
      <div>
        <p>${face.name ? strings.recognisedAs(face.name, face.sim) : (face.stranger ?? strings.unknown)}</p>
        <p class="hint">${path ? strings.namingStranger : strings.namingFace}</p>
        ${path && html`<p><a href="#${path}">${strings.toStranger(face.stranger)}</a></p>`}
      </div>
    </div>
    <label class="field">
      <span>${face.name ? strings.somebodyElse : strings.name}</span>
      <input
        maxlength="50"
        autocomplete="off"
        autofocus
        list="names-of-people"
        value=${entered}
        onInput=${(event) => setEntered(event.target.value)}
      />
    </label>
    <datalist id="names-of-people">${people.map((person) => html`<option key=${person.name} value=${person.name} />`)}</datalist>
    ${nearest.length > 0 && html`<p class="choices">
      ${nearest.map((near) => html`<button key=${near.name} type="button" aria-pressed=${near.name === name} onClick=${() => setEntered(near.name)}>${near.name}</button>`)}
    </p>`}
    ${problem && html`<p class="error" role="alert">${problem.message}</p>`}
  <//>`;
}

/** The face in the newest picture of a channel, in full size. */
async function pictureOf(channel, [left, top, right, bottom]) {
  const reply = await request("GET", `/channels/${encodeURIComponent(channel)}/snapshot.jpg`);
  const picture = await createImageBitmap(await reply.blob());
  const { width, height } = picture;
  const margin = MARGIN * Math.max((right - left) * width, (bottom - top) * height);
  const x = Math.max(0, Math.floor(left * width - margin));
  const y = Math.max(0, Math.floor(top * height - margin));
  const canvas = document.createElement("canvas");
  canvas.width = Math.min(width, Math.ceil(right * width + margin)) - x;
  canvas.height = Math.min(height, Math.ceil(bottom * height + margin)) - y;
  canvas.getContext("2d").drawImage(picture, -x, -y);
  picture.close();
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", JPEG_QUALITY));
  return new File([blob], `${channel}.jpg`, { type: "image/jpeg" });
}
