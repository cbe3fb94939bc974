// The service goes away and comes back, on the same address, while one works.
import { assert, key, logIn, output, please, script, setProgram, shot, steps, url, waitOutput, waitPhase } from "./lib.mjs";

async function logInAgain(page) {
  await page.waitForURL(`${url}/login`);
  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Log in" }).click();
}

async function theServiceIsDown(page) {
  await please("stop");
  await setProgram(page, 'print("kept")\n');
  await page.keyboard.press("Control+Enter");
  await page.locator("#alert").filter({ hasText: "does not answer" }).waitFor();
  await page.screenshot({ path: shot("restart-down") });
  await page.goto(`${url}/#/pools`); // only the fragment changes: no page is asked for
  await page.locator(".pools [role=status]").filter({ hasText: "does not answer" }).waitFor();
  await page.screenshot({ path: shot("restart-down-pools") });
  await please("start");
  await logInAgain(page); // a session without Redis ends with the service
  await page.locator("[data-pool=default] .chip[data-phase=Warm]").first().waitFor();
  assert.equal(new URL(page.url()).hash, "#/pools");
  await page.getByRole("link", { name: "Run", exact: true }).click();
  assert.match(await page.locator(".cm-content").textContent(), /kept/, "the program is kept");
}

// What began before a kill -9 is lost, and the page says so; what was done stays.
async function aKillInTheMiddle(page) {
  await setProgram(page, 'print("done before")\n');
  await page.keyboard.press("Control+Enter");
  await waitPhase(page, "Finished");
  const done = page.url();
  await page.waitForTimeout(300); // a record may be lost for 50 ms
  await setProgram(page, 'import time\nprint("begun", flush=True)\ntime.sleep(60)\n');
  await page.keyboard.press("Control+Enter");
  await waitOutput(page, "begun");
  await please("kill");
  await page.locator("#phase").filter({ hasText: "Reconnecting" }).waitFor();
  await page.screenshot({ path: shot("restart-reconnecting") });
  await please("start");
  await logInAgain(page);
  await page.locator("#alert").filter({ hasText: "not known here" }).or(page.locator("#phase").filter({ hasText: /Lost|Stopped/ })).waitFor();
  await page.screenshot({ path: shot("restart-lost") });
  await page.goto(done);
  await waitPhase(page, "Finished");
  await waitOutput(page, "done before");
  await setProgram(page, 'print("and on")\n');
  await page.keyboard.press("Control+Enter");
  await waitOutput(page, "and on");
}

await script(async ({ page, expected }) => {
  expected.push(/ERR_CONNECTION_REFUSED/, /WebSocket/, /status of 40[14]/, /ERR_INCOMPLETE/, /ERR_EMPTY/, /status of 503/, /ERR_CONNECTION_RESET/);
  await logIn(page);
  await steps("restart", page, [theServiceIsDown, aKillInTheMiddle]);
});
