// The service's clock, as far as it is known: it decides how old something is, and whether a window has ended.

let ahead = 0;

/** Sets the clock by an answer of the service. */
export function set(time) {
  ahead = time - Date.now();
}

/** The time, in milliseconds since 1970. */
export const now = () => Date.now() + ahead;
