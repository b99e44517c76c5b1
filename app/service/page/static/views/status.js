/** How the server and its channels are. */

import { html } from "../vendor/htm-preact.js";
import { Waiting } from "../components.js";
import { useServer } from "../hooks.js";
import { strings } from "../strings.js";

export function Status() {
  const { data, error, reload } = useServer("/channels");
  if (!data) return html`<${Waiting} error=${error} reload=${reload} />`;
  return html`<div class="heading"><h1>${strings.status}</h1></div>`;
}
