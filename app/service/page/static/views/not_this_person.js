/** A visit was not the person that was recognised: whose is it? */

import { html, useState } from "../vendor/htm-preact.js";
import { postJson, sayChanged } from "../api.js";
import { Dialog } from "../components.js";
import { useServer } from "../hooks.js";
import { strings } from "../strings.js";
import { VisitPicture, who } from "./visit_picture.js";

/** `visits` are those of one person or stranger; one of them is chosen if there are several. */
export function NotThisPerson({ visits, close }) {
  const people = useServer("/people").data?.people ?? [];
  const strangers = useServer("/strangers").data?.strangers ?? [];
  const [chosen, setChosen] = useState(visits.length === 1 ? visits[0].visit : 0);
  const [target, setTarget] = useState("");
  const visit = visits.find((one) => one.visit === chosen);
  const before = visits[0].name ?? visits[0].stranger;
  const submit = async () => {
    const [kind, name] = [target.slice(0, 1), target.slice(1)];
    const whose = kind === "p" ? { name } : kind === "s" ? { stranger: name } : {};
    const { changed, undo, face_kept } = await postJson(`/visits/${visit.visit}/person`, { ...whose, version: visit.version });
    sayChanged(`${strings.moved(changed)}${face_kept || !changed.length ? "" : ` ${strings.faceNotKept}`}`, undo);
  };
  const option = (value, label) => html`<option key=${value} value=${value} selected=${target === value}>${label}</option>`;
  return html`<${Dialog}
    title=${before ? strings.notThisPerson(before) : strings.whoIsThis}
    action=${strings.reassign}
    disabled=${!visit || (!before && !target)}
    submit=${submit}
    close=${close}
  >
    <p>${strings.reassignWhy}</p>
    ${visits.length > 1 && html`<fieldset class="choice">
      <legend>${strings.whichVisit}</legend>
      ${visits.map((one) => html`<label key=${one.visit}>
        <input type="radio" name="visit" value=${one.visit} checked=${one.visit === chosen} onChange=${() => setChosen(one.visit)} />
        <${VisitPicture} visit=${one} />
        <span>${strings.visitAt(one)}</span>
      </label>`)}
    </fieldset>`}
    ${visits.length === 1 && html`<div class="preview"><${VisitPicture} visit=${visits[0]} /><p>${strings.visitAt(visits[0])}</p></div>`}
    <label class="field">
      <span>${strings.itIs}</span>
      <select onChange=${(event) => setTarget(event.target.value)}>
        ${option("", before ? strings.noOneKnown : strings.mergeNone)}
        ${people.map(({ name }) => name !== who(visits[0]) && option(`p${name}`, name))}
        ${strangers.map(({ stranger }) => stranger !== who(visits[0]) && option(`s${stranger}`, stranger))}
      </select>
    </label>
  <//>`;
}
