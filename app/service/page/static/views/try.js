/** Who is in a picture, and why: the same answer that programs get from /api/v1/identify. */

import { html, useRef, useState } from "../vendor/htm-preact.js";
import { request } from "../api.js";
import { DropZone, Photo } from "../components.js";
import { useFileUrl } from "../hooks.js";
import { explained, strings } from "../strings.js";

export function Try() {
  const [file, setFile] = useState(null);
  const [answer, setAnswer] = useState({});
  const [active, setActive] = useState(null);
  const latest = useRef(null);

  const take = async ([picture]) => {
    latest.current = picture;
    setFile(picture);
    setAnswer({});
    setActive(null);
    const form = new FormData();
    form.append("image", picture, picture.name);
    const found = await request("POST", "/identify", form)
      .then((reply) => reply.json())
      .then(({ faces }) => ({ faces }), (error) => ({ error }));
    // An earlier picture may be answered after a later one was chosen.
    if (latest.current === picture) setAnswer(found);
  };

  const { faces, error } = answer;
  return html`
    <div class="heading"><h1>${strings.tryPicture}</h1></div>
    <p>${strings.tryWhy}</p>
    <${DropZone} label=${strings.dropOne} take=${take} />
    ${file &&
    html`<div class="tried">
      <${Picture} key=${file} file=${file} faces=${faces ?? []} active=${active} setActive=${setActive} />
      <div>
        ${error && html`<p class="error" role="alert">${error.message}</p>`}
        <p role="status" class="summary">
          ${!error && (!faces ? strings.looking : faces.length ? strings.faces(faces.length) : strings.noFace)}
        </p>
        <ol class="faces">
          ${(faces ?? []).map((face, row) => html`<${Face} key=${row} row=${row} face=${face} active=${active === row} setActive=${setActive} />`)}
        </ol>
        ${faces && html`<details><summary>${strings.asJson}</summary><pre tabindex="0">${JSON.stringify({ faces }, null, 2)}</pre></details>`}
      </div>
    </div>`}
  `;
}

function Picture({ file, faces, active, setActive }) {
  const url = useFileUrl(file);
  const [size, setSize] = useState(null);
  const [broken, setBroken] = useState(false);
  if (broken) return html`<p class="hint">${strings.noPreview}</p>`;
  const share = (pixels, whole) => `${(100 * pixels) / whole}%`;
  return html`<div class="picture">
    ${url &&
    html`<img
      src=${url}
      alt=${strings.picture}
      onLoad=${({ target }) => setSize({ width: target.naturalWidth, height: target.naturalHeight })}
      onError=${() => setBroken(true)}
    />`}
    ${size &&
    faces.map(({ box, name }, row) => html`<span
      key=${row}
      class="box ${name ? "known" : "unknown"} ${active === row ? "active" : ""}"
      onMouseEnter=${() => setActive(row)}
      onMouseLeave=${() => setActive(null)}
      style=${{
        left: share(box.x_min, size.width),
        top: share(box.y_min, size.height),
        width: share(box.x_max - box.x_min, size.width),
        height: share(box.y_max - box.y_min, size.height),
      }}
    >
      <span>${name ?? row + 1}</span>
    </span>`)}
  </div>`;
}

function Face({ row, face, active, setActive }) {
  const heading = face.name ?? `${strings.face(row + 1)}: ${strings.unknown}`;
  const [reason, numbers] = explained(face.reason, face.why);
  return html`<li
    class=${active ? "active" : ""}
    onMouseEnter=${() => setActive(row)}
    onMouseLeave=${() => setActive(null)}
  >
    <h2>${heading}</h2>
    <p>
      ${reason}${numbers}${face.confidence !== null && face.name ? `, ${strings.confidence(face.confidence)}` : ""}
    </p>
    ${face.nearest.length > 0 &&
    html`<h3>${strings.nearest}</h3>
      <ul class="nearest">
        ${face.nearest.map((near) => html`<li key=${near.name}>
          <a href="#/people/${encodeURIComponent(near.name)}">
            <${Photo} name=${near.name} id=${near.photo} alt="" />
            <span>${near.name}</span>
            <meter min="0" max="1" value=${Math.max(0, near.similarity)} aria-label="${near.name}"></meter>
            <span class="number">${near.similarity.toFixed(2)}</span>
          </a>
        </li>`)}
      </ul>`}
  </li>`;
}
