// Programs, as a person at the console runs them.
import { assert, findings, logIn, output, script, setProgram, shot, url, waitOutput, waitPhase } from "./lib.mjs";

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
  await waitPhase(page, "It exited with 3");
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
  const row = page.locator("tbody tr").filter({ hasText: "struct, zlib" });
  await row.getByRole("link").first().click();
  await waitOutput(page, "drawn");
  await page.getByAltText("The file picture.png").waitFor();
}

await script(async ({ page, expected }) => {
  await logIn(page);
  for (const step of [linesComeOneByOne, anInputIsAnswered, aLoopIsStopped, anInterruptReachesTheProgram, aTerminalOfItsOwn,
    filesAreShown, aReloadReplays, aReloadFollowsWhatStillRuns, mistakesAreSentences, historyReplays]) {
    console.log(step.name);
    await step(page);
  }
  expected.push(/status of 404/, /response code: 404/);
  await page.goto(`${url}/#/run/run_0000000000000000`);
  await page.locator("#alert").filter({ hasText: "not known" }).waitFor();
});
