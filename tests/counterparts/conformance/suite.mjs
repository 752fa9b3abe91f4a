// Runs MCP's conformance suite against a server: `node suite.mjs CONFIGURATION`.
//
// CONFIGURATION is JSON: `url`; `directory`, an empty one for the results.
//
// Prints one JSON object: for each check of each scenario how it ended, and what was wrong.

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const { url, directory } = JSON.parse(process.argv[2]);
const suite = fileURLToPath(
  new URL('node_modules/@modelcontextprotocol/conformance/dist/index.js', import.meta.url),
);
const run = spawnSync(
  process.execPath,
  [suite, 'server', '--url', url, '--suite', 'all', '--output-dir', directory],
  { encoding: 'utf8', timeout: 95_000 },
);
if (run.error) {
  throw run.error;
}
const outcomes = {};
for (const entry of readdirSync(directory).sort()) {
  // "server-<scenario>-<time>"
  const scenario = entry.replace(/^server-/, '').replace(/-\d{4}-\d\d-\d\dT.*$/, '');
  for (const check of JSON.parse(readFileSync(join(directory, entry, 'checks.json'), 'utf8'))) {
    const key = `${scenario}/${check.id}`;
    outcomes[key] = [...(outcomes[key] ?? []), [check.status, check.errorMessage ?? null]];
  }
}
if (Object.keys(outcomes).length === 0) {
  console.error(run.stdout, run.stderr);
  process.exit(1);
}
console.log(JSON.stringify(outcomes));
