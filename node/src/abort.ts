/** What is done when a signal is aborted. */

/**
 * By signal, so that any number of calls may wait with one signal and it has one listener: of more, it
 * would warn.
 */
const actions = new WeakMap<AbortSignal, Set<() => void>>();

/** Has something done when the signal is aborted, until `offAbort`. */
export function onAbort(signal: AbortSignal | undefined, action: () => void): void {
  if (signal === undefined) return;
  let all = actions.get(signal);
  if (all === undefined) {
    const fresh = new Set<() => void>();
    actions.set(signal, fresh);
    const abort = () => {
      for (const action of fresh) action();
    };
    signal.addEventListener("abort", abort, { once: true });
    all = fresh;
  }
  all.add(action);
}

export function offAbort(signal: AbortSignal | undefined, action: () => void): void {
  if (signal !== undefined) actions.get(signal)?.delete(action);
}
