"use strict";
// Elements from names, attributes and children. A text child is a text node: nothing is ever parsed as HTML.
const byId = (id) => document.getElementById(id);

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

const html = (name, attributes = {}, ...children) => build(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) =>
  build(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

const DASH = "\u2013";
const fixed = (value, digits = 3) => (value === null || value === undefined ? DASH : value.toFixed(digits));
const plain = (value) =>
  value === null || value === undefined ? DASH
    : typeof value === "number" && Number.isInteger(value) ? value.toLocaleString("en")
    : typeof value === "number" ? String(Number(value.toPrecision(5)))
    : String(value);

// A message for screen readers; what is shown is said by the caller.
function announce(text) {
  byId("status").textContent = text;
}
