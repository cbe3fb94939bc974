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
  const where = result.stage === "compile" ? "The compiler" : "It";
  if (status === "exited" && code === 0) return { text: "Finished", tone: "good" };
  if (status === "exited") return { text: `${where} exited with ${code}`, tone: "bad" };
  if (status === "signaled") return { text: `${where} was killed by ${signal ?? "a signal"}`, tone: "bad" };
  return { text: causes[status] ?? status ?? "Ended", tone: status === "canceled" ? "plain" : "bad" };
}

export function facts(result) {
  const parts = [];
  if (result.execution_time !== undefined) parts.push(seconds(result.execution_time));
  if (result.queue_time >= 0.001) parts.push(`waited ${seconds(result.queue_time)}`);
  if (result.usage?.memory_peak) parts.push(bytes(result.usage.memory_peak));
  if (result.start) parts.push(result.start);
  if (result.truncated) parts.push("output cut");
  return parts.join(" · ");
}
