// Judges Kubernetes resources by what their projects publish: the OpenAPI schemas of the CRDs (a
// wrong or missing value), and the types generated from them (a field that there is not: an API
// server would drop it silently). Both come from @kubernetes-models.
//
//   node validate.mjs FILE…
//
// Prints a JSON list with an entry for each file, in their order: what is `found` in it (`KIND NAME`), and
// what is `wrong` with that. All files at once, since reading the schemas and types takes the time.
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { parseAllDocuments } from "yaml";

const here = path.dirname(fileURLToPath(import.meta.url));

const modules = {
  "gateway.envoyproxy.io/v1alpha1": "@kubernetes-models/envoy-gateway/gateway.envoyproxy.io/v1alpha1",
  "gateway.networking.k8s.io/v1": "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1",
  "networking.istio.io/v1alpha3": "@kubernetes-models/istio/networking.istio.io/v1alpha3",
  "networking.istio.io/v1": "@kubernetes-models/istio/networking.istio.io/v1",
  "security.istio.io/v1": "@kubernetes-models/istio/security.istio.io/v1",
};

// Of one file.
class Verdict {
  found = [];
  wrong = [];
}

function resources(file, verdict) {
  return parseAllDocuments(readFileSync(file, "utf8"), { version: "1.1", uniqueKeys: true }).flatMap((document) => {
    verdict.wrong.push(...document.errors.map((error) => error.message));
    const resource = document.toJS();
    return resource === null ? [] : [resource];
  });
}

async function againstSchema({ resource, name, verdict }) {
  const model = (await import(modules[resource.apiVersion]))[resource.kind];
  try {
    new model(resource).validate();
  } catch (error) {
    verdict.wrong.push(`${name}: ${error.message}`);
  }
}

// An object literal that is assigned to a type may have no property that the type has not.
function againstTypes(checked) {
  const sources = new Map(
    checked.map(({ resource, name, verdict }, index) => [
      path.join(here, `resource-${index}.mts`),
      {
        name,
        verdict,
        text: `import type { I${resource.kind} } from ${JSON.stringify(modules[resource.apiVersion])};
const resource: I${resource.kind} = ${JSON.stringify(resource, null, 2)};
export default resource;
`,
      },
    ]),
  );
  const options = {
    noEmit: true,
    strict: true,
    skipLibCheck: true,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    types: [],
  };
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (file) => sources.has(file) || fileExists(file);
  host.readFile = (file) => sources.get(file)?.text ?? readFile(file);
  host.getSourceFile = (file, version) =>
    sources.has(file)
      ? ts.createSourceFile(file, sources.get(file).text, version)
      : getSourceFile(file, version);
  const program = ts.createProgram([...sources.keys()], options, host);
  for (const diagnostic of ts.getPreEmitDiagnostics(program)) {
    const message = ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n");
    const source = sources.get(diagnostic.file?.fileName);
    if (source === undefined) {
      throw new Error(`${diagnostic.file?.fileName}: ${message}`);
    }
    source.verdict.wrong.push(`${source.name}: ${message}`);
  }
}

const verdicts = [];
const checked = [];
for (const file of process.argv.slice(2)) {
  const verdict = new Verdict();
  verdicts.push(verdict);
  for (const resource of resources(file, verdict)) {
    const name = `${resource.kind} ${resource.metadata?.name}`;
    verdict.found.push(name);
    if (modules[resource.apiVersion] === undefined) {
      verdict.wrong.push(`${name}: no schema is known for ${resource.apiVersion}`);
      continue;
    }
    checked.push({ resource, name, verdict });
  }
  if (verdict.found.length === 0) {
    verdict.wrong.push("nothing to check");
  }
}
for (const one of checked) {
  await againstSchema(one);
}
againstTypes(checked);
console.log(JSON.stringify(verdicts));
