// A session that ends while one works: to the login page, and back to the same view.
import { assert, key, logIn, output, script, setProgram, steps, url, waitOutput, waitPhase } from "./lib.mjs";

// As an administrator, or time, ends it; the page is not told.
async function endSession(page) {
  const cookies = (await page.context().cookies(url)).map(({ name, value }) => `${name}=${value}`).join("; ");
  const answer = await fetch(`${url}/session`, { method: "DELETE", headers: { Cookie: cookies, Origin: url } });
  assert.equal(answer.status, 204);
}

async function logInAgain(page) {
  await page.waitForURL(`${url}/login`);
  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Log in" }).click();
}

async function aRunIsFoundAgain(page) {
  await setProgram(page, 'print("first")\n');
  await page.keyboard.press("Control+Enter");
  await waitPhase(page, "Finished");
  const address = page.url();
  const before = await output(page);
  await setProgram(page, 'print("second")\n');
  await endSession(page);
  await page.getByRole("button", { name: /^Run/ }).click();
  await logInAgain(page);
  await page.locator("#run").waitFor();
  assert.match(await page.locator(".cm-content").textContent(), /second/, "the program is kept");
  await page.keyboard.press("Control+Enter");
  await waitOutput(page, "second");
  await waitPhase(page, "Finished");
  await page.goto(address);
  await waitPhase(page, "Finished");
  assert.equal(await output(page), before);
}

// A socket that is open stays so: it was opened in time.
async function aRunGoesOn(page) {
  await setProgram(page, 'print("name?", flush=True)\nprint("hello", input())\n');
  await page.keyboard.press("Control+Enter");
  await waitOutput(page, "name?");
  await endSession(page);
  await page.keyboard.type("Ada");
  await page.keyboard.press("Enter");
  await waitOutput(page, "hello Ada");
  await waitPhase(page, "Finished");
  const address = page.url();
  await page.reload();
  await logInAgain(page);
  await waitOutput(page, "hello Ada");
  assert.equal(page.url(), address, "back to the run");
}

async function theViewComesBack(page) {
  await page.goto(`${url}/#/history`);
  await page.locator("tbody tr").first().waitFor();
  await endSession(page);
  await logInAgain(page); // the page asks by itself
  await page.locator("tbody tr").first().waitFor();
  assert.equal(new URL(page.url()).hash, "#/history");
}

await script(async ({ page, expected }) => {
  expected.push(/status of 401/, /WebSocket.*Authentication failed/);
  await logIn(page);
  await steps("session", page, [aRunIsFoundAgain, aRunGoesOn, theViewComesBack]);
});
