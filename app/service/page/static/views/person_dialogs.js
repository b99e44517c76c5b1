/** What changes a person. Renaming and "this is someone else" are two verbs, so that none happens for the other. */

import { html, useState } from "../vendor/htm-preact.js";
import { goTo, personPath, photoPath, request, say, sayChanged } from "../api.js";
import { Dialog, Photo } from "../components.js";
import { useServer } from "../hooks.js";
import { strings } from "../strings.js";

/** Says what has changed, in the view that shows it: the person's, or that of all people. */
async function go(name, text, undo) {
  const hash = name ? `#/people/${encodeURIComponent(name)}` : "#/people";
  await goTo(hash);
  sayChanged(text, undo, { hash });
}

async function change(name, content) {
  return (await request("PATCH", personPath(name), JSON.stringify(content))).json();
}

export function Rename({ name, version, close }) {
  const { data } = useServer("/people");
  const [entered, setEntered] = useState(name);
  const wanted = entered.trim();
  const taken = wanted !== name && data?.people.some((person) => person.name === wanted);
  const submit = async () => {
    const renamed = await change(name, { name: wanted, version });
    await go(renamed.name, strings.renamed(name, renamed.name), renamed.undo);
  };
  return html`<${Dialog}
    title=${strings.renameTitle(name)}
    action=${strings.rename}
    disabled=${!wanted || wanted === name || taken}
    submit=${submit}
    close=${close}
  >
    <p>${strings.renameWhy}</p>
    <label class="field">
      <span>${strings.newName}</span>
      <input maxlength="50" autocomplete="off" value=${entered} onInput=${(event) => setEntered(event.target.value)} />
    </label>
    <p class="warning" role="status">${taken ? strings.nameTaken(wanted) : ""}</p>
  <//>`;
}

export function Merge({ name, version, count, close }) {
  const { data } = useServer("/people");
  const [chosen, setChosen] = useState("");
  const others = (data?.people ?? []).filter((person) => person.name !== name);
  const target = others.find((person) => person.name === chosen);
  const submit = async () => {
    const { undo } = await change(name, { name: chosen, merge: true, version });
    await go(chosen, strings.merged(count, name, chosen), undo);
  };
  return html`<${Dialog}
    title=${strings.mergeTitle(name)}
    action=${strings.mergeDo}
    disabled=${!target}
    submit=${submit}
    close=${close}
  >
    <p>${strings.mergeWhy(name)}</p>
    <label class="field">
      <span>${strings.mergeChoose}</span>
      <select value=${chosen} onChange=${(event) => setChosen(event.target.value)}>
        <option value="">${strings.mergeNone}</option>
        ${others.map((person) => html`<option key=${person.name} value=${person.name}>${person.name}</option>`)}
      </select>
    </label>
    ${target &&
    html`<div class="preview">
      <${Photo} key=${target.name} name=${target.name} id=${target.best_photo} />
      <p>${strings.mergePreview(count, name, target.name)}</p>
    </div>`}
  <//>`;
}

export function RemovePerson({ name, version, count, close }) {
  const submit = async () => {
    const removed = await (await request("DELETE", `${personPath(name)}?version=${version}`)).json();
    await go("", strings.removed(name, removed.photos));
  };
  return html`<${Dialog} title=${strings.removeTitle(name)} action=${strings.remove} danger submit=${submit} close=${close}>
    <p>${strings.removeWhy(count)}</p>
  <//>`;
}

export function RemovePhoto({ name, photo, last, close, done }) {
  const submit = async () => {
    await request("DELETE", photoPath(name, photo.id));
    if (last) return go("", strings.removedPhoto(name));
    say(strings.removedPhoto(name));
    return done();
  };
  return html`<${Dialog} title=${strings.removePhotoTitle} action=${strings.remove} danger submit=${submit} close=${close}>
    <div class="preview">
      <${Photo} name=${name} id=${photo.id} />
      <p>${strings.removePhotoWhy(photo.path)} ${last && strings.removePhotoLast(name)}</p>
    </div>
  <//>`;
}
