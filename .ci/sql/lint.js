// Parses the Flink SQL in the docs: every sql block below a heading that names Flink, or with none that names another system.
const { FlinkSQL } = require("dt-sql-parser");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const docs = join(process.cwd(), "docs");
const OTHERS = /ksqlDB|Materialize|RisingWave/;
let failed = false;
for (const [page, blocks] of [["tutorial.md", 1], ["producers.md", 2]]) {
  const sections = readFileSync(join(docs, page), "utf8").split(/^## /m).filter((section) => !OTHERS.test(section.split("\n")[0]));
  const found = sections.flatMap((section) => [...section.matchAll(/^```sql\n(.*?)^```/gms)].map(([, sql]) => ({ heading: section.split("\n")[0], sql })));
  if (found.length !== blocks) {
    console.error(`${page}: ${found.length} blocks of Flink SQL, not ${blocks}`);
    failed = true;
  }

  for (const { heading, sql } of found) {
    for (const { startLine, message } of new FlinkSQL().validate(sql)) {
      console.error(`${page}, ${heading}: line ${startLine}: ${message}`);
      failed = true;
    }
  }

  console.log(`${page}: ${found.length} parsed`);
}

process.exit(failed ? 1 : 0);
