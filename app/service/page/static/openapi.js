/** What the page of the API takes from an OpenAPI document. Pure, so that it is tested without a browser. */

const METHODS = ["get", "post", "put", "patch", "delete"];

/** `[[tag, [{method, path, operation}, ...]], ...]`, in the order of the document. */
export function byTag({ paths }) {
  const tags = new Map();
  for (const [path, operations] of Object.entries(paths)) {
    for (const method of METHODS.filter((known) => known in operations)) {
      const operation = operations[method];
      const [tag] = operation.tags;
      tags.set(tag, [...(tags.get(tag) ?? []), { method, path, operation }]);
    }
  }
  return [...tags];
}

/** A schema as parts: `{text: "list of "}, {schema: "Photo"}`. */
export function typeOf(schema) {
  if (schema.$ref) return [{ schema: schema.$ref.split("/").pop() }];
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.flatMap((one, row) => (row ? [{ text: " or " }, ...typeOf(one)] : typeOf(one)));
  if (schema.type === "array") return [{ text: "list of " }, ...typeOf(schema.items ?? {})];
  if (schema.format === "binary") return [{ text: "file" }];
  if (schema.type === "object" && schema.properties) {
    return Object.entries(schema.properties).flatMap(([name, one], row) => [{ text: `${row ? ", " : ""}${name}: ` }, ...typeOf(one)]);
  }
  if (schema.enum) return [{ text: schema.enum.map((value) => JSON.stringify(value)).join(" or ") }];
  return [{ text: schema.type ?? "anything" }];
}

/** A request to try. What is in capitals is to be replaced. */
export function curl(origin, method, path, operation) {
  const content = operation.requestBody?.content ?? {};
  const files = Object.keys(content["multipart/form-data"]?.schema.properties ?? {});
  return [
    "curl -s",
    ...(method === "get" || method === "post" ? [] : [`-X ${method.toUpperCase()}`]),
    ...(method === "post" && !operation.requestBody ? ["-X POST"] : []),
    ...(operation.security.length ? ['-H "Authorization: Bearer $TOKEN"'] : []),
    ...files.map((name) => `-F ${name}=@photo.jpg`),
    ...("application/json" in content ? ["-d '{…}'"] : []),
    `'${origin}${path.replace(/{(\w+)}/g, (whole, name) => name.toUpperCase())}'`,
  ].join(" ");
}
