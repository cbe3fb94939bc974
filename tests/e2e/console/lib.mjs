// One Chromium for a script: script(async ({page, ...}) => {...}) opens it, fails the
// test on whatever the page's console calls an error (violations of its policy
// among them), and closes it.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.PADDOCK_PACKAGES, "from-here.js"));
const { chromium } = require("playwright-core");

export { assert };
export const url = process.env.PADDOCK_URL;
export const key = process.env.PADDOCK_KEY;
export const given = JSON.parse(process.env.PADDOCK_GIVEN || "{}");
export const WAIT_MS = 45000; // a loaded machine, a sanitized service

const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export async function script(body) {
  const context = await chromium.launchPersistentContext(process.env.PADDOCK_PROFILE, {
    executablePath: process.env.PADDOCK_CHROMIUM, args: FLAGS, headless: true, chromiumSandbox: false,
    viewport: { width: 1280, height: 800 }, colorScheme: "light", timeout: WAIT_MS,
  });
  context.setDefaultTimeout(WAIT_MS);
  const errors = [];
  const expected = []; // regular expressions of what a test provokes
  const page = context.pages()[0] ?? (await context.newPage());
  watchPage(page, errors);
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`policy: ${event.violatedDirective} ${event.sourceFile}:${event.lineNumber}:${event.columnNumber} ${event.target?.outerHTML?.slice(0, 200)}`);
    });
  });
  try {
    await body({ context, page, expected });
    const left = errors.filter((text) => !expected.some((pattern) => pattern.test(text)));
    assert.deepEqual(left, [], "the page's console has errors");
    console.log("done");
  } catch (error) {
    await page.screenshot({ path: shot("failure") }).catch(() => {});
    console.log(error.stack);
    console.log("errors of the page:", errors);
    process.exitCode = 1;
  } finally {
    await context.close();
  }
}

export function watchPage(page, errors) {
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") errors.push(message.text());
  });
  page.on("pageerror", (error) => errors.push(String(error.stack ?? error)));
  page.on("crash", () => errors.push("the page crashed"));
}

export const shot = (name) => join(process.env.PADDOCK_SCREENSHOTS, `${name}.png`);

export async function newLink() {
  const answer = await fetch(`${url}/session/links`, { method: "POST", headers: { "X-API-Key": key } });
  assert.equal(answer.status, 201);
  return url + (await answer.json()).link;
}

export async function logIn(page) {
  await page.goto(await newLink());
  await page.waitForURL((at) => at.pathname === "/");
  await page.locator("#run").waitFor();
}

// What the terminal shows, and waiting until it shows something.
export const output = (page) => page.evaluate(() => window.paddock?.text() ?? "");

export async function waitOutput(page, text) {
  await page.waitForFunction((wanted) => window.paddock?.text().includes(wanted), text, { timeout: WAIT_MS });
}

// Put a program into the editor as a person would paste it.
export async function setProgram(page, code) {
  await page.locator(".cm-content").click();
  await page.keyboard.press("Control+a");
  await page.keyboard.press("Delete");
  await page.keyboard.insertText(code);
}

export async function waitPhase(page, text) {
  await page.waitForFunction((wanted) => document.getElementById("phase")?.textContent === wanted, text, { timeout: WAIT_MS });
}

export function axeSource() {
  return require("axe-core").source;
}

// Each step by its name, with a picture of how it ended: NAME-of-the-script-NAME-of-the-step.
export async function steps(name, page, all) {
  for (const step of all) {
    console.log(step.name);
    await step(page);
    await page.screenshot({ path: shot(`${name}-${step.name}`) });
  }
}

// Have the test do something outside of the browser, and wait until it is done.
export async function please(what) {
  const done = new Promise((resolve) => process.stdin.once("data", resolve));
  process.stdin.resume();
  console.log(`please ${what}`);
  await done;
  process.stdin.pause();
}

// All findings of axe-core, as text. Runs in the page's own world
// by the debugger, which the policy does not govern.
export async function findings(page) {
  await page.evaluate(axeSource() + ";0");
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return violations
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html.slice(0, 160) + " " + (node.any[0]?.message ?? "")).join(" | ")}`);
}
