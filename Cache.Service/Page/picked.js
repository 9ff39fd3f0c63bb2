// What the reader looks at: a time. All charts show the window that contains it, however new or long their windows are.

const listeners = new Set();
let pinned;
let hovered;

/** The time looked at: the hovered one, else the pinned one; undefined for the newest. In milliseconds since 1970. */
export const time = () => hovered ?? pinned;

/** The time that stays until it is unpinned; undefined if there is none. */
export const pinnedTime = () => pinned;

/** Looks at a time while the pointer is there. @param time undefined when it has left. */
export function hover(time) {
  change(pinned, time);
}

/** Keeps a time, whatever arrives. @param time undefined to follow the newest window again. */
export function pin(time) {
  change(time, undefined);
}

/** Calls a function after every change. */
export const onChange = (listener) => listeners.add(listener);

function change(newPinned, newHovered) {
  if (pinned !== newPinned || hovered !== newHovered) {
    [pinned, hovered] = [newPinned, newHovered];
    listeners.forEach((listener) => listener());
  }
}
