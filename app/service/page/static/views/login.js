/** Asks for a token. The view that needed it comes back afterwards, since the address stays. */

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { logIn, tokenNeeded } from "../api.js";
import { strings } from "../strings.js";

export function Login() {
  const [had] = useState(tokenNeeded.value === "again");
  const field = useRef(null);
  const [secret, setSecret] = useState("");
  const [error, setError] = useState("");
  useEffect(() => field.current.focus(), []);
  const submit = async (event) => {
    event.preventDefault();
    setError("");
    try {
      await logIn({ token: secret.trim() });
    } catch (failure) {
      setError(failure.status === 401 ? strings.wrongToken : failure.message);
    }
  };
  return html`<form class="panel login" onSubmit=${submit}>
    <h1>${strings.logInTitle}</h1>
    <p>${had ? strings.logInAgain : strings.logInWhy}</p>
    <label class="field">
      <span>${strings.token}</span>
      <input
        type="password"
        autocomplete="off"
        ref=${field}
        required
        value=${secret}
        aria-invalid=${error !== ""}
        aria-describedby="log-in-error"
        onInput=${(event) => setSecret(event.target.value)}
      />
    </label>
    <p id="log-in-error" class="error" role="alert">${error}</p>
    <div class="actions"><button type="submit" class="primary">${strings.logIn}</button></div>
    <p class="hint">${strings.logInHow} <code>python -m app tokens add NAME --scope enrol</code></p>
  </form>`;
}
