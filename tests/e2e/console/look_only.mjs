// A key that may look and not run.
import { assert, findings, given, script, shot, url } from "./lib.mjs";

await script(async ({ page }) => {
  await page.goto(`${url}/login`);
  await page.getByLabel("API key").fill(given.key);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.locator("#phase").filter({ hasText: "Look only" }).waitFor();
  assert.equal(await page.locator("#run").isDisabled(), true);
  await page.getByRole("link", { name: "Pools" }).click();
  await page.locator("[data-pool=default]").waitFor();
  assert.deepEqual(await findings(page), []);
  await page.screenshot({ path: shot("look-only") });
});
