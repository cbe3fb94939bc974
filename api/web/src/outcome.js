// Endings of runs in words. `tone`: good, bad or plain.
import { bytes, seconds } from "./dom.js";

const causes = {
  timed_out: "Stopped: its time was up",
  cpu_exceeded: "Stopped: it used up its CPU time",
  memory_exceeded: "Stopped: it ran out of memory",
  output_exceeded: "Stopped: it printed too much",
  canceled: "Stopped",
  lost: "Lost: its sandbox died",
  failed: "It could not be run",
};

export function describe(result) {
  const { status, exit_code: code, signal } = result;
  const compiling = result.stage === "compile";
  if (status === "exited" && code === 0) return { text: "Finished", tone: "good" };
  if (status === "exited") return { text: compiling ? `The compiler exited with ${code}` : `Exited with ${code}`, tone: "bad" };
  if (status === "signaled") return { text: `${compiling ? "The compiler was killed" : "Killed"} by ${signal ?? "a signal"}`, tone: "bad" };
  return { text: causes[status] ?? status ?? "Ended", tone: status === "canceled" ? "plain" : "bad" };
}

// How a run was started, in the words of who waits for it.
const starts = { zygote: "warm start", spare: "warm start", cell: "cell ready, interpreter cold", cold: "cold start" };
export const startOf = (name) => starts[name] ?? name ?? "";

export function facts(result) {
  const parts = [];
  if (result.execution_time !== undefined) parts.push(seconds(result.execution_time));
  if (result.queue_time >= 0.001) parts.push(`waited ${seconds(result.queue_time)}`);
  if (result.usage?.memory_peak) parts.push(bytes(result.usage.memory_peak));
  if (result.start) parts.push(startOf(result.start));
  if (result.truncated) parts.push("output cut");
  return parts.join(" · ");
}
