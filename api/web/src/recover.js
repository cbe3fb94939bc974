// A run's record, asked for until the service answers: after a connection that was
// lost nobody knows whether the run goes on, has ended, or never began.
const PATIENCE_MS = 120000;
const PAUSE_MS = 400;
const PAUSE_MAX_MS = 5000;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const passing = (status) => status === 0 || status === 429 || status >= 500;

// ask: () => the record's promise (api.js). {record} once it is there; {error} when the
// service says that there is none, or said nothing for too long; null when over().
export async function recover(ask, over) {
  const until = Date.now() + PATIENCE_MS;
  for (let wait = PAUSE_MS; !over(); wait = Math.min(wait * 2, PAUSE_MAX_MS)) {
    try {
      const record = await ask();
      return over() ? null : { record };
    } catch (error) {
      if (!passing(error.status) || Date.now() > until) return over() ? null : { error };
    }
    await pause(wait);
  }
  return null;
}
