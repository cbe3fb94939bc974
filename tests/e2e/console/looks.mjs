// Light and dark, narrow and wide, and the keyboard alone.
import { assert, findings, logIn, script, setProgram, shot, steps, url, waitPhase } from "./lib.mjs";

const ground = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const focused = (page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    return element.getAttribute("aria-label") || element.id || element.textContent.trim() || element.tagName;
  });

async function lightAndDark(page) {
  const light = await ground(page);
  await page.emulateMedia({ colorScheme: "dark" });
  await page.waitForFunction((before) => getComputedStyle(document.body).backgroundColor !== before, light);
  assert.deepEqual(await findings(page), [], "dark");
  await page.screenshot({ path: shot("dark") });
  const theme = page.locator("#theme");
  await theme.click();
  assert.match(await theme.textContent(), /^Theme: light$/);
  assert.equal(await ground(page), light);
  await page.reload();
  await page.locator("#run").waitFor();
  assert.equal(await ground(page), light, "the choice is kept");
  await theme.click();
  assert.match(await theme.textContent(), /^Theme: dark$/);
  await theme.click();
  await page.emulateMedia({ colorScheme: "light" });
}

// From the top of the page by Tab to each control, into the editor and out again.
async function keyboardAlone(page) {
  await page.goto(`${url}/#/`);
  await page.reload();
  await page.locator(".cm-content").waitFor();
  await page.evaluate(() => {
    document.body.tabIndex = -1;
    document.body.focus();
  });
  const seen = [];
  for (let i = 0; i < 40 && !seen.includes("reader"); i++) {
    await page.keyboard.press("Tab");
    const name = await focused(page);
    assert.notEqual(name, seen.at(-1), `Tab stays at ${name}`);
    seen.push(name);
    if (name === "Program") await page.keyboard.press("Escape");
  }
  for (const name of ["Skip to the content", "Run", "History", "Pools", "API", "theme", "logout", "language", "pool", "timeout", "run", "Program", "keys", "tty", "reader"])
    assert.ok(seen.includes(name), `Tab does not reach ${name}: ${seen}`);
  await page.keyboard.press("Tab");
  assert.match(await focused(page), /^Terminal/);
  await page.keyboard.press("Shift+Tab");
  assert.equal(await focused(page), "reader");
}

async function keyboardRuns(page) {
  await setProgram(page, "while True: pass");
  await page.keyboard.press("Control+Enter");
  await waitPhase(page, "Running");
  await page.keyboard.press("Control+.");
  await waitPhase(page, "Stopped");
}

async function narrow(page) {
  await page.setViewportSize({ width: 390, height: 800 });
  for (const view of ["", "history", "pools"]) {
    await page.goto(`${url}/#/${view}`);
    await page.waitForTimeout(300);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= 390, `${view || "run"} is ${wide} wide`);
    assert.deepEqual(await findings(page), [], view || "run");
    await page.screenshot({ path: shot(`narrow-${view || "run"}`) });
  }
  await page.setViewportSize({ width: 1280, height: 800 });
}

// As somebody who enlarges a 1440x900 window's page twice.
async function enlarged(page) {
  await page.setViewportSize({ width: 720, height: 450 });
  for (const view of ["", "history", "pools"]) {
    await page.goto(`${url}/#/${view}`);
    await page.waitForTimeout(300);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= 720, `${view || "run"} is ${wide} wide`);
    await page.screenshot({ path: shot(`enlarged-${view || "run"}`) });
  }
  await page.setViewportSize({ width: 1280, height: 800 });
}

async function nothingMovesForWhoWantsThat(page) {
  await page.emulateMedia({ reducedMotion: "reduce" });
  await setProgram(page, "while True: pass");
  await page.keyboard.press("Control+Enter");
  await waitPhase(page, "Running");
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
  await page.keyboard.press("Control+.");
  await waitPhase(page, "Stopped");
  await page.emulateMedia({ reducedMotion: null });
}

// What a first visit costs: bytes over the wire, and how long until one can type.
async function smallAndQuick(page) {
  const session = await page.context().newCDPSession(page);
  await session.send("Network.setCacheDisabled", { cacheDisabled: true });
  await page.goto("about:blank");
  await page.goto(`${url}/`);
  await page.waitForFunction(() => document.activeElement?.classList.contains("cm-content"));
  const [bytes, ready] = await page.evaluate(() => [
    performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation")).reduce((sum, { transferSize }) => sum + transferSize, 0),
    performance.now()]);
  console.log(`first visit: ${(bytes / 1024).toFixed(0)} KiB, ready to type after ${ready.toFixed(0)} ms`);
  assert.ok(bytes < 330 * 1024, `${bytes} bytes`);
  await session.detach();
}

async function theReference(page) {
  for (const [name, width, scheme] of [["docs", 1440, "light"], ["docs-dark", 1440, "dark"], ["docs-narrow", 390, "light"]]) {
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme: scheme });
    await page.goto(`${url}/docs`);
    await page.locator("main section").nth(15).waitFor();
    assert.deepEqual(await findings(page), [], name);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= width, `${name} is ${wide} wide`);
    await page.screenshot({ path: shot(name) });
  }
}

await script(async ({ page }) => {
  await logIn(page);
  assert.deepEqual(await findings(page), [], "light");
  await steps("looks", page, [lightAndDark, keyboardAlone, keyboardRuns, nothingMovesForWhoWantsThat, narrow, enlarged, smallAndQuick, theReference]);
});
