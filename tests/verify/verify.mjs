// Reads messages, one JSON object a line, and verifies each with the official package of npm.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const require = createRequire(`${resolve(process.argv[2])}/`);
const { Webhook } = require("standardwebhooks");

for (const line of readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  const { secret, body, headers } = JSON.parse(line);
  new Webhook(secret).verify(body, headers);
}
