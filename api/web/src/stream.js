// A run over a WebSocket: frames of "paddock.v1" (docs/streaming.md).

const address = (path) => `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}${path}`;

function bytesOf(frame) {
  if (frame.encoding !== "base64") return frame.data;
  return Uint8Array.from(atob(frame.data), (c) => c.charCodeAt(0));
}

// on: {frame(type, frame, data), closed(reason or null)}; closed comes once.
class Stream {
  constructor(path, on, first) {
    this.on = on;
    this.last = 0;
    this.over = false;
    this.socket = new WebSocket(address(path), "paddock.v1");
    this.socket.onopen = () => first && this.send(first);
    this.socket.onmessage = (event) => this.#take(JSON.parse(event.data));
    this.socket.onclose = (event) => this.#close(event);
  }

  #take(frame) {
    if (frame.seq) this.last = frame.seq;
    if (frame.type === "exit" || frame.type === "error") this.over = true;
    const data = frame.type === "stdout" || frame.type === "stderr" ? bytesOf(frame) : undefined;
    this.on.frame(frame.type, frame, data);
  }

  #close(event) {
    const why = event.reason || (event.code === 1006 ? "the connection was lost" : `closed with ${event.code}`);
    this.on.closed(this.over ? null : why);
  }

  send(frame) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(frame));
  }

  input(data) {
    const letters = [...data];
    for (let at = 0; at < letters.length; at += PIECE) this.send({ type: "stdin", data: letters.slice(at, at + PIECE).join("") });
  }

  close() {
    this.socket.onmessage = null;
    this.socket.onclose = null;
    this.socket.close();
  }
}

// A frame has its bounds; what is pasted may be longer.
const PIECE = 16384;

export const startRun = (request, on) => new Stream("/execute/stream", on, { type: "run", ...request });
export const viewRun = (id, on) => new Stream(`/executions/${encodeURIComponent(id)}/stream`, on, null);
