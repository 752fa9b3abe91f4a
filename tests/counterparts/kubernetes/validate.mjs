// Judges Kubernetes resources by what their projects publish: the OpenAPI schemas of the CRDs (a
// wrong or missing value), and the types generated from them (a field that there is not: an API
// server would drop it silently). Both come from @kubernetes-models.
//
//   node validate.mjs FILE…
//
// Prints `OK KIND NAME` for each resource, or what is wrong with it; exit 1 if anything is.
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

let failed = false;

function fail(message) {
  failed = true;
  console.log(`WRONG ${message}`);
}

function resources(file) {
  return parseAllDocuments(readFileSync(file, "utf8"), { version: "1.1", uniqueKeys: true }).flatMap((document) => {
    document.errors.forEach((error) => fail(`${file}: ${error.message}`));
    const resource = document.toJS();
    return resource === null ? [] : [resource];
  });
}

async function againstSchema(resource, name) {
  const model = (await import(modules[resource.apiVersion]))[resource.kind];
  try {
    new model(resource).validate();
  } catch (error) {
    fail(`${name}: ${error.message}`);
  }
}

// An object literal that is assigned to a type may have no property that the type has not.
function againstTypes(checked) {
  const sources = new Map(
    checked.map(({ resource, name }, index) => [
      path.join(here, `resource-${index}.mts`),
      {
        name,
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
    fail(`${sources.get(diagnostic.file?.fileName)?.name ?? diagnostic.file?.fileName}: ${message}`);
  }
}

const checked = [];
for (const file of process.argv.slice(2)) {
  for (const resource of resources(file)) {
    const name = `${resource.kind} ${resource.metadata?.name}`;
    if (modules[resource.apiVersion] === undefined) {
      fail(`${name}: no schema is known for ${resource.apiVersion}`);
      continue;
    }
    await againstSchema(resource, name);
    checked.push({ resource, name });
  }
}
if (checked.length === 0) {
  fail("nothing to check");
}
againstTypes(checked);
if (!failed) {
  checked.forEach(({ name }) => console.log(`OK ${name}`));
}
process.exit(failed ? 1 : 0);
