// Programs, as a person at the console runs them.
import { assert, findings, logIn, output, script, setProgram, shot, steps, url, waitOutput, waitPhase } from "./lib.mjs";

const slowly = `import time
for n in range(1, 5):
    print("line", n)
    time.sleep(0.7)
`;

// When each line was on the screen, in milliseconds.
async function arrivals(page, count) {
  const times = [];
  for (let n = 1; n <= count; n++) {
    await waitOutput(page, `line ${n}`);
    times.push(Date.now());
  }
  return times;
}

async function linesComeOneByOne(page) {
  await setProgram(page, slowly);
  await page.keyboard.press("Control+Enter");
  await waitOutput(page, "line 1");
  assert.ok(!(await output(page)).includes("line 4"), "all at once");
  await page.screenshot({ path: shot("run-live") });
  const times = await arrivals(page, 4);
  await waitPhase(page, "Finished");
  assert.ok(times[3] - times[0] > 1000, `lines came together: ${times}`);
  await page.locator("#status").filter({ hasText: "Finished" }).waitFor({ state: "attached" }); // said to screen readers
}

async function anInputIsAnswered(page) {
  await setProgram(page, 'name = input("Who? ")\nprint(f"\\033[1;32mHello, {name}!\\033[0m")\nimport sys\nprint("and a warning", file=sys.stderr)\nprint(repr(sys.stdin.read()))\n');
  await page.keyboard.press("Control+Enter");
  await waitOutput(page, "Who?");
  await page.keyboard.type("Adax"); // the terminal has the focus
  await page.keyboard.press("Backspace");
  await page.keyboard.press("Enter");
  await waitOutput(page, "Hello, Ada!");
  await page.keyboard.type("rest");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Control+d");
  await waitOutput(page, "'rest\\n'");
  await waitPhase(page, "Finished");
  await page.screenshot({ path: shot("run-input") });
  assert.deepEqual(await findings(page), []);
}

async function aLoopIsStopped(page) {
  await setProgram(page, 'print("looping", flush=True)\nwhile True: pass\n');
  await page.getByRole("button", { name: /^Run/ }).click();
  await waitOutput(page, "looping");
  await page.getByRole("button", { name: "Stop" }).click();
  await waitPhase(page, "Stopped");
}

async function anInterruptReachesTheProgram(page) {
  await setProgram(page, 'import time\ntry:\n    print("waiting", flush=True)\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print("interrupted")\n');
  await page.keyboard.press("Control+Enter");
  await waitOutput(page, "waiting");
  await page.keyboard.press("Control+c");
  await waitOutput(page, "interrupted");
  await waitPhase(page, "Finished");
}

async function aTerminalOfItsOwn(page) {
  await setProgram(page, 'import os, sys\nprint("tty", sys.stdout.isatty(), os.get_terminal_size().columns > 20)\nprint("got", input("? "))\n');
  await page.getByLabel("Terminal", { exact: true }).check();
  await page.getByRole("button", { name: /^Run/ }).click();
  await waitOutput(page, "tty True True");
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.type("it");
  await page.keyboard.press("Enter");
  await waitOutput(page, "got it");
  await waitPhase(page, "Finished");
  await page.getByLabel("Terminal", { exact: true }).uncheck();
}

const picture = `import struct, zlib
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
rows = b"".join(b"\\0" + bytes(v for x in range(240) for v in (x, 90 + y // 2, 200 - x // 2)) for y in range(120))
open("picture.png", "wb").write(b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 240, 120, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
open("data.csv", "w").write("a,b\\n1,2\\n")
print("drawn")
`;

async function filesAreShown(page) {
  await setProgram(page, picture);
  await page.keyboard.press("Control+Enter");
  await waitPhase(page, "Finished");
  const image = page.getByAltText("The file picture.png");
  await image.waitFor();
  assert.equal(await image.evaluate((element) => element.naturalWidth), 240);
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "data.csv" }).click()]);
  assert.equal(download.suggestedFilename(), "data.csv");
  await page.screenshot({ path: shot("run-files") });
}

async function aReloadReplays(page) {
  const before = await output(page);
  const address = page.url();
  assert.match(address, /#\/run\/[\w-]+$/);
  await page.reload();
  await waitPhase(page, "Finished");
  assert.equal(await output(page), before);
  assert.equal(page.url(), address);
  await page.getByAltText("The file picture.png").waitFor();
  assert.match(await page.locator(".cm-content").textContent(), /struct, zlib/);
}

async function aReloadFollowsWhatStillRuns(page) {
  await setProgram(page, 'import time\nfor n in range(1, 100):\n    print("line", n, flush=True)\n    time.sleep(0.5)\n');
  await page.keyboard.press("Control+Enter");
  await waitOutput(page, "line 2");
  await page.reload();
  await waitOutput(page, "line 1");
  const seen = (await output(page)).split("\n").length;
  await waitOutput(page, `line ${seen + 3}`);
  await page.getByRole("button", { name: "Stop" }).click();
  await waitPhase(page, "Stopped");
}

async function mistakesAreSentences(page) {
  await setProgram(page, "raise SystemExit(3)");
  await page.keyboard.press("Control+Enter");
  await waitPhase(page, "Exited with 3");
  await page.getByLabel("Seconds").fill("99999");
  await page.keyboard.press("Control+Enter");
  await page.locator("#alert").filter({ hasText: "timeout" }).waitFor();
  await page.screenshot({ path: shot("run-refused") });
  await page.getByLabel("Seconds").fill("");
}

async function historyReplays(page) {
  await page.getByRole("link", { name: "History" }).click();
  await page.locator("tbody tr").nth(5).waitFor();
  assert.deepEqual(await findings(page), []);
  await page.screenshot({ path: shot("history") });
  const row = page.locator("tbody tr").filter({ hasText: "def chunk" });
  await row.getByRole("link").first().click();
  await waitOutput(page, "drawn");
  await page.getByAltText("The file picture.png").waitFor();
}

async function nothingYet(page) {
  await page.locator("#empty").filter({ hasText: "Output appears here" }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Copy link" }).isVisible(), false);
}

async function languageAndLimitsAreChosen(page) {
  await page.getByLabel("Language").selectOption("bash");
  await page.getByLabel("Pool").selectOption("default");
  await page.getByLabel("Seconds").fill("1.5");
  await page.getByText("Arguments, environment").click();
  await page.getByLabel("Arguments, separated").fill("one two");
  await page.getByLabel("Environment").fill("GREETING=moin moin");
  await setProgram(page, 'echo "$# $2 $GREETING"\nwhile :; do :; done\n');
  await page.keyboard.press("Control+Enter");
  await waitOutput(page, "2 two moin moin");
  await waitPhase(page, "Stopped: its time was up");
  await page.getByLabel("Seconds").fill("");
  await page.getByLabel("CPU time").fill("0.5");
  await page.keyboard.press("Control+Enter");
  await waitPhase(page, "Stopped: it used up its CPU time");
  assert.deepEqual(await findings(page), []);
  for (const name of ["CPU time", "Arguments, separated", "Environment"]) await page.getByLabel(name).fill("");
  await page.getByText("Arguments, environment").click();
  await page.getByLabel("Pool").selectOption("");
  await page.getByLabel("Language").selectOption("python");
}

// Two more tabs see what the first one runs, from its start; one of them ends it for all.
async function severalTabsWatchOneRun(page) {
  await setProgram(page, 'import time\nfor n in range(1, 200):\n    print("line", n, flush=True)\n    time.sleep(0.3)\n');
  await page.keyboard.press("Control+Enter");
  await waitOutput(page, "line 3");
  const others = [];
  for (let i = 0; i < 2; i++) {
    const other = await page.context().newPage();
    await other.goto(page.url());
    await waitOutput(other, "line 1\n");
    others.push(other);
  }
  const seen = (await output(page)).split("\n").length;
  for (const tab of [page, ...others]) await waitOutput(tab, `line ${seen + 3}`);
  await others[1].screenshot({ path: shot("run-other-tab") });
  await others[0].getByRole("button", { name: "Stop" }).click();
  for (const tab of [page, ...others]) await waitPhase(tab, "Stopped");
  assert.equal(await output(others[0]), await output(page));
  assert.equal(await output(others[1]), await output(page));
  for (const other of others) await other.close();
}

// More lines than the terminal keeps; the page answers while they come.
async function muchOutputIsShown(page) {
  await setProgram(page, 'for n in range(60_000):\n    print(n, "x" * 8)\n');
  await page.keyboard.press("Control+Enter");
  await waitOutput(page, "59999 xxxxxxxx");
  await waitPhase(page, "Finished");
}

async function theKeysAreShown(page) {
  await page.getByRole("button", { name: "Keyboard" }).click();
  const dialog = page.getByRole("dialog", { name: "Keyboard" });
  await dialog.filter({ hasText: "Leave the editor" }).waitFor();
  assert.deepEqual(await findings(page), []);
  await page.screenshot({ path: shot("keys") });
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
  await page.locator("#run").focus();
  await page.keyboard.press("?");
  await dialog.waitFor();
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "hidden" });
}

await script(async ({ page, expected }) => {
  await logIn(page);
  await steps("run", page, [nothingYet, linesComeOneByOne, anInputIsAnswered, aLoopIsStopped, anInterruptReachesTheProgram, aTerminalOfItsOwn,
    languageAndLimitsAreChosen, filesAreShown, aReloadReplays, aReloadFollowsWhatStillRuns, severalTabsWatchOneRun, muchOutputIsShown,
    mistakesAreSentences, historyReplays, theKeysAreShown]);
  expected.push(/status of 404/, /response code: 404/);
  await page.goto(`${url}/#/run/run_0000000000000000`);
  await page.locator("#alert").filter({ hasText: "not known" }).waitFor();
});
