// Reads {schema, documents} as JSON, and prints for each document the places of what the schema finds wrong.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const require = createRequire(resolve(process.argv[2], "node_modules", "x.js"));
const Ajv = require("ajv/dist/2020").default;
const { schema, documents } = JSON.parse(readFileSync(0, "utf8"));
const validate = new Ajv({ strict: false, allErrors: true, validateFormats: false, logger: false }).compile(schema);
const results = documents.map((document) => (validate(document) ? [] : validate.errors.map((error) => error.instancePath)));
console.log(JSON.stringify(results));
