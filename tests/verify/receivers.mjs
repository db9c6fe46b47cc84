// Reads messages, one JSON object a line, and verifies those for Teams, Discord, CloudEvents, PagerDuty, Opsgenie and
// Standard Webhooks, with packages of npm or with rules from the receivers' documentation.
import assert from "node:assert";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const require = createRequire(`${resolve(process.argv[2])}/`);
// The package of Adaptive Cards is written for browsers.
globalThis.self = globalThis;
const { AdaptiveCard, SerializationContext, Versions } = require("adaptivecards/dist/adaptivecards.js");
const { EmbedBuilder, embedLength } = require("@discordjs/builders");
const { HTTP, CloudEvent } = require("cloudevents");
const Ajv = require("ajv/dist/2020").default;

const ajv = new Ajv({ strict: true, allErrors: true });
const text = (maxLength, minLength = 0) => ({ type: "string", minLength, maxLength });
const url = { type: "string", pattern: "^https?://[!-~]+$" };
const time = { type: "string", pattern: "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z$" };
const object = (properties, required = Object.keys(properties)) =>
  ({ type: "object", properties, required, additionalProperties: false });

// No package of npm or PyPI has PagerDuty's schema. These are the fields of its OpenAPI document
// (PagerDuty/api-schema, reference/events-v2) with the lengths of its guide.
const routing = { routing_key: text(32, 32), dedup_key: text(255, 1) };
const pagerduty = {
  oneOf: [
    object({ ...routing, event_action: { const: "resolve" } }),
    object({
      ...routing,
      event_action: { const: "trigger" },
      client: text(255),
      payload: object({
        summary: text(1024, 1),
        severity: { enum: ["critical", "error", "warning", "info"] },
        source: text(255, 1),
        timestamp: time,
        group: text(255),
        class: text(255),
        custom_details: { type: "object", additionalProperties: { type: "string" } },
      }),
      links: { type: "array", items: object({ href: url, text: text(255) }) },
    }),
  ],
};

// The lengths of Opsgenie's Alert API, which its packages do not check.
const opsgenie = object({
  message: text(130, 1),
  alias: text(512, 1),
  priority: { enum: ["P1", "P2", "P3", "P4", "P5"] },
  source: text(100),
  entity: text(512),
  tags: { type: "array", maxItems: 20, items: text(50) },
  details: { type: "object", additionalProperties: { type: "string" } },
});

const standardWebhooks = object({
  type: { type: "string", pattern: "^[A-Za-z0-9_]+(\\.[A-Za-z0-9_]+)*$" },
  timestamp: time,
  data: { type: "object" },
});

const teams = object({
  type: { const: "message" },
  attachments: {
    type: "array",
    minItems: 1,
    maxItems: 1,
    items: object({ contentType: { const: "application/vnd.microsoft.card.adaptive" }, content: { type: "object" } }),
  },
});

const discord = object({
  allowed_mentions: object({ parse: { type: "array", maxItems: 0 } }),
  embeds: { type: "array", minItems: 1, maxItems: 10 },
});

function follows(schema) {
  const validate = ajv.compile(schema);
  return (body) => assert(validate(body), ajv.errorsText(validate.errors));
}

const [isPagerduty, isOpsgenie, isStandard, isTeams, isDiscord] =
  [pagerduty, opsgenie, standardWebhooks, teams, discord].map(follows);

const verifiers = {
  pagerduty: (body) => isPagerduty(body),
  opsgenie: (body) => {
    isOpsgenie(body);
    const details = Object.entries(body.details).reduce((sum, [name, value]) => sum + name.length + value.length, 0);
    assert(details <= 8000, `the details have ${details} characters`);
  },
  standard_webhooks: (body) => isStandard(body),
  teams: (body) => {
    isTeams(body);
    assert(Buffer.byteLength(JSON.stringify(body)) <= 28 * 1024, "longer than Teams takes");
    const card = new AdaptiveCard();
    const context = new SerializationContext(Versions.v1_4);
    card.parse(body.attachments[0].content, context);
    const found = [...Array(context.eventCount).keys()].map((index) => context.getEventAt(index).message);
    const invalid = card.validateProperties().validationEvents.map((event) => event.message);
    assert.deepEqual([...found, ...invalid], []);
    assert(card.getItemCount() > 1 && (body.attachments[0].content.actions ?? []).length <= 6);
  },
  discord: (body) => {
    isDiscord(body);
    let total = 0;
    for (const embed of body.embeds) {
      const { title, description, url, color, timestamp, footer, fields, ...rest } = embed;
      assert.deepEqual(rest, {}, "a field that the builder does not have");
      const built = new EmbedBuilder();
      built.setTitle(title);
      if (description !== undefined) built.setDescription(description);
      if (url !== undefined) built.setURL(url);
      if (color !== undefined) built.setColor(color);
      if (timestamp !== undefined) built.setTimestamp(new Date(timestamp));
      if (footer !== undefined) built.setFooter(footer);
      if (fields !== undefined) built.setFields(fields);
      total += embedLength(built.toJSON());
    }
    assert(total <= 6000, `the embeds have ${total} characters`);
  },
  cloudevents: (body, { headers }) => {
    assert.equal(headers["content-type"], "application/cloudevents+json; charset=utf-8");
    const message = { headers, body: JSON.stringify(body) };
    assert(HTTP.isEvent(message));
    const event = HTTP.toEvent(message);
    assert(event instanceof CloudEvent && event.validate());
    assert.deepEqual(event.data, body.data);
  },
};

let verified = 0;
for (const line of readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  const message = JSON.parse(line);
  const verify = verifiers[message.receiver];
  if (verify === undefined) continue;
  try {
    verify(message.body, message);
  } catch (error) {
    console.error(`${message.receiver} of ${message.event}: ${error.message}\n${line.slice(0, 3000)}`);
    process.exit(1);
  }
  verified += 1;
}
console.log(verified);
