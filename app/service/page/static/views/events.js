/** Who was where, from the event log. */

import { html } from "../vendor/htm-preact.js";
import { Waiting } from "../components.js";
import { useServer } from "../hooks.js";
import { strings } from "../strings.js";

export function Events() {
  const { data, error, reload } = useServer("/visits");
  if (!data) return html`<${Waiting} error=${error} reload=${reload} />`;
  return html`<div class="heading"><h1>${strings.events}</h1></div>`;
}
