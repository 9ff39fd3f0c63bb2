// How far the value axis of a chart reaches. Independent of the page.

/** A value is a spike if it is more than so many times the largest of the others. */
const SPIKE = 3;

/** At most this share of the values is cut, and at least this many values are needed to call one a spike. */
const SHARE = 0.05;
const MIN_VALUES = 8;

/**
 * Where an axis ends so that spikes do not flatten everything else.
 * @param values The values of each slot (the height of a column, or the largest of the lines); undefined if there is none.
 * @returns {{ max: number, parts: number, cut: number[] }|undefined} the end of the axis, into how many parts it divides well, and
 * the slots that reach beyond it; undefined if nothing is cut.
 */
export function cutOf(values) {
  const known = values.filter((value) => value !== undefined).sort((a, b) => b - a);
  if (known.length < MIN_VALUES) {
    return undefined;
  }

  for (let spikes = Math.max(1, Math.floor(known.length * SHARE)); spikes > 0; spikes--) {
    const rest = known[spikes];
    if (rest > 0 && known[spikes - 1] > SPIKE * rest) {
      const { max, parts } = rounded(rest * 1.1);
      return { max, parts, cut: values.flatMap((value, slot) => value > max ? [slot] : []) };
    }
  }

  return undefined;
}

/** The ends of an axis, from 1 to 10, and into how many parts each divides well. */
const ENDS = [[1, 4], [1.5, 3], [2, 4], [3, 3], [4, 4], [5, 5], [6, 3], [8, 4], [10, 5]];

function rounded(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  const [end, parts] = ENDS.find(([end]) => end * power >= value) ?? ENDS.at(-1);
  return { max: end * power, parts };
}
