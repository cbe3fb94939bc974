// The service's HTTP API, with errors as plain sentences.
export class ApiError extends Error {
  constructor(status, detail, errors) {
    super(detail);
    this.status = status;
    this.errors = errors ?? [];
  }
}

async function problemOf(answer) {
  let details = {};
  try {
    details = await answer.json();
  } catch {
    // not every error comes from the service itself
  }
  return new ApiError(answer.status, details.detail || details.message || `The service answered ${answer.status}.`, details.errors);
}

// Back to this very view once logged in again; programs are kept as drafts.
function toLogin() {
  sessionStorage.setItem("paddock.return", location.hash);
  location.replace("/login");
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { Accept: "application/json", ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The service does not answer. Is it running?");
  }
  if (answer.status === 401) {
    toLogin();
    throw new ApiError(401, "You are logged out.");
  }
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

export const get = async (path, options) => (await ask(path, options)).json();
export const remove = (path) => ask(path, { method: "DELETE" });

// A watch: lists, then follows (Kubernetes API concepts, "Efficient detection of
// changes"). `items` is a Map by uid; changed() is called after each change. Goes
// on until the signal is aborted; listens again after whatever ends it.
export async function watch(path, { signal, items, changed, failed }) {
  for (let wait = 500; !signal.aborted; wait = Math.min(wait * 2, 8000)) {
    try {
      const list = await get(path, { signal });
      items.clear();
      for (const object of list.items ?? []) items.set(object.metadata.uid || object.metadata.name, object);
      failed(null);
      changed();
      wait = 250;
      await follow(`${path}?watch=true&allowWatchBookmarks=true&resourceVersion=${list.metadata.resourceVersion}`, { signal, items, changed });
    } catch (error) {
      if (signal.aborted) return;
      failed(error);
      if (error.status === 404 || error.status === 403) return;
    }
    await new Promise((done) => setTimeout(done, wait));
  }
}

async function follow(path, { signal, items, changed }) {
  const reader = (await ask(path, { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    let any = false;
    for (const line of lines) {
      if (!line.trim()) continue;
      const { type, object } = JSON.parse(line);
      if (type === "ERROR") return; // too old: listed again
      if (type === "BOOKMARK") continue;
      const id = object.metadata.uid || object.metadata.name;
      if (type === "DELETED") items.delete(id);
      else items.set(id, object);
      any = true;
    }
    if (any) changed();
  }
}
