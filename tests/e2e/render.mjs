// Renders Markdown with the most careless settings of several libraries, parses what comes out as a browser would, and tells
// what must not be there. Reads a JSON text a line; writes {renderer, markdown, html, found} for each that is harmful.
import { createInterface } from "node:readline";
import MarkdownIt from "markdown-it";
import { marked } from "marked";
import { micromark } from "micromark";
import { gfm, gfmHtml } from "micromark-extension-gfm";
import { parseFragment } from "parse5";
import showdown from "showdown";

const markdownIt = new MarkdownIt({ html: true, linkify: true });
markdownIt.validateLink = () => true;
// Not with simplifiedAutoLink: an address in the text of a link makes broken HTML then, whatever the text is.
const careless = new showdown.Converter({ tables: true, strikethrough: true });
const renderers = {
  marked: (text) => marked.parse(text, { async: false }),
  markedWithBreaks: (text) => marked.parse(text, { async: false, breaks: true }),
  micromark: (text) => micromark(text, { allowDangerousHtml: true, allowDangerousProtocol: true }),
  micromarkGfm: (text) =>
    micromark(text, {
      allowDangerousHtml: true,
      allowDangerousProtocol: true,
      extensions: [gfm()],
      htmlExtensions: [gfmHtml()],
    }),
  markdownIt: (text) => markdownIt.render(text),
  showdown: (text) => careless.makeHtml(text),
};

const ELEMENTS = new Set(
  "a blockquote br code del em h1 h2 h3 h4 h5 h6 hr input li ol p pre s section strong sup table tbody td th thead tr ul".split(" "),
);
const ATTRIBUTES = new Set(
  ("align aria-describedby aria-label checked class data-footnote-backref data-footnote-ref data-footnotes disabled dir href id " +
    "start style title type").split(" "),
);

function* harmful(node) {
  if (node.nodeName === "#comment" || node.nodeName === "#documentType") yield node.nodeName;
  if (node.tagName && !ELEMENTS.has(node.tagName)) yield `<${node.tagName}>`;
  for (const { name, value } of node.attrs ?? []) {
    if (!ATTRIBUTES.has(name)) yield `${name}=${value}`;
    if (name === "style" && !/^text-align: ?(left|right|center);?$/.test(value)) yield `style=${value}`;
    // Footnotes lead to places on the same page; an address without a scheme has that of the page.
    if (name === "href" && !/^(https?:|mailto:|#|\/\/)/i.test(value)) yield `href=${value}`;
  }
  for (const child of node.childNodes ?? []) yield* harmful(child);
}

for await (const line of createInterface({ input: process.stdin })) {
  const markdown = JSON.parse(line);
  for (const [renderer, render] of Object.entries(renderers)) {
    const html = render(markdown);
    const found = [...harmful(parseFragment(html))];
    if (found.length) console.log(JSON.stringify({ renderer, markdown, html, found }));
  }
}
