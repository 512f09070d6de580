// Helpers that wait for a result with a deadline.
import { AssertionError } from 'node:assert';

/** Settles as `promise` does, or rejects after `ms` with an error that contains the description. */
export async function withTimeout(ms, description, promise) {
  let timer;
  const timeout = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`timed out after ${ms} ms: ${description}`)), ms);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

/** Polls `condition` every 50 ms until it returns something truthy, and returns that. */
export async function eventually(ms, description, condition) {
  for (const end = Date.now() + ms; ;) {
    const result = await withTimeout(ms, description, condition());
    if (result) return result;
    if (Date.now() > end) throw new Error(`timed out after ${ms} ms: ${description}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/**
 * Retries a test whose assertions compare measured times: on a shared machine a single measurement may be bad
 * by chance. Only assertion errors are retried; anything else, such as a timeout, fails at once.
 */
export async function retryAssertions(attempts, test) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await test(attempt);
    } catch (error) {
      if (attempt === attempts || !(error instanceof AssertionError)) throw error;
      console.log(`attempt ${attempt} of ${attempts} failed: ${error.message.slice(0, 300)}`);
    }
  }
}

/** State that others wait on: `changed()` makes every waiter check its condition again. */
export class ChangeNotifier {
  #waiters = new Set();

  /** Checks the conditions of all waiters again. */
  changed() {
    for (const check of [...this.#waiters]) check();
  }

  /** Waits until `condition` returns something truthy, and returns that. */
  async until(description, condition, ms = 10_000) {
    let check;
    const satisfied = new Promise((resolve, reject) => {
      check = () => {
        try {
          const result = condition();
          if (result) resolve(result);
        } catch (error) {
          reject(error);
        }
      };
    });
    this.#waiters.add(check);
    check();
    try {
      return await withTimeout(ms, description, satisfied);
    } finally {
      this.#waiters.delete(check);
    }
  }
}
