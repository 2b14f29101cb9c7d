--- The reference as one HTML page that needs no other file: search, dark mode, narrow screens.
local base64 = require "simvae.util.base64"
local core = require "simvae.core"
local examples = require "simvae.reference.examples"
local groups = require "simvae.reference.groups"
local highlight = require "simvae.reference.highlight"
local paragraphs = require "simvae.reference.text".paragraphs
local escape = require "simvae.util.html".escape
local style = require "simvae.reference.style"

local page = {}

-- ---- pieces ----------------------------------------------------------------------------------------

-- Text with `code` marked.
local function inline(text)
  return (escape(text):gsub("`([^`]+)`", "<code>%1</code>"))
end

local function prose(text)
  local out = {}
  for _, p in ipairs(paragraphs(text)) do
    if p.code then
      out[#out + 1] = "<pre><code>" .. highlight(p.code) .. "</code></pre>"
    elseif p.text ~= "" then
      out[#out + 1] = "<p>" .. inline(p.text) .. "</p>"
    end
  end
  return table.concat(out)
end

-- A type in words.
local function words(type, optional)
  return type == "any" and "anything" or type:gsub("|", " or ") .. (optional and ", optional" or "")
end

local function row(name, type, text)
  return string.format("<li><code>%s</code> <span class=\"type\">%s</span> %s</li>", escape(name), escape(type),
    inline(text))
end

local function parameters(doc)
  if #doc.params == 0 then return "" end
  local out = { "<h4>Parameters</h4><ul>" }
  for _, p in ipairs(doc.params) do
    out[#out + 1] = row(p.name, words(p.type, p.optional), p.text)
  end
  return table.concat(out) .. "</ul>"
end

local function results(doc)
  local out = {}
  if #doc.returns > 0 then
    out[#out + 1] = "<h4>Returns</h4><ul>"
    for _, r in ipairs(doc.returns) do
      out[#out + 1] = string.format("<li><span class=\"type\">%s</span> %s</li>",
        escape(words(r.type) .. (r.optional and " or nil" or "")), inline(r.text))
    end
    out[#out + 1] = "</ul>"
  end
  if #doc.raises > 0 then
    out[#out + 1] = "<h4>Raises for</h4><ul>"
    for _, text in ipairs(doc.raises) do out[#out + 1] = "<li>" .. inline(text) .. "</li>" end
    out[#out + 1] = "</ul>"
  end
  return table.concat(out)
end

local function option_list(list)
  local out = { "<dl>" }
  for _, o in ipairs(list) do
    out[#out + 1] = string.format("<dt><code>%s</code> <span class=\"type\">%s</span></dt><dd>%s", escape(o.name),
      escape(o.accepts), inline(o.doc or ""))
    if o.same then
      out[#out + 1] = string.format(" <span class=\"soft\">Fields as of <code>%s</code>.</span>", o.same)
    elseif o.fields or o.each then
      out[#out + 1] = string.format("<details><summary>%s of %s</summary>%s</details>",
        o.each and "Fields of each element" or "Fields", escape(o.name), option_list(o.fields or o.each))
    end
    out[#out + 1] = "</dd>"
  end
  return table.concat(out) .. "</dl>"
end

local function options(entry)
  if not entry.options then return "" end
  if entry.options_of then
    return string.format('<h4>Options</h4><p>As of <a href="#%s">%s</a>.</p>', entry.options_of, entry.options_of)
  end
  local list = option_list(entry.options)
  if #entry.options <= 8 then return "<h4>Options</h4>" .. list end
  return string.format("<details class=\"options\"><summary><h4>%d options</h4></summary>%s</details>", #entry.options,
    list)
end

local function example(e)
  local out = { "<h4>Example</h4><pre class=\"code\"><code>", highlight(e.code), "</code></pre>" }
  if e.output ~= "" then
    out[#out + 1] = "<pre class=\"output\">" .. escape(e.output) .. "</pre>"
  end
  if e.picture then
    out[#out + 1] = string.format("<img loading=\"lazy\" alt=\"What the example of %s draws\" "
      .. "src=\"data:image/png;base64,%s\">", escape(e.entry.name), base64(e.picture))
  end
  return table.concat(out)
end

-- What the search looks at.
local function words_of(entry)
  local list = { entry.name, entry.doc.text, entry.about or "" }
  local function add(options_of)
    for _, o in ipairs(options_of or {}) do
      list[#list + 1] = o.name
      if not o.same then add(o.fields) end
    end
  end
  add(entry.options)
  return table.concat(list, " "):lower():gsub("%s+", " ")
end

local function section(entry, of)
  local out = { string.format('<section id="%s" data-words="%s"><h3><a href="#%s">%s</a></h3>', escape(entry.name),
    escape(words_of(entry)), escape(entry.name), escape(entry.call)) }
  out[#out + 1] = prose(entry.doc.text) .. (entry.about and prose(entry.about) or "")
  if entry.kind == "simulator" then
    out[#out + 1] = "<h4>Parameters</h4><ul>"
    for _, f in ipairs(entry.fields) do out[#out + 1] = row(f.name, f.type, f.text) end
    out[#out + 1] = "</ul>"
  else
    out[#out + 1] = parameters(entry.doc)
  end
  out[#out + 1] = options(entry)
  out[#out + 1] = results(entry.doc)
  for _, e in ipairs(of[entry] or {}) do out[#out + 1] = example(e) end
  if entry.path then
    out[#out + 1] = '<p class="soft source">' .. escape(entry.path:match "simvae/.*" or entry.path):gsub(":%d+$", "")
      .. "</p>"
  end
  return table.concat(out) .. "</section>"
end

local function fields(head)
  if not head or not head.fields or #head.fields == 0 then return "" end
  local out = { "<h4>Fields</h4><ul>" }
  for _, f in ipairs(head.fields) do
    out[#out + 1] = row("." .. f.name, words(f.type, f.optional), f.text)
  end
  return table.concat(out) .. "</ul>"
end

local function chapter(c, of)
  local out = { string.format('<div class="chapter" id="chapter-%s"><h2>%s</h2>', c.id, escape(c.title)) }
  out[#out + 1] = prose(c.text or c.head and c.head.doc.text or "")
  out[#out + 1] = fields(c.head)
  for _, entry in ipairs(c.entries) do out[#out + 1] = section(entry, of) end
  return table.concat(out) .. "</div>"
end

local function navigation(list)
  local out = {}
  for _, c in ipairs(list) do
    out[#out + 1] = string.format('<details data-chapter="chapter-%s"><summary>%s</summary><ul>', c.id, escape(c.title))
    for _, entry in ipairs(c.entries) do
      out[#out + 1] = string.format('<li><a href="#%s">%s</a></li>', escape(entry.name),
        escape(entry.name:gsub("^.*[.:]", "")))
    end
    out[#out + 1] = "</ul></details>"
  end
  return table.concat(out)
end

-- ---- the page --------------------------------------------------------------------------------------

local script = [[
const box = document.getElementById("search"), count = document.getElementById("count");
const sections = [...document.querySelectorAll("section")];
function search() {
  const words = box.value.toLowerCase().split(/\s+/).filter(w => w);
  let found = 0;
  for (const s of sections) {
    const text = s.dataset.words, here = words.every(w => text.includes(w));
    s.hidden = !here;
    if (here) found++;
  }
  for (const c of document.querySelectorAll(".chapter"))
    c.hidden = words.length > 0 && !c.querySelector("section:not([hidden])");
  if (words.length && found <= 3)
    for (const d of document.querySelectorAll("section:not([hidden]) details")) d.open = true;
  count.textContent = words.length ? found + (found == 1 ? " entry" : " entries") : "";
}
box.addEventListener("input", search);
document.addEventListener("keydown", e => {
  if (e.key == "/" && document.activeElement != box) { e.preventDefault(); box.focus(); }
  if (e.key == "Escape" && document.activeElement == box) { box.value = ""; search(); }
});
function show() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.hidden) { box.value = ""; search(); target.scrollIntoView(); }
}
addEventListener("hashchange", show);
document.getElementById("contents").addEventListener("click", e => {
  if (e.target.tagName == "A" && innerWidth < 900) document.getElementById("contents").open = false;
});
if (innerWidth >= 900) document.getElementById("contents").open = true;
]]

--- The page.
-- @tparam {table,...} run what simvae.reference.examples.run returned
-- @treturn string HTML
function page.html(run)
  local of, list = examples.by_entry(run), groups()
  local out = { '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1"><title>simvae ', core.version,
    ' reference</title><style>', style, '</style></head><body><header><h1>simvae <span class="soft">', core.version,
    '</span></h1><div><input id="search" type="search" placeholder="Search functions and options (/)" ',
    'aria-label="Search functions and options"><span id="count" class="soft" aria-live="polite"></span></div></header>',
    '<div class="columns"><nav><details id="contents"><summary>Contents</summary>', navigation(list),
    "</details></nav><main><p>Reference of everything public, made from the documentation in the source. ",
    "In the library the same texts are printed by <code>sv.help</code>: <code>sv.help \"model:train\"</code>, ",
    "<code>sv.help \"train.labels\"</code>, <code>sv.help(x)</code>.</p>",
    '<details id="preamble"><summary>The examples begin with this code</summary><pre class="code"><code>',
    highlight(examples.prepared(run.steps or 400)), "</code></pre></details>" }
  for _, c in ipairs(list) do out[#out + 1] = chapter(c, of) end
  out[#out + 1] = "</main></div><script>" .. script .. "</script></body></html>\n"
  return table.concat(out)
end

return page
