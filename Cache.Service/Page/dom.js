// Puts text into elements, and only text: anything from Kafka is data, whatever it looks like.

// What a name needs, in CSS pixels.
const FIRST_COLUMN = 88;

/** Sets the text of an element, if it has changed. */
export function text(element, value) {
  if (element.textContent !== value) {
    element.textContent = value;
  }
}

/**
 * Updates the rows of a table in place: existing rows and cells stay, so that only changes are repainted, and a screen reader
 * keeps its position. Where there is no room for columns, page.css shows each cell with its label.
 * @param body A tbody or thead. @param rows Arrays of cells: texts, or { text, tag, scope, color, pattern, className, span, title, sort, button, pressed, add }.
 * With a `button`, an object of data attributes, the text is that of a button; it is pressed or not if `pressed` is true or false;
 * and with `add`, the name of a second one with the same attributes, that one follows it.
 */
export function rows(body, rows) {
  fit(body, rows.length, () => "tr");
  rows.forEach((cells, index) => {
    const row = body.children[index];
    fit(row, cells.length, (cell) => cells[cell].tag ?? "td");
    cells.forEach((cell, column) => {
      fill(row.children[column], typeof cell === "string" ? { text: cell } : cell);
      attribute(row.children[column], "data-label", body.parentElement.tHead?.rows[0]?.cells[column]?.textContent ?? "");
    });
  });
}

function fit(parent, length, tag) {
  while (parent.children.length > length) {
    parent.lastElementChild.remove();
  }

  for (let index = 0; index < length; index++) {
    const wanted = tag(index);
    const child = parent.children[index];
    if (child?.localName !== wanted) {
      const element = document.createElement(wanted);
      child ? child.replaceWith(element) : parent.append(element);
    }
  }
}

function fill(cell, { text: value, color, pattern = "solid", className = "", span, scope, title, sort, button, pressed, add }) {
  const inner = button ? press(cell, button, pressed, add) : cell;
  if (color === undefined) {
    text(inner, value);
  } else {
    if (!inner.querySelector(":scope > bdi")) {
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      inner.replaceChildren(swatch, document.createElement("bdi"));
    }

    inner.firstElementChild.style.setProperty("--color", color);
    inner.firstElementChild.dataset.pattern = pattern;
    text(inner.lastElementChild, value);
  }

  attribute(cell, "aria-sort", sort ?? "");
  attribute(cell, "class", className);
  attribute(cell, "colspan", span ?? "");
  attribute(cell, "scope", scope ?? "");
  attribute(cell, "title", title ?? "");
}

function press(cell, data, pressed, add) {
  const names = add ? ["", "add"] : [""];
  while (cell.childElementCount > names.length) {
    cell.lastElementChild.remove();
  }

  names.forEach((className, index) => {
    if (cell.children[index]?.localName !== "button") {
      index === 0 ? cell.replaceChildren(makeButton()) : cell.append(makeButton());
    }

    const button = cell.children[index];
    attribute(button, "class", className);
    Object.entries(data).forEach(([name, value]) => attribute(button, `data-${name}`, value));
  });
  attribute(cell.firstElementChild, "aria-pressed", pressed ?? "");
  if (add) {
    attribute(cell.lastElementChild, "aria-label", add);
  }

  return cell.firstElementChild;
}

const makeButton = () => Object.assign(document.createElement("button"), { type: "button" });

function attribute(element, name, value) {
  const wanted = String(value);
  if ((element.getAttribute(name) ?? "") !== wanted) {
    wanted === "" ? element.removeAttribute(name) : element.setAttribute(name, wanted);
  }
}

/**
 * Observes how wide a table is.
 * @param changed Called when that has changed. @returns A function that says how many columns of a width fit beside the first one.
 */
export function fits(table, changed) {
  let width;
  new ResizeObserver(([{ contentRect }]) => {
    // A card that is hidden for a moment has none.
    if (contentRect.width > 0 && contentRect.width !== width) {
      width = contentRect.width;
      changed();
    }
  }).observe(table.parentElement);
  return (column) => Math.floor(((width ?? table.clientWidth) - FIRST_COLUMN) / column);
}
