// The colour of a name: always the same, on every screen and day, because it comes from nothing but the name.

/** Number of colours in page.css, `--series-0` and so on. */
export const COLORS = 8;

/** What tells names of the same colour apart, in this order; further ones repeat the last. */
export const PATTERNS = ["solid", "dashed", "dotted"];

// Chosen so that the simulator's event types, and its devices, have different colours.
const SEED = 2166138378;

/** The number of a name's colour: its FNV-1a hash. */
export function colorOf(name) {
  let hash = SEED;
  for (const byte of new TextEncoder().encode(name)) {
    hash = Math.imul(hash ^ byte, 16777619);
  }

  // The low bits of an FNV hash are its weakest.
  return ((hash ^ (hash >>> 15)) >>> 0) % COLORS;
}

/**
 * Marks names that are shown together. Those that share a colour keep it, and are told apart by a pattern, in the order of their
 * names.
 * @returns {Map<string, { color: number, pattern: string }>} By name.
 */
export function marks(names) {
  const used = Array(COLORS).fill(0);
  return new Map([...names].sort().map((name) => {
    const color = colorOf(name);
    return [name, { color, pattern: PATTERNS[Math.min(used[color]++, PATTERNS.length - 1)] }];
  }));
}
