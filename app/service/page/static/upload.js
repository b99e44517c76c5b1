/** Adding photos of a person: each file gets its answer as soon as the server has it. */

import { html, useState } from "./vendor/htm-preact.js";
import { addPhoto, connected, reconnected, say } from "./api.js";
import { DropZone, Thumbnail } from "./components.js";
import { explained, strings } from "./strings.js";

/** `name()` is asked when files come; without an answer they are not taken. `done(name)` after the last file. */
export function Upload({ name, done }) {
  const [rows, setRows] = useState([]);

  const take = async (files) => {
    const person = name();
    if (!person) return;
    const added = files.map((file) => ({ file, state: "waiting" }));
    // Earlier files stay until the person is left: their reasons may still be wanted.
    setRows((before) => [...added, ...before]);
    const show = (row, answer) => {
      Object.assign(row, answer);
      setRows((before) => [...before]);
    };
    for (const row of added) {
      while (row.state === "waiting") {
        show(row, { state: "checking" });
        try {
          const outcome = await addPhoto(person, row.file);
          // The server may have been lost after it had added the photo, and before it said so.
          const isThere = outcome.added || (row.repeated && outcome.reason === "already_enrolled");
          show(row, { state: isThere ? "added" : "refused", outcome });
        } catch (error) {
          const lost = !connected.value;
          show(row, { state: lost ? "waiting" : "refused", outcome: lost ? null : failure(error), repeated: lost });
          if (lost) await reconnected();
        }
      }
    }
    const count = added.filter((row) => row.state === "added").length;
    say(strings.outcome(person, count, added.length - count), { failed: count === 0 });
    done(person, count);
  };

  return html`
    <${DropZone} label=${strings.drop} multiple take=${take} />
    <ul class="outcomes">
      ${rows.map((row) => html`<${Outcome} key=${row} ...${row} />`)}
    </ul>
  `;
}

const failure = (error) => ({ reason: "failed", message: error.message, warnings: [] });

function Outcome({ file, state, outcome }) {
  const path = state === "refused" && outcome?.photo?.path;
  const [reason, details] = outcome ? explained(outcome.reason, outcome.message) : [];
  return html`<li class=${state}>
    <${Thumbnail} file=${file} />
    <div>
      <span class="filename">${file.name}</span>
      <span class="badge ${state}">${strings[state]}</span>
      ${outcome &&
      html`
        ${outcome.reason !== "used" && html`<p><strong>${reason}</strong>${details}${path && ` (${path})`}</p>`}
        ${outcome.warnings.map((warning) => html`<p class="warning">${warning}</p>`)}
      `}
    </div>
  </li>`;
}
