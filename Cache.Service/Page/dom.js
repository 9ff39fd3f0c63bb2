// Puts text into elements, and only text: anything from Kafka is data, whatever it looks like.

/** Sets the text of an element, if it has changed. */
export function text(element, value) {
  if (element.textContent !== value) {
    element.textContent = value;
  }
}

/**
 * Updates the rows of a table in place: existing rows and cells stay, so that only changes are repainted, and a screen reader
 * keeps its position.
 * @param body A tbody or thead. @param rows Arrays of cells: texts, or { text, tag, color, className, span, title }.
 */
export function rows(body, rows) {
  fit(body, rows.length, () => "tr");
  rows.forEach((cells, index) => {
    const row = body.children[index];
    fit(row, cells.length, (cell) => cells[cell].tag ?? "td");
    cells.forEach((cell, column) => fill(row.children[column], typeof cell === "string" ? { text: cell } : cell));
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

function fill(cell, { text: value, color, className = "", span, scope, title }) {
  if (color === undefined) {
    text(cell, value);
  } else {
    if (!cell.querySelector("bdi")) {
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      cell.replaceChildren(swatch, document.createElement("bdi"));
    }

    cell.firstElementChild.style.setProperty("--color", color);
    text(cell.lastElementChild, value);
  }

  attribute(cell, "class", className);
  attribute(cell, "colspan", span ?? "");
  attribute(cell, "scope", scope ?? "");
  attribute(cell, "title", title ?? "");
}

function attribute(element, name, value) {
  const wanted = String(value);
  if ((element.getAttribute(name) ?? "") !== wanted) {
    wanted === "" ? element.removeAttribute(name) : element.setAttribute(name, wanted);
  }
}
