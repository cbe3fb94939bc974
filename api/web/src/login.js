// The login page. A login link is /login#TOKEN: what follows # is not sent to the
// server by itself, and is taken out of the address before it is used.
import { applyTheme } from "./theme.js";

applyTheme();

const form = document.getElementById("login");
const problem = document.getElementById("problem");
const key = document.getElementById("key");

// The view that was open when a session ended (api.js).
function returnTo() {
  const hash = sessionStorage.getItem("paddock.return") ?? "";
  sessionStorage.removeItem("paddock.return");
  return hash.startsWith("#/") ? hash : "";
}

async function logIn(fields) {
  problem.textContent = "";
  try {
    const answer = await fetch("/login", { method: "POST", body: new URLSearchParams(fields), redirect: "manual" });
    if (answer.type === "opaqueredirect" || answer.ok) return location.replace(`/${returnTo()}`);
    const details = await answer.json().catch(() => ({}));
    problem.textContent = answer.status === 429
      ? `Too many attempts from here. Try again in ${answer.headers.get("retry-after") ?? "a few"} seconds.`
      : fields.link && answer.status === 401
      ? "This link was used already, or is older than a minute. Ask for another: paddock login."
      : answer.status === 401
        ? "That is not a key of this service."
        : details.detail || `The service answered ${answer.status}.`;
  } catch {
    problem.textContent = "The service does not answer.";
  }
  key.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  logIn({ key: key.value.trim() });
});

function useLink() {
  const link = location.hash.slice(1);
  if (!link) return;
  history.replaceState(null, "", "/login");
  logIn({ link });
}

window.addEventListener("hashchange", useLink);
useLink();
