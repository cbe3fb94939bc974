// Logging in by a link, which is good once, and by a key; logging out.
import { assert, findings, key, newLink, script, shot, url } from "./lib.mjs";

await script(async ({ page, expected }) => {
  expected.push(/status of 401/);
  const problem = page.locator("#problem");

  await page.goto(`${url}/`);
  await page.waitForURL(`${url}/login`);
  assert.deepEqual(await findings(page), []);
  await page.screenshot({ path: shot("login") });

  await page.keyboard.type("not-a-key-of-this-service");
  await page.keyboard.press("Enter");
  await problem.filter({ hasText: "not a key of this service" }).waitFor();
  await page.screenshot({ path: shot("login-refused") });

  const link = await newLink();
  await page.goto(link);
  await page.locator("#run").waitFor();
  assert.equal(new URL(page.url()).pathname, "/");
  const [cookie] = await page.context().cookies(url);
  assert.equal(cookie.httpOnly, true);
  assert.equal(cookie.sameSite, "Strict");
  assert.equal(await page.evaluate(() => document.cookie), "");
  assert.equal(await page.evaluate((token) => JSON.stringify([...Object.entries(localStorage)]).includes(token), link.split("#")[1]), false);

  await page.getByRole("button", { name: "Log out" }).click();
  await page.waitForURL(`${url}/login`);
  await page.goto(`${url}/`);
  await page.waitForURL(`${url}/login`);

  await page.goto(link);
  await problem.filter({ hasText: "used already" }).waitFor();
  assert.equal(new URL(page.url()).hash, "", "the link is taken out of the address");

  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.locator("#run").waitFor();
});
