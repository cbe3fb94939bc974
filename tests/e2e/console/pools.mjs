// The pool page while the controller works: a killed container is replaced before
// one's eyes. The test kills it when this says "ready".
import { assert, findings, given, logIn, script, shot, url, WAIT_MS } from "./lib.mjs";
import { request } from "node:http";

const names = (page, phase) => page.locator(`[data-pool=default] .chip[data-phase=${phase}]`).evaluateAll((chips) => chips.map((chip) => chip.dataset.id));

// As `docker kill`, which knows nothing of the service.
function kill(container) {
  return new Promise((done, fail) => {
    const asked = request({ socketPath: given.engine, method: "POST", path: `/containers/${container}/kill` }, (answer) =>
      answer.resume().on("end", () => (answer.statusCode === 204 ? done() : fail(new Error(`kill: ${answer.statusCode}`)))));
    asked.on("error", fail).end();
  });
}

await script(async ({ page }) => {
  await logIn(page);
  await page.goto(`${url}/#/pools`);
  const card = page.locator("[data-pool=default]");
  await card.locator(".chip[data-phase=Warm]").nth(1).waitFor();
  const before = await names(page, "Warm");
  assert.equal(before.length, 2);
  assert.match(await card.locator(".sizes").textContent(), /^2 of 2 to 4/);
  assert.deepEqual(await findings(page), []);
  await page.screenshot({ path: shot("pools") });

  await kill(await card.locator(`.chip[data-id="${before[0]}"]`).getAttribute("data-provider"));
  await card.locator(`.chip[data-phase=Dead][data-id="${before[0]}"]`).waitFor();
  await page.waitForFunction(
    (old) => {
      const warm = [...document.querySelectorAll("[data-pool=default] .chip[data-phase=Warm]")].map((chip) => chip.dataset.id);
      return warm.length === 2 && warm.some((id) => !old.includes(id));
    },
    before, { timeout: WAIT_MS });
  await page.locator(".event").filter({ hasText: "SandboxDied" }).first().waitFor();
  await page.screenshot({ path: shot("pools-replaced") });

  // More runs than there may be sandboxes: claims, a queue, growth, and the ratio of warm
  // hits, each as it happens.
  const stat = (name) => card.locator(".stat").filter({ has: page.locator("dt", { hasText: name }) }).locator("dd");
  const ratio = await stat("Warm hits").textContent();
  const busy = Array.from({ length: 7 }, () => fetch(`${url}/execute`, { method: "POST", headers: { "X-API-Key": process.env.PADDOCK_KEY, "Content-Type": "application/json" }, body: JSON.stringify({ code: "import time; time.sleep(6)" }) }));
  await card.locator(".chip[data-phase=Claimed]").first().waitFor();
  await stat("Queue").filter({ hasText: /^[1-9]/ }).waitFor();
  await page.screenshot({ path: shot("pools-queue") });
  await card.locator(".chip[data-phase=Claimed]").nth(3).waitFor();
  await page.locator(".event").filter({ hasText: "ScaledUp" }).first().waitFor();
  await page.screenshot({ path: shot("pools-claimed") });
  for (const answer of await Promise.all(busy)) assert.equal(answer.status, 200);
  await stat("Queue").filter({ hasText: /^0$/ }).waitFor();
  await page.waitForFunction((old) => [...document.querySelectorAll("[data-pool=default] .stat")].find((one) => one.textContent.startsWith("Warm hits"))?.textContent !== `Warm hits${old}`, ratio);
  await page.emulateMedia({ colorScheme: "dark" });
  assert.deepEqual(await findings(page), []);
  await page.screenshot({ path: shot("pools-dark") });
});
