// Checks dashboards with Grafana's own packages: the JSON against the types of @grafana/schema, by the TypeScript
// compiler, and every TraceQL query with the grammar of Grafana's query editor. Usage: node check.mjs FOLDER
//
// Prints one line for every fault; the exit status is 1 where there is one.
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

// The package's ES module names its neighbour without a file ending, which only bundlers take.
const { parser } = createRequire(import.meta.url)("@grafana/lezer-traceql");
const here = dirname(fileURLToPath(import.meta.url));
const faults = [];
let queries = 0;

export function traceqlFaults(query) {
  const found = [];
  parser.parse(query).iterate({
    enter: (node) => {
      if (node.type.isError) found.push(`TraceQL, character ${node.from + 1}: ${query}`);
    },
  });
  return found;
}

const folder = process.argv[2];
const names = readdirSync(folder).filter((name) => name.endsWith(".json"));
const sources = new Map();
for (const name of names) {
  const text = readFileSync(join(folder, name), "utf-8");
  sources.set(
    join(here, `${name}.ts`),
    `import type { Dashboard } from "@grafana/schema";\nexport const dashboard: Dashboard = ${text};\n`,
  );
  for (const panel of JSON.parse(text).panels) {
    for (const target of panel.targets) {
      if (target.queryType === "traceql") {
        queries += 1;
        faults.push(...traceqlFaults(target.query).map((fault) => `${name}: ${fault}`));
      }
    }
  }
}

const options = {
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  target: ts.ScriptTarget.ES2022,
  types: [],
};
const host = ts.createCompilerHost(options);
const { getSourceFile, fileExists, readFile } = host;
host.fileExists = (file) => sources.has(file) || fileExists(file);
host.readFile = (file) => sources.get(file) ?? readFile(file);
host.getSourceFile = (file, ...rest) =>
  sources.has(file) ? ts.createSourceFile(file, sources.get(file), ts.ScriptTarget.ES2022) : getSourceFile(file, ...rest);
const program = ts.createProgram([...sources.keys()], options, host);
for (const fault of ts.getPreEmitDiagnostics(program)) {
  faults.push(`${fault.file?.fileName ?? ""}: ${ts.flattenDiagnosticMessageText(fault.messageText, "\n")}`);
}
console.log(faults.join("\n") || `${names.length} dashboards, ${queries} TraceQL queries: no fault`);
process.exit(faults.length ? 1 : 0);
