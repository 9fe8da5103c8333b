/** Signals that ask a process to end. */

const NAMES = ["SIGTERM", "SIGINT"] as const;

/**
 * Has `tell` called at the first SIGTERM or SIGINT; the next one does what it did before. Answers what
 * ends this.
 */
export function onEnd(tell: () => void): () => void {
  const off = () => {
    for (const name of NAMES) process.off(name, told);
  };
  const told = () => {
    off();
    tell();
  };
  for (const name of NAMES) process.on(name, told);
  return off;
}
