/** The API in words, from /openapi.json. */

import { html, render, useEffect, useState } from "./vendor/htm-preact.js";
import { byTag, curl, typeOf } from "./openapi.js";
import { strings } from "./strings.js";

const UNAUTHORIZED = 401;

function Docs() {
  const [state, setState] = useState({});
  useEffect(() => {
    fetch("/openapi.json", { cache: "no-store" })
      .then(async (reply) => setState(reply.ok ? { api: await reply.json() } : { status: reply.status }))
      .catch(() => setState({ status: 0 }));
  }, []);
  const { api, status } = state;
  if (status === UNAUTHORIZED) return html`<main class="state"><h1>${strings.api}</h1><p>${strings.apiLogIn} <a href="/">${strings.logIn}</a></p></main>`;
  if (status !== undefined) return html`<main class="state" role="alert"><h1>${strings.api}</h1><p>${status ? strings.failed(status) : strings.apiLost}</p></main>`;
  if (!api) return html`<main><p class="state" role="status">${strings.loading}</p></main>`;
  const tags = byTag(api);
  const schemas = Object.entries(api.components.schemas);
  return html`<main>
    <div class="heading"><h1>${strings.api}</h1><span class="count">${api.info.version}</span><div class="actions"><a href="/">${strings.toPage}</a></div></div>
    <p>${strings.apiWhy} <a href="/openapi.json">/openapi.json</a></p>
    <div class="api">
      <nav aria-label=${strings.api}>${[...tags.map(([tag]) => tag), "schemas"].map((tag) => html`<a href="#${tag}">${tag}</a>`)}</nav>
      <div>
        ${tags.map(([tag, operations]) => html`<section id=${tag}><h2>${tag}</h2>${operations.map((one) => html`<${Operation} ...${one} />`)}</section>`)}
        <section id="schemas"><h2>${strings.schemas}</h2>${schemas.map(([name, schema]) => html`<${Schema} name=${name} schema=${schema} />`)}</section>
      </div>
    </div>
  </main>`;
}

function Operation({ method, path, operation }) {
  const scope = operation.security[0]?.token[0];
  const bodies = Object.entries(operation.requestBody?.content ?? {});
  const replies = Object.entries(operation.responses).filter(([status]) => status < "400");
  const refused = Object.keys(operation.responses).filter((status) => status >= "400");
  return html`<details class="operation">
    <summary>
      <span class="method ${method}">${method.toUpperCase()}</span><code>${path}</code>
      <span class="detail">${operation.summary}</span><span class="badge scope">${scope ?? strings.noToken}</span>
    </summary>
    <div class="body">
      ${operation.parameters && html`<h3>${strings.parameters}</h3><ul class="fields">
        ${operation.parameters.map((one) => html`<li><code>${one.name}</code><span>${one.schema.type}, ${strings.parameterIn[one.in]}</span></li>`)}
      </ul>`}
      ${bodies.length > 0 && html`<h3>${strings.requestBody}</h3><ul class="fields">
        ${bodies.map(([kind, { schema }]) => html`<li><code>${kind}</code><span><${Type} schema=${schema} /></span></li>`)}
      </ul>`}
      <h3>${strings.replyBody}</h3><ul class="fields">
        ${replies.flatMap(([status, { content = {} }]) => Object.entries(content).map(([kind, { schema }]) => html`<li><code>${status} ${kind}</code><span><${Type} schema=${schema} /></span></li>`))}
        ${refused.length > 0 && html`<li><code>${refused.join(", ")}</code><span><a href="#schema-Failure">Failure</a></span></li>`}
      </ul>
      <h3>${strings.example}</h3>
      <pre tabindex="0">${curl(location.origin, method, path, operation)}</pre>
    </div>
  </details>`;
}

function Schema({ name, schema }) {
  return html`<div class="schema" id="schema-${name}">
    <h3>${name}</h3>
    ${schema.description && html`<p>${schema.description}</p>`}
    <ul class="fields">${Object.entries(schema.properties ?? {}).map(([field, type]) => html`<li><code>${field}</code><span><${Type} schema=${type} /></span></li>`)}</ul>
  </div>`;
}

/** A type in words, with a link to each schema in it. */
function Type({ schema }) {
  return typeOf(schema).map((part) => (part.schema ? html`<a href="#schema-${part.schema}">${part.schema}</a>` : part.text));
}

render(html`<${Docs} />`, document.getElementById("app"));
