// What a service that has enough to do answers, and what one did wrong, as sentences.
import { assert, findings, given, key, script, setProgram, steps, url, waitPhase } from "./lib.mjs";

const alert = (page, text) => page.locator("#alert").filter({ hasText: text }).waitFor();

async function logInBy(page, text) {
  await page.goto(`${url}/login`);
  await page.getByLabel("API key").fill(text);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.locator("#run").waitFor();
}

async function aWrongField(page) {
  await setProgram(page, "print(1)");
  await page.getByLabel("Seconds").fill("99999");
  await page.keyboard.press("Control+Enter");
  await alert(page, "maxTimeout");
  await waitPhase(page, "Refused");
  assert.equal(await page.getByLabel("Seconds").getAttribute("aria-invalid"), "true");
  assert.deepEqual(await findings(page), []);
  await page.getByLabel("Seconds").fill("");
}

async function noPlaceInTheQueue(page) {
  const ask = (code) => fetch(`${url}/execute`, { method: "POST", headers: { "X-API-Key": key, "Content-Type": "application/json" }, body: JSON.stringify({ code, pool: "small" }) });
  const busy = new AbortController();
  const first = fetch(`${url}/execute`, { method: "POST", signal: busy.signal, headers: { "X-API-Key": key, "Content-Type": "application/json" }, body: JSON.stringify({ code: "import time; time.sleep(120)", timeout: 200, pool: "small" }) }).catch(() => {});
  while ((await ask("1")).status !== 503); // until it is busy
  await page.getByLabel("Pool").selectOption("small");
  await page.keyboard.press("Control+Enter");
  await waitPhase(page, "Not now");
  await alert(page, "pool small");
  busy.abort();
  await first;
  await page.getByLabel("Pool").selectOption("");
}

// The first is taken, the second is beyond the key's rate.
async function tooMany(page) {
  await logInBy(page, given.limited);
  await setProgram(page, "print(1)");
  await page.keyboard.press("Control+Enter");
  await waitPhase(page, "Finished");
  await page.keyboard.press("Control+Enter");
  await waitPhase(page, "Not sent"); // a browser does not tell a page how an upgrade was refused
  await alert(page, "the rate of this key is used up");
}

await script(async ({ page, expected }) => {
  expected.push(/response code: 429/);
  await logInBy(page, key);
  await steps("refused", page, [aWrongField, noPlaceInTheQueue, tooMany]);
});
