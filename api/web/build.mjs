// Bundles the console into the folder given as the first argument: pages, one
// script and one style sheet, each gzipped too, and the licences of all that is
// bundled. Pages name assets by the SHA-256 of their content (api/web.c).
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, writeFileSync, existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, "dist"));
mkdirSync(out, { recursive: true });

const result = await esbuild.build({
  absWorkingDir: here,
  entryPoints: { console: "src/main.js", login: "src/login.js" },
  outdir: out,
  bundle: true,
  format: "esm",
  minify: true,
  legalComments: "none", // licenses.txt has them all
  target: ["chrome109", "firefox115", "safari16.4"],
  loader: { ".svg": "text" },
  metafile: true,
  write: false,
  logLevel: "warning",
});

const files = new Map();
for (const file of result.outputFiles) {
  const name = file.path.slice(out.length + 1);
  if (name !== "login.css") files.set(name, Buffer.from(file.contents));
}
files.set("icon.svg", readFileSync(join(here, "src/icon.svg")));
files.set("licenses.txt", Buffer.from(licences(Object.keys(result.metafile.inputs))));

const asset = (name) => `/assets/${createHash("sha256").update(files.get(name)).digest("hex").slice(0, 16)}/${name}`;
for (const page of ["index.html", "login.html"]) {
  const text = readFileSync(join(here, "src", page), "utf8");
  files.set(page, Buffer.from(text.replace(/%([a-z.]+)%/g, (_, name) => asset(name))));
}

let total = 0;
for (const [name, content] of files) {
  const packed = gzipSync(content, { level: 9 });
  writeFileSync(join(out, name), content);
  writeFileSync(join(out, name + ".gz"), packed);
  if (name !== "licenses.txt") total += packed.length;
  console.log(`${name.padEnd(14)} ${String(content.length).padStart(8)} bytes, ${packed.length} gzipped`);
}
console.log(`${"in all".padEnd(14)} ${(total / 1024).toFixed(1)} KiB gzipped`);

// The licence texts of every package that something was bundled from.
function licences(inputs) {
  const names = new Set();
  for (const input of inputs) {
    const found = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input);
    if (found) names.add(found[1]);
  }
  const parts = ["Bundled into the console of paddock:\n"];
  for (const name of [...names].sort()) {
    const folder = join(here, "node_modules", name);
    const about = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    if (!about.license) throw new Error(`${name} names no licence`);
    parts.push(`${"-".repeat(72)}\n${name} ${about.version} (${about.license})\n`);
    if (file && existsSync(join(folder, file))) parts.push(readFileSync(join(folder, file), "utf8"));
  }
  return parts.join("\n");
}
