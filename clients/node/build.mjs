// ECMAScript modules get what CommonJS modules get, and not a second copy: an error of one would be no instance of the
// other's class.

import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";

for (const name of ["index", "testing"]) {
  const exported = Object.keys(createRequire(import.meta.url)(`./dist/${name}.js`));
  const file = (ending) => new URL(`./dist/${name}.${ending}`, import.meta.url);
  writeFileSync(file("mjs"), `import module from "./${name}.js";\n\nexport const { ${exported.join(", ")} } = module;\n`);
  writeFileSync(file("d.mts"), `export * from "./${name}.js";\n`);
}
