// Programs that were run from this browser, by the id of their run: the service
// keeps a program's hash, not always its text.
const KEPT = 50;
const LONGEST = 64 * 1024;
const NAME = "paddock.programs";

function all() {
  try {
    return JSON.parse(localStorage.getItem(NAME)) ?? [];
  } catch {
    return [];
  }
}

export function remember(id, code, language) {
  if (code.length > LONGEST) return;
  const kept = [{ id, code, language }, ...all().filter((one) => one.id !== id)].slice(0, KEPT);
  try {
    localStorage.setItem(NAME, JSON.stringify(kept));
  } catch {
    localStorage.removeItem(NAME); // the browser's room is used up
  }
}

export const recall = (id) => all().find((one) => one.id === id);
