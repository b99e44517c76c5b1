/** Pure logic of the page: `node --test tests/service/page`. */

import assert from "node:assert/strict";
import test from "node:test";

import { byDay, dayAfter, dayOf } from "../../../app/service/page/static/dates.js";
import { byTag, curl, typeOf } from "../../../app/service/page/static/openapi.js";
import { explained, strings } from "../../../app/service/page/static/strings.js";

process.env.TZ = "Europe/Berlin";

test("days follow each other also when the clock changes", () => {
  assert.equal(dayAfter("2026-10-25"), "2026-10-26");
  assert.equal(dayAfter("2026-03-29"), "2026-03-30");
  assert.equal(dayAfter("2026-12-31"), "2027-01-01");
  assert.equal(dayOf("2026-11-29T23:30:00Z"), "2026-11-30");
});

test("visits are grouped by the days of this machine, in their order", () => {
  const [late, early, before] = ["2026-11-29T23:30:00Z", "2026-11-29T23:10:00Z", "2026-11-29T12:00:00Z"].map((time) => ({ time }));
  assert.deepEqual(byDay([late, early, before]), [["2026-11-30", [late, early]], ["2026-11-29", [before]]]);
});

test("types and requests of the API are written out", () => {
  const operation = {
    tags: ["people"],
    security: [{ token: ["enrol"] }],
    requestBody: { content: { "multipart/form-data": { schema: { properties: { photos: {} } } } } },
  };
  const path = "/api/v1/people/{name}/photos";
  assert.deepEqual(byTag({ paths: { [path]: { post: operation } } }), [["people", [{ method: "post", path, operation }]]]);
  assert.equal(
    curl("http://host", "post", path, operation),
    "curl -s -H \"Authorization: Bearer $TOKEN\" -F photos=@photo.jpg 'http://host/api/v1/people/NAME/photos'",
  );
  assert.deepEqual(typeOf({ anyOf: [{ type: "array", items: { $ref: "#/components/schemas/Photo" } }, { type: "null" }] }), [
    { text: "list of " }, { schema: "Photo" }, { text: " or " }, { text: "null" },
  ]);
});

test("a reason is said in words, with its numbers", () => {
  assert.deepEqual(explained("too_small", "too_small 31<40 px"), [strings.reasons.too_small, " 31 < 40 px"]);
  assert.match(strings.eventsOver(1, false), /^1 visit$/);
});
